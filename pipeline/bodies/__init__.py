"""Where the bytes of a message are kept: hot in Redis, cold in a directory or an object store.

Hot: up to 256 KiB, written by the same atomic step as the `received` event. Cold: larger ones from the start, and every one
that has to wait: written, fsynced, renamed, directory fsynced, before the step that relies on it. A body is looked for hot,
then cold; it moves only from hot to cold, and the cold file is durable before the hot key goes, so it is always in one of
the two. A large message is never in memory twice: it comes in through a file and goes out through a mapping of that file.

    draft.py  a body on its way in      cold.py  files      cloud.py  objects      tiers.py  both tiers behind one door
"""

from pipeline.bodies.cold import Buffer, Cold, LocalCold
from pipeline.bodies.draft import HOT_LIMIT, Draft, sweep_drafts
from pipeline.bodies.tiers import Bodies

__all__ = ["HOT_LIMIT", "Bodies", "Buffer", "Cold", "Draft", "LocalCold", "sweep_drafts"]
