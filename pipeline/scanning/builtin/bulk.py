"""Mail that goes to many: mailing lists, newsletters, what a shop sends to all its customers. That is a class and no fault.

The finding has kind `bulk` and a score of 1, which only says that it is there: policy makes the class `bulk` of it, and counts it
towards no threshold. A field for lists (RFC 2919, RFC 2369, RFC 8058) or Precedence is enough. What senders of mass mail put
into single messages too, such as a receipt (Feedback-ID, their own X- fields), is enough only with a second sign.
"""

from __future__ import annotations

from typing import Final

from pipeline.events import Finding
from pipeline.mime import Header, plain
from pipeline.scanning.engine import Mail

_LIST: Final = frozenset({b"list-id", b"list-post", b"x-mailman-version", b"x-beenthere", b"mailing-list"})
_UNSUBSCRIBE: Final = frozenset({b"list-unsubscribe", b"list-unsubscribe-post"})
_PRECEDENCE: Final = frozenset({b"bulk", b"list", b"junk"})
_WEAK: Final = (
    b"feedback-id", b"x-campaign", b"x-campaignid", b"x-campaign-id", b"x-csa-complaints", b"x-mailer-recptid", b"x-mailgun-sid",
    b"x-mc-user", b"x-mailchimp-campaign", b"x-mandrill-user", b"x-report-abuse", b"x-report-abuse-to", b"x-ses-outgoing", b"x-sg-eid",
    b"x-sfmc-stack", b"x-cmail-recipientid", b"x-elasticemail-postback", b"x-mj-mid", b"x-rpcampaign", b"x-hubspot-eventid",
)  # fmt: skip
_ANY_WEAK: Final = frozenset(_WEAK)


def is_list(header: Header) -> bool:
    """It says that it went through a mailing list, whose program may have changed it. Anybody can say so."""
    return not header.index.keys().isdisjoint(_LIST)


def bulk(mail: Mail) -> list[Finding]:
    why = _why(mail.header)
    return [Finding(name="BULK", score=1.0, text=why, kind="bulk")] if why else []


def _why(header: Header) -> str:
    index = header.index
    if b"list-id" in index:
        return f"from the mailing list {plain(header.text(b'list-id', 100), 100)}"
    if not index.keys().isdisjoint(_LIST):
        return "from a mailing list"
    if not index.keys().isdisjoint(_UNSUBSCRIBE):
        return "can be unsubscribed from (List-Unsubscribe)"
    precedence = index.get(b"precedence")
    if precedence and precedence[0].lower() in _PRECEDENCE:
        return f"Precedence: {precedence[0].lower().decode()}"
    if index.keys().isdisjoint(_ANY_WEAK):
        return ""
    weak = [name for name in _WEAK if name in index]
    return f"written by a program for mass mail ({weak[0].decode()}, {weak[1].decode()})" if len(weak) > 1 else ""
