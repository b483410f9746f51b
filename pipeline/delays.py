"""When a sender is told that a message still waits: pure.

Who asked with NOTIFY=DELAY is told (RFC 3461 4.1), once for each message and recipient, when it has waited for the time of a
setting. Who named NOTIFY without DELAY is told in no case. Who named nothing is told only where the operator wants it.

The moment is written into the message when it is queued, and with that into a sorted set of its partition; so mail of which nobody
has to be told costs nothing, and what is due is found without a look at the queue, also where a route is down and no message of it
is ever tried.
"""

from __future__ import annotations

from pipeline.settings import Settings
from pipeline.state import Message, Recipient


def wants(recipient: Recipient, mode: str) -> bool:
    """Whether word of a delay is wanted for this recipient. `mode`: the setting delay_warnings."""
    if mode == "never":
        return False
    words = {word for part in recipient.notify.upper().split(",") if (word := part.strip())}
    return "DELAY" in words if words else mode == "always"


def warn_at(message: Message, settings: Settings) -> int:
    """When the sender is to be told should the message still wait then (ns); 0: never."""
    mode = settings.delay_warnings
    if not message.sender or not any(wants(recipient, mode) for recipient in message.recipients):
        return 0
    return message.received_at + int(settings.delay_warning_after)
