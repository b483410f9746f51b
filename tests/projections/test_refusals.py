"""Which refusals are kept, what is counted, and who is missing."""

from __future__ import annotations

import msgspec

from pipeline.events import Client, Refused
from pipeline.ids import new_id
from projections.readers.refusals import _missing
from projections.refusals import KEPT, TRIED_KEPT, Refusals, decode_refusal, decode_tried
from tests.support.examples import AT, DOMAIN, SECOND, SENDER
from tests.support.histories import folded, recorded


def refused(recipient: str = f"eve@{DOMAIN}", at: int = AT, **changes: object) -> Refused:
    event = Refused(
        at=at, domain=DOMAIN, reason="no_such_user", client=Client(address="198.51.100.7"), stage="rcpt", code=550,
        enhanced="5.1.1", reply="No such mailbox here", sender=SENDER, recipient=recipient,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def view(*events: Refused, cuts=()):
    return folded(Refusals(), recorded([(new_id(AT, 0, number), event) for number, event in enumerate(events)]), cuts)


def test_the_newest_are_kept_with_their_ids_and_the_newest_comes_first():
    found = view(*(refused(f"u{number}@{DOMAIN}") for number in range(KEPT + 10)), cuts=(3, 40))
    kept = [decode_refusal(one) for one in found.lists["r:" + DOMAIN]]
    assert len(kept) == KEPT
    assert [one.event.recipient for one in kept[:2]] == [f"u{KEPT + 9}@{DOMAIN}", f"u{KEPT + 8}@{DOMAIN}"]
    assert kept[0].id == new_id(AT, 0, KEPT + 9)


def test_refusals_are_counted_by_reason_in_full():
    found = view(refused(), refused(count=40), refused(reason="mail_loop"), refused(domain="", reason="relay_denied"))
    assert found.counts("d:" + DOMAIN) == {"no_such_user": 41, "mail_loop": 1}
    assert found.counts("d:") == {"relay_denied": 1}


def test_only_single_attempts_to_reach_somebody_say_who_is_missing():
    found = view(refused(), refused(count=40), refused(reason="mail_loop"), refused(""))
    assert [decode_tried(one).address for one in found.lists["t:" + DOMAIN]] == [f"eve@{DOMAIN}"]


def test_the_newest_attempts_are_kept():
    found = view(*(refused(f"u{number}@{DOMAIN}") for number in range(TRIED_KEPT + 5)))
    assert len(found.lists["t:" + DOMAIN]) == TRIED_KEPT


def test_who_is_wanted_most_comes_first_whatever_the_case():
    found = view(
        refused("ben@example.test", AT, sender="a@x.test"),
        refused("Eve@example.test", AT + SECOND, sender="b@x.test"),
        refused("eve@example.test", AT + 2 * SECOND, sender="c@x.test", client=Client(address="192.0.2.1")),
    )
    first, second = _missing(found.lists["t:" + DOMAIN])
    assert (first.address, first.count, first.first, first.last) == (
        "eve@example.test",
        2,
        AT + SECOND,
        AT + 2 * SECOND,
    )
    assert (first.senders, first.clients) == (("c@x.test", "b@x.test"), ("192.0.2.1", "198.51.100.7"))
    assert (second.address, second.count) == ("ben@example.test", 1)
