"""The quarantine with real processes: found, looked at, let go once, and discarded when its time is over."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from pipeline.events import Discarded, Looked, Quarantined, Received
from tests.flows.test_paths import virus
from tests.support import warm
from tests.support.customer import customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import wait_until

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
BEGIN = ("Received", "Scanned", "Quarantined")
_numbers = itertools.count(1)


def spam(subject: str = "watches", rest: bytes = b"") -> bytes:
    return (
        b"From: Max <max@partner.test>\r\nSubject: " + subject.encode() + b"\r\nMessage-ID: <" + subject.encode() + b"@x>\r\n\r\n"
        + GTUBE + b"\r\n" + rest
    )  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway(retry_interval="1s", queue_lifetime="60s", keep_connection="500ms") as started:
        yield started


def kept(running: Gateway, content: bytes, *recipients: str) -> str:
    message_id = running.send(content, *recipients)
    running.wait_kinds(message_id, *BEGIN)
    return message_id


def listed(running: Gateway, *words: str) -> list[str]:
    return [one["id"] for one in running.json("quarantine", "list", *words)["messages"]]


def test_spam_is_found_read_released_and_arrives_octet_for_octet(running, server, domain):
    content = spam("Cheap watches", b".\r\n..two dots\r\n\xff\x00\r\n".replace(b"\x00", b"\x01"))
    message_id = kept(running, content, f"anna@{domain}", f"ben@{domain}")
    search = (
        "--domain",
        domain,
        "--subject",
        "watches",
        "--class",
        "spam",
        "--test",
        "GTUBE",
        "--sender",
        "@partner.test",
    )
    wait_until(lambda: listed(running, *search) == [message_id], what="the list")
    shown = running.json("quarantine", "preview", message_id)
    assert shown["header"]["subject"] == "Cheap watches"
    assert "GTUBE-STANDARD" in shown["parts"][0]["text"]
    assert server.arrived == []
    running.cli("quarantine", "release", message_id, "--recipient", f"ben@{domain}")
    (arrived,) = server.wait(1)
    assert (arrived.original, arrived.recipients) == (content, (f"ben@{domain}",))
    running.wait_kinds(message_id, *BEGIN, "Looked", "Released", "Delivered")
    wait_until(lambda: listed(running, "--recipient", f"ben@{domain}") == [], what="the list")
    assert listed(running, "--recipient", f"anna@{domain}") == [message_id]
    looked = running.message_events()[message_id][3]
    assert isinstance(looked, Looked)
    assert (looked.how, looked.recipients) == ("preview", (f"anna@{domain}", f"ben@{domain}"))
    trace = running.cli("trace", message_id).stdout
    assert f"looked at    by {looked.by}: its text" in trace
    running.cli("quarantine", "delete", message_id, "--yes")
    wait_until(lambda: listed(running, "--domain", domain) == [], what="the list")


def test_twenty_processes_that_release_one_message_deliver_it_once(running, server, domain, tmp_path):
    message_id = kept(running, spam(), f"anna@{domain}")
    outputs = [tmp_path / f"{number}" for number in range(20)]
    processes = []
    for output in outputs:
        with output.open("wb") as out:
            environ = {**os.environ, **running.environ}
            processes.append(warm.start("quarantine", "release", message_id, environ=environ, stdout=out.fileno()))
    assert {process.wait(120) for process in processes} == {0}
    assert sum("on its way" in output.read_text() for output in outputs) == 1
    running.wait_kinds(message_id, *BEGIN, "Released", "Delivered")
    assert [one.id for one in server.wait(1)] == [message_id]


@pytest.mark.parametrize("size", [100, 400_000], ids=["hot body", "cold body"])
def test_released_to_another_domain_it_arrives_there_and_is_not_judged_again(running, server, domain, size):
    content = spam(rest=(b"x" * 76 + b"\r\n") * (size // 78))
    message_id = kept(running, content, f"anna@{domain}")
    other = f"o{next(_numbers)}.example.test"
    with customer() as elsewhere:
        running.add(elsewhere.route, f"carl@{other}", domain=other)
        done = running.json("quarantine", "release", message_id, "--to", f"carl@{other}")["messages"][0]
        (arrived,) = elsewhere.wait(1)
        assert (arrived.original, arrived.recipients, arrived.id) == (content, (f"carl@{other}",), done["goes_on_as"])
    running.wait_kinds(done["goes_on_as"], "Received", "Scanned", "Queued", "Delivered")
    born = running.message_events()[done["goes_on_as"]][0]
    assert isinstance(born, Received)
    assert (born.origin, born.cause) == ("release", message_id)
    assert running.kinds(message_id) == [*BEGIN, "Redirected"]
    wait_until(lambda: listed(running, "--domain", domain) == [], what="the list")
    wait_until(lambda: running.cli("books", ok=False).returncode == 0, what="balanced books")


def test_many_messages_are_released_by_a_filter_and_a_virus_is_not(running, server, domain):
    sent = [kept(running, spam(f"number{number}"), f"anna@{domain}") for number in range(5)]
    bad = kept(running, virus(f"anna@{domain}"), f"anna@{domain}")
    wait_until(lambda: len(listed(running, "--domain", domain)) == 6, what="the list")
    done = running.json("quarantine", "release", "--domain", domain, "--yes", ok=False)
    assert (done["done"], done["refused"], done["refusals"][0]["id"]) == (5, 1, bad)
    assert {one.id for one in server.wait(5)} == set(sent)
    wait_until(lambda: listed(running, "--domain", domain) == [bad], what="the list")
    running.cli("quarantine", "delete", "--domain", domain, "--yes")
    wait_until(lambda: listed(running, "--domain", domain) == [], what="the list")


def test_a_domain_s_own_retention_ends_what_it_keeps(running, domain):
    running.cli("domain", "set", domain, "--quarantine-retention", "2s")

    def short_lived() -> str:
        """A message that came when all processes knew of the change."""
        message_id = running.send(spam(), f"anna@{domain}")
        quarantined = wait_until(lambda: running.message_events()[message_id][2:], what="a decision")[0]
        assert isinstance(quarantined, Quarantined)
        return message_id if quarantined.expires - quarantined.at == 2 * 10**9 else ""

    message_id = wait_until(short_lived, within=30, what="the change to be known")
    running.wait_kinds(message_id, *BEGIN, "Discarded", within=30)
    last = running.message_events()[message_id][-1]
    assert isinstance(last, Discarded)
    assert last.reason == "retention"
    wait_until(lambda: message_id not in listed(running, "--domain", domain), what="the list")


def test_a_message_that_was_delivered_is_reported_with_what_arrived(running, server, domain):
    content = b"From: Max <max@partner.test>\r\nSubject: lunch\r\nMessage-ID: <lunch@x>\r\n\r\nAt noon?\r\n"
    message_id = running.send(content, f"anna@{domain}")
    (arrived,) = server.wait(1)
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    file = running.data.parent / "reported.eml"
    file.write_bytes(arrived.content)
    found = running.json("quarantine", "report", str(file), "--list-sender")
    assert (found["id"], found["domain"], found["learned"], found["listed"]) == (
        message_id, domain, True, "max@partner.test",
    )  # fmt: skip
    wait_until(lambda: running.json("quarantine", "reports", "--domain", domain)["reports"], what="the report")


def test_the_view_comes_out_the_same_when_it_is_built_anew(running):
    assert "equal to the live one" in running.cli("replay", "quarantine").stdout
