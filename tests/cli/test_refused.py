"""Mail that did not get in, at the command line."""

from __future__ import annotations

import asyncio

import msgspec

from pipeline.events import Client, Refused
from tests.cli.conftest import DOMAIN, Shop
from workers.receiver.refusals import Refusals

ONE = Refused(
    at=1_795_000_000_000_000_000, domain=DOMAIN, reason="no_such_user", stage="rcpt", code=550, enhanced="5.1.1",
    reply="No such mailbox here", sender="maria@elsewhere.test", recipient=f"eve@{DOMAIN}",
    client=Client(address="198.51.100.7", helo="mail.\x1belsewhere.test", protocol="ESMTPS"),
)  # fmt: skip
RELAY = msgspec.structs.replace(
    ONE, domain="", reason="relay_denied", recipient="x@other.test", count=1, at=ONE.at + 1_000_000_000
)


def refuse(shop: Shop, *events: Refused) -> None:
    async def work(wiring):
        refusals = Refusals(wiring.log, wiring.store.partitions, lambda: ONE.at)
        for event in events:
            refusals.add(event)
        stop = asyncio.Event()
        stop.set()
        await refusals.run(stop)

    shop.do(work)
    shop.fold()


def test_what_was_refused_is_listed_with_what_the_sender_was_told_and_can_be_traced(shop: Shop):
    assert shop.run("refused").out == "Nothing was refused.\n"
    shop.add()
    refuse(shop, ONE, RELAY)
    out = shop.run("refused").out
    for words in (
        "no_such_user  at rcpt", "from maria@elsewhere.test to eve@example.test", "none of ours",
        "mail.\\x1belsewhere.test [198.51.100.7] was told: 550 5.1.1 No such mailbox here",
    ):  # fmt: skip
        assert words in out
    assert "\x1b" not in out
    newest, oldest = shop.run("refused", "--json").json["refusals"]
    assert (newest["reason"], oldest["reason"]) == ("relay_denied", "no_such_user")
    trace = shop.run("trace", oldest["id"])
    assert trace.code == 0
    assert trace.out.splitlines()[0] == f"{oldest['id']}  refused"
    assert "from maria@elsewhere.test to eve@example.test at rcpt" in trace.out
    assert shop.run("trace", oldest["id"], "--json").json["events"][0]["type"] == "refused"


def test_refusals_are_chosen_by_domain_sender_recipient_client_and_reason(shop: Shop):
    shop.add()
    refuse(shop, ONE, RELAY)

    def reasons(*words: str) -> list[str]:
        return [one["reason"] for one in shop.run("refused", *words, "--json").json["refusals"]]

    assert reasons(DOMAIN) == ["no_such_user"]
    assert reasons("--sender", "MARIA@") == ["relay_denied", "no_such_user"]
    assert reasons("--recipient", "other") == ["relay_denied"]
    assert reasons("--client", "192.0.2.1") == []
    assert reasons("--reason", "no_such_user") == ["no_such_user"]
    assert shop.run("refused", "--limit", "1", "--json").json["left_off"] == 1


def test_who_is_missing_is_counted_and_can_be_added(shop: Shop):
    shop.add("anna")
    shop.run("domain", "add", "alias.test", "--alias-of", DOMAIN)
    assert shop.run("address", "tried", DOMAIN).out == "Nobody is missing.\n"
    refuse(
        shop, ONE, msgspec.structs.replace(ONE, recipient=f"EVE@{DOMAIN}"),
        msgspec.structs.replace(ONE, recipient=f"b\x1ben@{DOMAIN}", client=Client(address="192.0.2.1")),
    )  # fmt: skip
    out = shop.run("address", "tried", "alias.test").out
    assert out.splitlines()[1].split()[:2] == ["EVE@example.test", "2"]
    assert "gatepost address add EVE@example.test" in out
    assert "3 unknown recipients refused in all" in out
    assert "\x1b" not in out
    found = shop.run("address", "tried", DOMAIN, "--json").json
    assert (found["total"], [one["count"] for one in found["missing"]]) == (3, [2, 1])
    assert shop.run("address", "tried", "nobody.test").code == 3
