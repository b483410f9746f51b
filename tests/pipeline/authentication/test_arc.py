"""ARC: chains that dkimpy and we made, together too, and every way in which one can be broken."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.authentication import arc, canonical
from pipeline.authentication.arc import Chain
from pipeline.authentication.canonical import Body, Fields
from pipeline.authentication.seal import KeySealer, Sealer, load_key
from pipeline.events import AuthResult
from pipeline.faults import ConfigurationError
from pipeline.mime import Header
from tests.support.mail import crlf, mapped, noise
from tests.support.signing import (
    Published,
    chain_by_dkimpy,
    comparable,
    crafted,
    ed25519_signer,
    raw_signature,
    rsa_signer,
    sealed_by_dkimpy,
    sign,
)

OURS = "mx.gatepost.example"
ABOVE = b"Received: from x by mx.gatepost.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
PLAIN = crlf(b"""\
Received: from a.example by mx.other.example; Mon, 23 Nov 2026 09:58:00 +0000
From: Some One <some.one@a.example>
To: list@b.example
Subject: a subject in
 two lines
Date: Mon, 23 Nov 2026 09:58:00 +0000
Message-ID: <1@a.example>

Hello,  world

""")
MAIL = sign(PLAIN, rsa_signer())
RESULTS = (
    AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", "a.example"),)),
    AuthResult(method="dkim", result="pass", properties=(("header.d", "a.example"), ("header.b", "AbC/dE+1"))),
)
NAMES = Published(
    {
        **{
            f"s1._domainkey.{domain}": rsa_signer().record
            for domain in ("a.example", "b.example", "c.example", "d.example")
        },
        "ours._domainkey.gatepost.example": rsa_signer().record,
        "small._domainkey.gatepost.example": ed25519_signer().record,
    }
)


@functools.cache
def sealer(kind: str = "rsa") -> Sealer:
    if kind == "rsa":
        return KeySealer("gatepost.example", "ours", OURS, rsa_signer().pem)
    return KeySealer("gatepost.example", "small", OURS, ed25519_signer().pem)


async def verified(content, names=NAMES) -> Chain:
    return await arc.verify(content, Header(content), names, now=time.time_ns())


async def sealed(content: bytes, status: str | None = None, by: Sealer | None = None, above: bytes = ABOVE) -> bytes:
    """The message as we would forward it."""
    chain = (await verified(content)).status if status is None else status
    results = (*RESULTS, AuthResult(method="arc", result=chain or "fail"))
    made = await (by or sealer()).seal(
        content, Header(content), above=above, results=results, status=chain, now=time.time_ns()
    )
    return made + above + content


async def judge(content: bytes) -> tuple[str, str]:
    chain = await verified(content)
    return chain.result, chain.reason


async def both(content: bytes) -> tuple[str, str]:
    """What we and dkimpy say."""
    return (await verified(content)).result, chain_by_dkimpy(content, NAMES)[0]


@pytest.fixture(scope="module")
def three() -> bytes:
    """dkimpy, we, dkimpy."""
    one = sealed_by_dkimpy(MAIL, rsa_signer(), "b.example", b"spf=pass smtp.mailfrom=a.example")
    two = asyncio.run(sealed(one))
    return sealed_by_dkimpy(two, rsa_signer(), "c.example", b"spf=fail smtp.mailfrom=a.example; arc=pass")


# Chains that are sound


async def test_a_message_without_a_chain():
    assert await verified(MAIL) == Chain()
    assert Chain().as_result("192.0.2.1") == AuthResult(method="arc", result="none")
    assert await verified(b"") == Chain()


async def test_a_seal_of_dkimpys_verifies():
    message = sealed_by_dkimpy(MAIL, rsa_signer(), "b.example", b"spf=pass smtp.mailfrom=a.example")
    assert chain_by_dkimpy(message, NAMES)[0] == "pass"
    assert await verified(message) == Chain(result="pass", instances=1, seals=(("b.example", "s1"),))


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("above", [b"", ABOVE, ABOVE + b"Authentication-Results: mx.gatepost.example; none\r\n"])
async def test_a_seal_of_ours_verifies_with_dkimpy_and_us(kind, above, monkeypatch):
    monkeypatch.setitem(dkimpy.ARC_HASH_ALGORITHMS, b"ed25519-sha256", dkimpy.HASH_ALGORITHMS[b"ed25519-sha256"])
    message = await sealed(MAIL, by=sealer(kind), above=above)
    assert chain_by_dkimpy(message, NAMES) == ("pass", "success")
    chain = await verified(message)
    assert (chain.result, chain.reason, chain.instances) == ("pass", "", 1)
    assert message.startswith(b"ARC-Seal: i=1; ")
    assert message.endswith(above + MAIL)
    lines = message[: -len(above + MAIL)].split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert [line.partition(b":")[0] for line in lines if line[:1].isalpha()] == [
        b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results",
    ]  # fmt: skip


async def test_a_chain_of_three_by_dkimpy_and_us(three):
    assert chain_by_dkimpy(three, NAMES) == ("pass", "success")
    chain = await verified(three)
    assert (chain.result, chain.reason, chain.instances, chain.oldest_pass) == ("pass", "", 3, 0)
    assert chain.seals == (("b.example", "s1"), ("gatepost.example", "ours"), ("c.example", "s1"))
    four = await sealed(three)
    assert chain_by_dkimpy(four, NAMES) == ("pass", "success")
    assert await judge(four) == ("pass", "")
    assert b"ARC-Seal: i=4; a=rsa-sha256; cv=pass; " in four


async def test_fifty_sets_are_a_chain_and_nothing_is_added_to_them():
    message = MAIL
    for number in range(1, arc.MAX_SETS + 1):
        message = await sealed(message, "pass" if number > 1 else "none", sealer("ed25519"), above=b"")
    chain = await verified(message)
    assert (chain.result, chain.instances, chain.oldest_pass) == ("pass", arc.MAX_SETS, 0)
    assert await sealed(message, by=sealer("ed25519"), above=b"") == message


async def test_the_oldest_set_since_which_nothing_was_altered(three):
    """RFC 8617 5.2, step 5: what an alteration before the last seals breaks is the older signatures, not the chain."""
    one = sealed_by_dkimpy(MAIL, rsa_signer(), "b.example", b"spf=pass smtp.mailfrom=a.example")
    two = await sealed(one.replace(b"a subject in", b"[list] a subject in"), "pass")
    chain = await verified(two)
    assert (chain.result, chain.oldest_pass) == ("pass", 2)
    assert chain_by_dkimpy(two, NAMES)[0] == "pass"
    third = await sealed(two)
    chain = await verified(third)
    assert (chain.result, chain.oldest_pass) == ("pass", 2)
    assert chain.as_result("192.0.2.1") == AuthResult(
        method="arc", result="pass", properties=(("smtp.remote-ip", "192.0.2.1"), ("header.oldest-pass", "2"))
    )


async def test_an_older_signature_that_cannot_be_read_breaks_no_chain():
    one = crafted_set(MAIL, message={"h": "to"})
    two = await sealed(one, "pass")
    chain = await verified(two)
    assert (chain.result, chain.oldest_pass) == ("pass", 2)


async def test_what_the_newest_signature_leaves_out_of_the_body_is_told():
    message = crafted_set(MAIL, message={"l": "5"})
    chain = await verified(message)
    assert (chain.result, chain.unsigned_octets) == ("pass", len(b"Hello, world\r\n") - 5)


async def test_keys_are_asked_for_once_and_only_when_they_are_needed(three):
    async def asked(content: bytes) -> list[str]:
        names = Published(NAMES.records)
        await arc.verify(content, Header(content), names, now=time.time_ns())
        return sorted(names.asked)

    assert await asked(three) == [
        "ours._domainkey.gatepost.example", "s1._domainkey.b.example", "s1._domainkey.c.example",
    ]  # fmt: skip
    assert await asked(three.replace(b"Hello", b"Bye")) == ["s1._domainkey.c.example"]
    assert await asked(three.replace(b"cv=none", b"cv=pass")) == []


# Chains that are broken


def crafted_set(mail: bytes, **changed: dict[str, str | None]) -> bytes:
    """A first set by c.example: its two signatures with tags as no sealer would choose them, but signed as they are."""
    found = b"ARC-Authentication-Results: i=1; mx.c.example; none\r\n"
    tags = {"v": None, "d": "c.example", "i": "1", **changed.get("message", {})}
    signature = crafted(mail, rsa_signer(), **tags)[: -len(mail)]
    signature = signature.replace(b"DKIM-Signature", b"ARC-Message-Signature")
    return crafted_seal(found, resigned(mail, signature), **changed.get("seal", {})) + mail


def resigned(message: bytes, field: bytes) -> bytes:
    """The name is part of what is signed."""
    text = field[: field.rindex(b"; b=") + 4]
    names = [name.strip().encode() for name in re.search(rb"h=([^;]*)", text)[1].decode().lower().split(":")]
    headers, _ = dkimpy.rfc822_parse(message)
    form = dkimpy.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    chosen = dkimpy.select_headers(form.canonicalize_headers(headers), names)
    ((name, value),) = form.canonicalize_headers([(b"ARC-Message-Signature", text.partition(b":")[2])])
    data = b"".join(key + b":" + rest for key, rest in chosen) + name + b":" + value.rstrip()
    return text + raw_signature(rsa_signer(), data).encode() + b"\r\n"


def crafted_seal(found: bytes, signature: bytes, **changed: str | None) -> bytes:
    tags = {"i": "1", "a": "rsa-sha256", "cv": "none", "d": "c.example", "s": "s1", "t": "1", **changed}
    text = (
        b"ARC-Seal: "
        + "; ".join(f"{name}={value}" for name, value in tags.items() if value is not None).encode()
        + b"; b="
    )
    data = b"".join(canonical.relaxed_field(field) for field in (found, signature, text + b"\r\n"))[:-2]
    return text + raw_signature(rsa_signer(), data).encode() + b"\r\n" + signature + found


async def test_a_crafted_set_is_sound_if_nothing_is_changed():
    message = crafted_set(MAIL)
    assert chain_by_dkimpy(message, NAMES) == ("pass", "success")
    assert (await verified(message)).result == "pass"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"a": None}, "set 1: the signature has no a tag"),
        ({"a": "rsa-sha1"}, "set 1: rsa-sha1 is no longer accepted"),
        ({"a": "rsa-sha512"}, "set 1: an algorithm that is not known"),
        ({"a": "ed25519-sha256"}, "set 1: the key is for another algorithm"),
        ({"d": ""}, "set 1: the signature has no d tag"),
        ({"d": "?"}, "set 1: the domain or the selector is not a name"),
        ({"d": "nowhere.example"}, "set 1: the domain has no such key"),
        ({"s": None}, "set 1: the signature has no s tag"),
        ({"t": ""}, "set 1: the t tag is not a number"),
        ({"t": "soon"}, "set 1: the t tag is not a number"),
        ({"t": "99999999999"}, "set 1: the signature is dated in the future"),
        ({"h": "from"}, "set 1: a seal that names fields"),
        ({"cv": None}, "a seal that contradicts its place in the chain"),
        ({"cv": ""}, "a seal that contradicts its place in the chain"),
        ({"cv": "pass"}, "a seal that contradicts its place in the chain"),
        ({"cv": "maybe"}, "a seal that contradicts its place in the chain"),
        ({"cv": "fail"}, "the chain was broken before it came here"),
        ({"i": None}, "a field without an instance number"),
        ({"i": ""}, "a field without an instance number"),
        ({"i": "0"}, "a field without an instance number"),
        ({"i": "a"}, "a field without an instance number"),
        ({"i": "2"}, "a set that is not complete"),
        ({"i": "51"}, "more sets than there may be"),
        ({"i": "9" * 40}, "more sets than there may be"),
        ({"x": "1;x=2"}, "a field without an instance number"),
    ],
)
async def test_a_seal_that_cannot_be_says_why(changed, reason):
    message = crafted_set(MAIL, seal=changed)
    assert await judge(message) == ("fail", reason)
    assert chain_by_dkimpy(message, NAMES)[0] != "pass"


@pytest.mark.parametrize(
    "changed", [{"t": None}, {"unknown": "x"}, {"cv": "NONE"}, {"i": "01"}, {"c": "simple/simple"}]
)
async def test_a_seal_in_another_form_is_one_too(changed):
    assert await judge(crafted_set(MAIL, seal=changed)) == ("pass", "")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"h": "from:arc-seal"}, "set 1: the message signature covers a seal"),
        ({"h": "to"}, "set 1: From is not signed"),
        ({"h": None}, "set 1: the signature has no h tag"),
        ({"bh": None}, "set 1: the signature has no bh tag"),
        ({"bh": "AAAA"}, "set 1: the body was altered"),
        ({"s": "other"}, "set 1: the domain has no such key"),
        ({"c": "relaxed/nowsp"}, "set 1: a canonicalisation that is not known"),
        ({"a": "rsa-sha1"}, "set 1: rsa-sha1 is no longer accepted"),
        ({"i": "2"}, "a set that is not complete"),
        ({"i": "x"}, "a field without an instance number"),
    ],
)
async def test_a_message_signature_that_cannot_be_says_why(changed, reason):
    tags = {"h": "from:to", **changed}
    if tags["h"] is None:
        message = crafted_set(MAIL).replace(b" h=from:to:subject;", b"", 1)
    else:
        message = crafted_set(MAIL, message=tags)
    assert await judge(message) == ("fail", reason)


async def test_a_message_signature_may_cover_message_signatures_and_has_no_version():
    assert await judge(crafted_set(MAIL, message={"h": "from:arc-message-signature", "v": "7"})) == ("pass", "")


@pytest.mark.parametrize(
    ("start", "is_read"),
    [
        (b" i=1; mx", True),
        (b" i = 1 ; mx", True),
        (b"\r\n\ti=1\r\n\t; mx", True),
        (b"(c) i=1 (c); mx", True),
        (b" i=01; mx", True),
        (b" mx; i=1", False),
        (b" i=1 mx", False),
        (b" i=; mx", False),
        (b" i=one; mx", False),
        (b" i=1.0; mx", False),
        (b" I=1; mx", False),
    ],
)
def test_the_instance_of_results_stands_in_front(start, is_read):
    message = crafted_set(MAIL).replace(b"Results: i=1; mx", b"Results:" + start)
    found = arc.structure(Fields(Header(message)))
    assert (found.instances, found.flaw) == (1, "" if is_read else "a field without an instance number")
    assert len(found.sets) == is_read


FIELDS = [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"]


def fields_of(message: bytes) -> list[tuple[bytes, bytes]]:
    """(name, instance) -> the field, for each ARC field."""
    return [
        (match[0], re.search(rb"i=(\d+)", match[0])[1])
        for match in re.finditer(rb"(?m)^ARC-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", message)
    ]


async def test_a_set_that_misses_a_field_or_has_one_twice(three):
    assert len(fields_of(three)) == 9
    for field, instance in fields_of(three):
        result, reason = await judge(three.replace(field, b""))
        assert result == "fail"
        assert reason == "a set that is not complete"
        assert await judge(field + three) == ("fail", "two fields of one kind with one instance number")
        assert chain_by_dkimpy(three.replace(field, b""), NAMES)[0] == "fail"
        gap = field.replace(b"i=" + instance, b"i=7", 1)
        assert await judge(three.replace(field, gap)) == ("fail", "a set that is not complete")


async def test_a_chain_without_its_beginning_or_its_end_is_judged_for_what_it_is(three):
    def without(instance: bytes) -> bytes:
        message = three
        for field, number in fields_of(three):
            if number == instance:
                message = message.replace(field, b"")
        return message

    assert await judge(without(b"1")) == ("fail", "a set that is not complete")
    assert await judge(without(b"2")) == ("fail", "a set that is not complete")
    assert await judge(without(b"3")) == ("pass", "")  # nobody can tell that there was a third
    assert chain_by_dkimpy(without(b"3"), NAMES)[0] == "pass"


async def test_the_order_of_the_fields_on_the_message_says_nothing(three):
    """The numbers do (RFC 8617 5.1.1); dkimpy goes by the order."""
    message = three
    for field, _ in fields_of(three):
        message = field + message.replace(field, b"")
    assert await judge(message) == ("pass", "")


@pytest.mark.parametrize("tag", ["b", "bh", "d", "s", "t", "cv", "a"])
async def test_every_tag_of_every_field_is_sealed(three, tag):
    altered = 0
    for field, _ in fields_of(three):
        match = re.search(rb"[ \t]" + tag.encode() + rb"=\s*([^;\s])", field)
        if match is None or field.startswith(b"ARC-Auth"):
            continue
        other = b"X" if match[1] != b"X" else b"Y"
        message = three.replace(field, field[: match.start(1)] + other + field[match.end(1) :])
        assert (await judge(message))[0] == "fail"
        altered += 1
    assert altered >= 3


async def test_what_somebody_found_cannot_be_altered(three):
    for field, _ in fields_of(three):
        if field.startswith(b"ARC-Auth"):
            assert (await judge(three.replace(field, field.replace(b"spf=", b"xpf="))))[1].endswith(
                "a seal does not verify"
            )


async def test_a_message_altered_since_the_last_seal_fails(three):
    for old, new, reason in (
        (b"Hello", b"hello", "set 3: the body was altered"),
        (b"To: list@", b"To: last@", "set 3: the signature does not verify"),
        (b"Some One", b"Some Two", "set 3: the signature does not verify"),
        (b"From:", b"From: x@y.example\r\nFrom:", "set 3: the signature does not verify"),
    ):
        assert await judge(three.replace(old, new)) == ("fail", reason)


async def test_white_space_that_the_relaxed_form_allows_breaks_nothing(three):
    message = re.sub(rb"(?m)^(ARC-[A-Za-z-]+): ", rb"\1 :\t ", three).replace(b"; d=", b";\r\n\t d=")
    assert message != three
    assert await judge(message.replace(b"ARC-Seal", b"arc-SEAL")) == ("pass", "")


async def test_a_silent_dns_is_told_apart():
    message = sealed_by_dkimpy(MAIL, rsa_signer(), "b.example", b"spf=pass smtp.mailfrom=a.example")
    chain = await verified(message, Published({}, failing=["s1._domainkey.b.example"]))
    assert (chain.result, chain.temporary, chain.status) == ("fail", True, "")
    assert chain.reason == "set 1: the DNS gave no answer about the key"
    assert await sealed(message, chain.status) == ABOVE + message
    chain = await verified(message, Published())
    assert (chain.result, chain.temporary, chain.status) == ("fail", False, "fail")


@pytest.mark.parametrize("wall", [b"X: y\r\n" * 2500, b"X: " + b"y" * (300 << 10) + b"\r\n"])
async def test_a_header_too_large_to_be_looked_at_is_not_judged_and_not_sealed(wall):
    message = await sealed(MAIL)
    chain = await verified(message.replace(b"From:", wall + b"From:"))
    assert (chain.result, chain.reason) == ("fail", "the header is larger than is looked at")
    assert await sealed(wall + MAIL, "none") == ABOVE + wall + MAIL
    assert await sealed(b"no field\r\n" + MAIL, "none") == ABOVE + b"no field\r\n" + MAIL


async def test_of_too_many_fields_none_is_read():
    field = b"ARC-Seal: i=1; a=rsa-sha256; cv=fail; d=a.example; s=s1; b=AAAA\r\n"
    names = Published()
    chain = await verified(field * 1500 + MAIL, names)
    assert (chain.result, chain.reason) == ("fail", "more sets than there may be")
    assert chain.instances == arc.MAX_SETS + 1
    assert names.asked == []


# Sealing


@pytest.mark.parametrize("status", ["none", "pass", "fail", "", "unknown"])
async def test_a_status_that_the_message_contradicts_is_not_sealed(status):
    one = await sealed(MAIL)
    assert (await sealed(MAIL, status) != ABOVE + MAIL) is (status == "none")
    assert (await sealed(one, status) != ABOVE + one) is (status in {"pass", "fail"})
    damaged = one.replace(b"cv=none", b"cv=pass")
    assert (await sealed(damaged, status) != ABOVE + damaged) is (status == "fail")


@pytest.mark.parametrize(
    "damage",
    [
        lambda message: message.replace(b"Hello", b"Bye"),
        lambda message: message.replace(b"cv=none", b"cv=pass"),
        lambda message: message.replace(b"ARC-Message-Signature", b"X-Gone"),
        lambda message: b"ARC-Seal: i=0; junk\r\n" + message,
    ],
    ids=["body", "cv", "incomplete", "junk"],
)
async def test_a_broken_chain_is_sealed_as_broken_and_then_it_has_ended(damage):
    """RFC 8617 5.1.2: the seal covers its own set alone, as if that were the only one."""
    one = damage(await sealed(MAIL))
    chain = await verified(one)
    assert chain.result == "fail"
    two = await sealed(one)
    assert two.startswith(b"ARC-Seal: i=2; a=rsa-sha256; cv=fail; ")
    chain = await verified(two)
    assert (chain.result, chain.reason, chain.ended) == ("fail", "the chain was broken before it came here", True)
    assert chain_by_dkimpy(two, NAMES)[0] in {"fail", "ended"}
    assert await sealed(two) == ABOVE + two
    # The seal itself is right: as the only set, numbered and dated as it is, it is what dkimpy computes.
    (own, message, found) = (field for field, number in fields_of(two) if number == b"2")
    fields = Fields(Header(own + message + found))
    at = {name: fields.places(name)[0] for name in (arc.RESULTS, arc.MESSAGE, arc.SEAL)}
    start = own.index(b"\tb=") + 3
    empty = own[:start] + b"\r\n"
    data = fields.canonical(at[arc.RESULTS], relaxed=True) + fields.canonical(at[arc.MESSAGE], relaxed=True)
    data += canonical.relaxed_field(empty)[:-2]
    assert b"".join(own[start:].split()).decode() == raw_signature(rsa_signer(), data)


async def test_the_seal_covers_what_matters_and_not_what_others_may_add():
    message = await sealed(MAIL)
    signed = re.search(rb"h=([^;]*);", message)[1]
    names = [name.strip() for name in signed.split(b":")]
    assert names == [b"from", b"from", b"to", b"subject", b"date", b"message-id", b"dkim-signature"]
    assert await both(
        b"Received: from y\r\nReturn-Path: <>\r\nAuthentication-Results: x; none\r\nX-Spam: no\r\n" + message
    ) == ("pass", "pass")
    assert await both(b"From: x@y.example\r\n" + message) == ("fail", "fail")


async def test_fields_that_we_put_above_are_under_the_seal_too():
    above = ABOVE + b"DKIM-Signature: v=1; b=x\r\n"
    message = await sealed(MAIL, above=above)
    assert re.search(rb"h=([^;]*);", message)[1].count(b"dkim-signature") == 2
    assert await both(message) == ("pass", "pass")
    assert await both(message.replace(b"v=1; b=x", b"v=1; b=y")) == ("fail", "fail")


async def test_no_more_than_ten_fields_of_a_name_are_signed():
    many = b"".join(b"DKIM-Signature: v=1; b=%d\r\n" % number for number in range(500)) + PLAIN
    message = await sealed(many)
    assert re.search(rb"h=([^;]*);", message)[1].count(b"dkim-signature") == 10
    assert await both(message) == ("pass", "pass")


async def test_results_that_are_not_ascii_stay_so_only_where_they_may():
    results = [AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", "jürgen@bücher.example"),))]
    for utf8, text in ((False, b"j?rgen@xn--bcher-kva.example"), (True, "jürgen@bücher.example".encode())):
        made = await sealer().seal(
            MAIL, Header(MAIL), above=b"", results=results, status="none", now=time.time_ns(), utf8=utf8
        )
        assert text in made
        assert await both(made + MAIL) == ("pass", "pass")


async def test_a_large_mapped_message_is_sealed_in_one_look(tmp_path, monkeypatch):
    passes = []
    real = canonical.body_hashes
    monkeypatch.setattr(canonical, "body_hashes", lambda *args: passes.append(args[2]) or real(*args))
    content = mapped(tmp_path / "large", [MAIL, *noise(4 << 20)])
    header = Header(content)
    body = Body(content, header.body)
    chain = await arc.verify(content, header, NAMES, now=time.time_ns(), body=body)
    for _ in range(2):
        made = await sealer().seal(
            content, header, above=ABOVE, results=RESULTS, status=chain.status, now=time.time_ns(), body=body
        )
    assert len(passes) - passes.count(set()) == 1
    assert await both(made + ABOVE + content[:]) == ("pass", "pass")
    content.close()


@functools.cache
def two_of_ours() -> bytes:
    return asyncio.run(sealed(asyncio.run(sealed(MAIL))))


@settings(max_examples=600)
@given(st.data())
def test_a_chain_with_an_octet_altered_is_judged_as_dkimpy_judges_it(data):
    message = two_of_ours()
    at = data.draw(st.integers(0, len(message) - 1).filter(lambda place: message[place : place + 1] not in b"\r\n"))
    octet = bytes((data.draw(st.sampled_from(b" \tAa:;=,.@<>\xff12/+")),))
    altered = data.draw(st.sampled_from([message[:at] + octet + message[at + end :] for end in (0, 1)]))
    theirs, _ = chain_by_dkimpy(altered, NAMES)
    assume(comparable(message, altered, at) and theirs != "crashed")
    assert (asyncio.run(judge(altered))[0] == "pass") is (theirs == "pass")


TOKENS = st.sampled_from(
    ["i=1;", "i=2;", "i=0;", "a=rsa-sha256;", "cv=none;", "cv=pass;", "cv=fail;", "d=a.example;", "s=s1;", "h=from;", "bh=AAAA;",
     "b=AAAA;", "t=1;", "mx.example;", ";", "=", "(", "\r\n\t", "\r\n", "é"]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), st.lists(TOKENS, max_size=12).map(" ".join)), max_size=7))
def test_no_chain_makes_it_raise(fields):
    message = b"".join(name + b": " + value.encode() + b"\r\n" for name, value in fields) + MAIL
    chain = asyncio.run(verified(message))
    assert chain.result in {"none", "fail"}
    assert chain.reason.isprintable()
    again = asyncio.run(sealed(message))
    assert again.endswith(ABOVE + message)


# The key


def test_the_record_to_publish_is_what_others_verify_with():
    for signer, kind in ((rsa_signer(), "rsa"), (ed25519_signer(), "ed25519")):
        made = KeySealer("Gatepost.Example", "Ours", OURS, signer.pem)
        assert made.record.encode() == signer.record
        assert made.key_name == "ours._domainkey.gatepost.example"
        assert f"k={kind};" in made.record


def pem_of(kind: str) -> bytes:
    if kind == "encrypted":
        key = load_pem_private_key(rsa_signer().pem, None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    if kind == "curve":
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if kind == "public":
        return (
            load_pem_private_key(rsa_signer().pem, None)
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    return {"empty": b"", "junk": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("encrypted", "encrypted"),
        ("curve", "neither RSA nor Ed25519"),
        ("public", "not a private key"),
        ("empty", "not a private key"),
        ("junk", "not a private key"),
    ],
)
def test_a_key_that_cannot_seal_is_a_mistake_of_the_configuration(kind, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_key(pem_of(kind))
    assert caught.value.remedy
    assert caught.value.__cause__ is None


SHORT = """-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAN3CLIz6WSB1uPp76Or3FepOlct8zVZdLcbpn/XSLlRqoBrievkj
Z1fxJILjxMtKDhCDVfxTaign4R6ZYQ5qqhECAwEAAQJAMohKyp1JrgHlcv7FZrWD
Qu9BZys7R1DYW5llIAkTEZ0F324qcPGjYPQ5ZHzv+gkDCtfqFECZlHSTzxjrJFu4
GQIhAPKkiJVxXxd7zKBDOOolL2v6ESolpQm3gEXKbJh7vgkPAiEA6fdT3WLOoD8G
aL2Waapw8TfShzzEj7vwqWzY2gk22t8CICYby0vVW37/tZqyFB1KK9GEm++HrA0D
ogTUDww/2w/nAiBYXxUMP+/v0x5mnYWcr8YtNnqMnkVYTRKfy/80i9puXQIhAL64
CJZqzIZ8daSi3S+6+xhVCtrlTwY9h7J2UVI1bTZP
-----END RSA PRIVATE KEY-----
"""


def test_a_short_key_is_refused():
    with pytest.raises(ConfigurationError, match="512 bits"):
        load_key(SHORT.encode())


def test_a_name_that_is_none_is_a_mistake_of_the_configuration(tmp_path):
    for domain, selector in (("", "s"), ("a b", "s"), ("a.example", ""), ("a.example", "a b"), ("a.example", "x" * 64)):
        with pytest.raises(ConfigurationError, match="domain") as caught:
            KeySealer(domain, selector, OURS, rsa_signer().pem)
        assert caught.value.remedy
    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        KeySealer.from_file("a.example", "s", OURS, tmp_path / "none.pem")
    assert caught.value.remedy


def test_a_key_is_read_from_its_file(tmp_path: Path):
    path = tmp_path / "arc.pem"
    path.write_bytes(rsa_signer().pem)
    assert KeySealer.from_file("a.example", "s", OURS, path).record.encode() == rsa_signer().record
