"""Where the bytes of a message are kept: hot in Redis, in a segment beside it, or cold in a directory or an object store.

Hot: up to 256 KiB, written by the same atomic step as the `received` event; on one machine those from 32 KiB on are in a segment, and that step
writes a pointer. Cold: larger ones from the start, and every one that has to wait: written, fsynced, renamed, directory fsynced, before the step
that relies on it. A body is looked for hot, then cold; it moves only from hot to cold, and the cold file is durable before the hot key goes, so it
is always in one of the two. A large message is never in memory twice: it comes in through a file and goes out through a mapping of that file.

    draft.py  a body on its way in    segments.py  files that many share    cold.py  a file each    cloud.py  an object each
    tiers.py  all behind one door
"""

from pipeline.bodies.cold import Buffer, Cold, LocalCold
from pipeline.bodies.draft import HOT_LIMIT, Draft, sweep_drafts
from pipeline.bodies.tiers import Bodies

__all__ = ["HOT_LIMIT", "Bodies", "Buffer", "Cold", "Draft", "LocalCold", "sweep_drafts"]
