"""A message while it comes in: the decoder, the draft that keeps it, and the limits, together.

Once something is wrong with the message, its draft is gone at once and the rest is read only to find its end: the refusal
can be said no earlier (RFC 5321 4.2.5), and a client may go on sending for as long as it likes.
"""

from __future__ import annotations

from typing import Final

from pipeline import replies
from pipeline.bodies import Draft
from pipeline.faults import StoreFullError
from pipeline.replies import Reply
from workers.receiver.data import DataDecoder
from workers.receiver.report import unforeseen

PATIENCE: Final = 4
"""A client that sends so many times the size limit without an end is cut off."""


class Incoming:
    __slots__ = ("_decoder", "_limit", "_normalise", "_read", "draft", "refusal")

    def __init__(self, draft: Draft, limit: float, *, normalise: bool) -> None:
        self.draft = draft
        self.refusal: Reply | None = None
        """What will be answered to the end of the data; None while there is nothing to say against it."""
        self._limit = limit
        self._normalise = normalise
        self._read = 0
        """Octets off the wire: normalising may leave nothing of them."""
        self._decoder = DataDecoder(normalise=normalise)

    def feed(self, chunk: bytes) -> bytes | None:
        """The bytes after the end of the data, or None while it has not come. Never raises."""
        self._read += len(chunk)
        content, rest = self._decoder.feed(chunk)
        if self.refusal is None:
            self._keep(content)
        return rest

    @property
    def size(self) -> int:
        """Octets of the content so far."""
        return self._decoder.size

    @property
    def eight_bit(self) -> bool:
        return self._decoder.eight_bit

    @property
    def endless(self) -> bool:
        return self._read > PATIENCE * self._limit

    def discard(self) -> None:
        self.draft.discard()

    def _keep(self, content: memoryview) -> None:
        decoder = self._decoder
        if decoder.size > self._limit:
            self._refuse(replies.TOO_BIG)
        elif not self._normalise and (decoder.nul or decoder.bare):
            self._refuse(replies.BARE_NEWLINE)
        elif content:
            try:
                self.draft.write(content)
            except StoreFullError:
                self._refuse(replies.STORE_FULL)
            except Exception as error:  # noqa: BLE001 - called by the transport, where nobody could answer
                unforeseen(error)
                self._refuse(replies.TROUBLE)

    def _refuse(self, reply: Reply) -> None:
        self.refusal = reply
        self.draft.discard()
