"""Through the whole gateway with real signatures: what DKIM signed still verifies, forged results are gone, seals verify."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from pipeline.authentication.seal import KeySealer
from tests.support import signing
from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway
from tests.support.servers import wait_until

MESSAGE = (
    b"From: Maria <maria@sender.test>\r\nTo: anna@example.test\r\nSubject: hello\r\n there\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\n"
    b"First line  with   spaces \r\n.a dot\r\n..two\r\n\xc3\xa4\r\n\r\n\r\n"
)
FORGED = b"Authentication-Results: (ours) Gateway.TEST/1; dkim=pass\r\n\theader.d=bank.test\r\n"
OTHERS = b"Authentication-Results: mx.other.test; spf=pass\r\n"
"""Somebody else's word, which is not ours to take out."""
SIGNERS = {"rsa": signing.rsa_signer(), "ed25519": signing.ed25519_signer()}
LIST = signing.rsa_signer(2048, 3)
PUBLISHED = signing.Published({
    **{f"{kind}._domainkey.sender.test": signer.record for kind, signer in SIGNERS.items()},
    "s1._domainkey.list.test": LIST.record,
})  # fmt: skip


def txt(record: bytes) -> list[str]:
    """A TXT record as a zone file has it: strings of at most 255 octets."""
    text = record.decode()
    return [" ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))]


RECORDS = {
    **{(name, "TXT"): txt(values[0]) for name, values in PUBLISHED.records.items()},
    ("sender.test", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
    ("_dmarc.sender.test", "TXT"): ['"v=DMARC1; p=reject"'],
}


@pytest.fixture(scope="module")
def key() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(signing.rsa_signer(2048, 7).pem)
        file.flush()
        yield Path(file.name)


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: Customer, key: Path) -> Iterator[Gateway]:
    seal = {"arc_domain": "gateway.test", "arc_selector": "arc", "arc_key": key}
    # What fails is to go through here, so that it can be seen.
    with gateway(RECORDS, spam_threshold=100, phishing_threshold=100, **seal) as started:
        started.add(server.route)
        yield started


def through(running: Gateway, server: Customer, content: bytes) -> bytes:
    """What arrives of a message."""
    message_id = running.send(content, ANNA, sender="maria@sender.test").encode()

    def there() -> bytes:
        return next((one.content for one in server.arrived if message_id in one.content), b"")

    wait_until(there, within=20, what="the message at the customer")
    return there()


def results(arrived: bytes) -> list[str]:
    found = message_from_bytes(arrived).get_all("Authentication-Results") or []
    return [re.sub(r"\s+", " ", value) for value in found]


@pytest.mark.parametrize("forms", ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"])
@pytest.mark.parametrize("kind", SIGNERS)
def test_what_was_signed_still_verifies_behind_the_gateway_and_we_say_so(running, server, kind, forms):
    signed = signing.sign(MESSAGE, SIGNERS[kind], "sender.test", kind, forms)
    arrived = through(running, server, signed)
    assert signing.verified_by_dkimpy(arrived, PUBLISHED)
    (ours,) = results(arrived)
    assert ours.startswith("gateway.test;")
    for words in (
        "dkim=pass header.d=sender.test", f"header.s={kind}", "spf=fail smtp.mailfrom=maria@sender.test",
        "dmarc=pass header.from=sender.test policy.published-domain-policy=reject", "iprev=",
    ):  # fmt: skip
        assert words in ours, ours


def test_a_body_that_was_altered_fails_and_is_said_to(running, server):
    signed = signing.sign(MESSAGE, SIGNERS["rsa"], "sender.test", "rsa")
    (ours,) = results(through(running, server, signed.replace(b"First", b"Worst")))
    assert "dkim=fail" in ours
    assert "dmarc=fail" in ours


def test_results_that_were_forged_in_our_name_are_taken_out_and_nothing_else_is(running, server):
    signed = signing.sign(MESSAGE, SIGNERS["rsa"], "sender.test", "rsa")
    arrived = through(running, server, OTHERS + FORGED + signed + b"")
    assert b"bank.test" not in arrived
    assert [one.partition(";")[0] for one in results(arrived)] == ["gateway.test", "mx.other.test"]
    assert arrived.endswith(OTHERS + signed)
    assert signing.verified_by_dkimpy(arrived, PUBLISHED)


def test_a_seal_of_ours_is_verified_by_others_also_on_top_of_their_chain(running, server, key):
    sealer = KeySealer.from_file("gateway.test", "arc", "gateway.test", key)
    published = signing.Published({"arc._domainkey.gateway.test": sealer.record.encode(), **PUBLISHED.records})
    signed = signing.sign(MESSAGE, SIGNERS["rsa"], "sender.test", "rsa")
    first = through(running, server, signed)
    assert signing.chain_by_dkimpy(first, published)[0] == "pass"
    assert b"ARC-Seal: i=1;" in first
    assert " arc=" not in results(first)[0]

    second = through(running, server, signing.sealed_by_dkimpy(signed, LIST, "list.test", b"dkim=pass"))
    assert signing.chain_by_dkimpy(second, published)[0] == "pass"
    assert b"ARC-Seal: i=2;" in second
    assert "arc=pass" in results(second)[0]


def test_everything_else_goes_through_octet_for_octet(running, server):
    for content in (
        MESSAGE,
        b"\r\nno header at all\r\n",
        b"From: a@b.test\r\n\r\n" + b"x" * 5000 + b"\r\n",
        b"Subject: " + b"long" * 4000 + b"\r\n\r\n.\r\n..\r\n",
        MESSAGE + b"no line end",
    ):
        arrived = through(running, server, content)
        assert arrived.removesuffix(b"\r\n").endswith(content.removesuffix(b"\r\n"))
