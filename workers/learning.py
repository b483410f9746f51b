"""Teaching the classifier: from "this message is spam" to the event that the counts are made of.

The counts follow when the projector has seen the event, usually within a second.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline import keys
from pipeline.events import Client, Learned, Recorded
from pipeline.faults import ConflictError, CorruptError
from pipeline.ids import partition_for
from pipeline.learning import Lesson, Said, changes, decode_lesson, lesson_step
from pipeline.mime import Buffer, Header
from pipeline.scanning.bayes.tokens import KEY_SIZE, Tokeniser, unpacked
from pipeline.scanning.bayes.words import words
from pipeline.scanning.engine import LARGE, Mail
from pipeline.scanning.relays import taken_from, true_client
from pipeline.state import Message
from pipeline.store import Client as Redis
from pipeline.store import faults
from workers.steering import PATIENCE

if TYPE_CHECKING:
    from workers.wiring import Wiring

TRIES: Final = 5
"""When several people speak of one message at once."""
SKEWS_MS: Final = (1_000, 60_000)
"""How far our clock and that of Redis are apart: as a rule, and at most."""
PAGE: Final = 1000
NOBODY: Final = Message(id="", version=0, domain="", sender="", recipients=(), size=0, received_at=0, expires=0)
"""Whom a message is for does not matter for what it is made of."""


async def learning_key(redis: Redis) -> bytes:
    """The key of the store's tokens; made by whoever needs it first."""
    with faults():
        key: Any = await redis.hget(keys.STORE, "learning")
        if key is None:
            await redis.hsetnx(keys.STORE, "learning", secrets.token_bytes(KEY_SIZE))
            key = await redis.hget(keys.STORE, "learning")
    return bytes(key)


class Learning:
    """One per command or worker."""

    def __init__(self, wiring: Wiring, *, by: str) -> None:
        """`by`: who says it, as the events name people: cli:root, ..."""
        self._wiring = wiring
        self._by = by
        self._tokeniser: Tokeniser | None = None

    async def learn(
        self,
        domain: str,
        content: Buffer,
        *,
        spam: bool,
        client: Client | None = None,
        message_id: str = "",
        how: str = "taught",
    ) -> bool:
        """Count a message as spam, or as none. True: something was learnt; False: that was known of it.

        `domain`: whose classifier learns; "": that of all. `how`: released, reported, taught. `content` with lines that end in CRLF.
        `client`: who handed it over; of a message that we passed on our own Received field says it. Said otherwise before, that is forgotten. Raises StoreError.
        """
        return await self._say(domain, content, spam, client, message_id, how)

    async def forget(self, domain: str, content: Buffer, *, message_id: str = "", how: str = "undone") -> bool:
        """Take back what was learnt of a message. False: nothing was."""
        return await self._say(domain, content, None, None, message_id, how)

    async def tokens(self, content: Buffer) -> list[bytes]:
        """What would be learnt of a message."""
        return unpacked((await self._read(content, None))[0])

    async def _read(self, content: Buffer, client: Client | None) -> tuple[bytes, str]:
        if self._tokeniser is None:
            self._tokeniser = Tokeniser(await learning_key(self._wiring.store.redis))
        if len(content) > LARGE:
            return await asyncio.to_thread(self._made_of, self._tokeniser, content, client)
        return self._made_of(self._tokeniser, content, client)

    def _made_of(self, tokeniser: Tokeniser, content: Buffer, client: Client | None) -> tuple[bytes, str]:
        """Its tokens, and what tells it from others."""
        header = Header(content)
        outermost = true_client(
            client or taken_from(header, self._wiring.hostname), header, self._wiring.settings.trusted_relays
        )
        mail = Mail(msgspec.structs.replace(NOBODY, client=outermost), content, header=header)
        return b"".join(tokeniser.tokens(words(mail))), tokeniser.digest(content, header)

    async def _say(
        self, domain: str, content: Buffer, spam: bool | None, client: Client | None, message_id: str, how: str
    ) -> bool:
        tokens, digest = await self._read(content, client)
        said = Said(domain=domain.lower(), digest=digest, spam=spam, by=self._by, how=how, message=message_id)
        for _ in range(TRIES):
            known = await self._known(said)
            if not changes(known, said):
                return False
            before = await self._taught(said.domain, known, tokens) if known is not None else b""
            partitions = self._wiring.store.partitions
            now = self._wiring.clock()
            try:
                # Lessons take memory and move no mail on: a full Redis takes none, as it takes no new mail.
                await self._wiring.intake_log.commit(
                    lesson_step(said, known, tokens=tokens, before=before, now=now, partitions=partitions),
                    patience=PATIENCE,
                )
            except ConflictError:
                continue
            return True
        raise ConflictError("others speak of this message at the same time", remedy="Try again.")

    async def _known(self, said: Said) -> Lesson | None:
        head = keys.learned(partition_for(said.domain, self._wiring.store.partitions), said.domain, said.digest)
        with faults():
            stored: Any = await self._wiring.store.redis.hget(head, "m")
        if stored is None:
            return None
        try:
            return decode_lesson(stored)
        except msgspec.DecodeError as error:
            raise CorruptError(f"what was learnt of a message cannot be read: {error}") from None

    async def _taught(self, domain: str, lesson: Lesson, otherwise: bytes) -> bytes:
        """The tokens that were learnt then: what is forgotten must be what was learnt, whichever release that was.

        `otherwise`: those that the message has now, for when the log does not reach back so far.
        """
        partition = partition_for(domain, self._wiring.store.partitions)
        at = lesson.at // 1_000_000
        for skew in SKEWS_MS:
            after = f"{max(at - skew, 0)}-0"
            while entries := await self._wiring.history.read(partition, after, PAGE, str(at + skew)):
                for entry in entries:
                    if isinstance(entry, Recorded) and (entry.subject, entry.version) == (
                        lesson.subject,
                        lesson.version,
                    ):
                        event = entry.event
                        return event.tokens if isinstance(event, Learned) else otherwise
                after = entries[-1].entry
        return otherwise
