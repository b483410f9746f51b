"""As a message of the corpus came in: the client that handed it to the last server that was not its collector's own.

A gateway always knows its client. Of a collected message it is what its Received fields say, read as those of trusted relays are
(pipeline/scanning/relays.py): from the top down, past what its collector's machines handed on among themselves. What the field shows of
the DNS is what a look-up gave then: the name in parentheses is confirmed, and where there is none the address has none. Of SPF, DKIM
and DMARC nothing is known.
"""

from __future__ import annotations

from typing import Final

from pipeline.authentication.together import Authentication
from pipeline.events import AuthResult, Client
from pipeline.mime import Header
from pipeline.mime.fields import date_of
from pipeline.mime.words import unfold
from pipeline.scanning.engine import NOTHING_KNOWN
from pipeline.scanning.organisation import is_private, organisation
from pipeline.scanning.relays import MAX_RELAYS, Hop, read_hop
from pipeline.state import Message, Recipient, Stage

DOMAIN: Final = "example.test"
COLLECTORS: Final = frozenset(
    {"jmason.org", "netnoteinc.com", "pro-ns.net", "slashnull.org", "taint.org", "webnote.net"}
)
"""Whose servers the mail of the public corpus went through last: its collectors' trusted relays."""


def arrived(content: bytes) -> tuple[Message, Authentication, Header]:
    """The message as it came in, with what is known of its client, and its header."""
    header = Header(content)
    hop, at = _outermost(header)
    client = None if hop is None else Client(address=hop.address, helo=hop.helo)
    message = Message(
        id="0k3x9v2qd7m1c0f5tz8a03", version=1, domain=DOMAIN, sender=header.text(b"return-path").strip("<> "), size=len(content),
        received_at=at, recipients=(Recipient(address=f"anna@{DOMAIN}", stage=Stage.RECEIVED),), expires=at, client=client,
    )  # fmt: skip
    return message, NOTHING_KNOWN if hop is None else _looked_up(hop), header


def _outermost(header: Header) -> tuple[Hop | None, int]:
    """Who handed it over, and when; where that cannot be read, when the last server took it."""
    last: int | None = None
    for value in header.values(b"received")[:MAX_RELAYS]:
        at = date_of(unfold(value).rpartition(b";")[2].strip())
        last = last or at
        hop = read_hop(value)
        if hop is not None and b"(may be forged)" in value:  # Sendmail found a name that does not lead back
            hop = hop._replace(name="")
        if hop is not None and not is_private(hop.address) and organisation(hop.name or hop.helo) not in COLLECTORS:
            return hop, at or last or header.date or 0
    return None, last or header.date or 0


def _looked_up(hop: Hop) -> Authentication:
    result = AuthResult(method="iprev", result="pass" if hop.name else "fail")
    return Authentication(results=(result,), client_name=hop.name)
