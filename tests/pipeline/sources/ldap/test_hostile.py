"""Directory servers that stall, lie, break off or send rubbish: each is an error in words, and never a short list."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pipeline.sources.definitions import LdapSource
from pipeline.sources.faults import (
    BusyError,
    DeniedError,
    GarbledError,
    LimitedError,
    MissingError,
    SlowError,
    SourceError,
    UnreachableError,
)
from pipeline.sources.ldap import reader
from pipeline.sources.ldap.messages import MAX_MESSAGE
from pipeline.sources.model import Listing, Unchanged
from tests.pipeline.sources.conftest import PEOPLE, kinds, listing, opened, openldap
from tests.support.ldap import BASE, BIND_OK, DONE, Raw, Scripted, found, number, octets, paged, result, tlv
from tests.support.proxy import Proxy
from tests.support.servers import eventually, free_port

ANNA = found(f"uid=anna,{BASE}", mail=["anna@example.test"])
BEN = found(f"uid=ben,{BASE}", mail=["ben@example.test"])
NO_ROOT = (DONE,)
"""The answer to the first search, for what the server can do."""
LISTED = (NO_ROOT, (ANNA, DONE))


def definition(*urls: str, **options: Any) -> LdapSource:
    return openldap(*urls, **{"profile": "generic", "bind_dn": "", "timeout": 5, **options})


async def test_the_scripted_server_is_one_that_can_be_read():
    async with Scripted(*LISTED) as server:
        assert kinds(await listing(definition(server.url))) == {"anna@example.test": "mailbox"}
        # An unbind: a server that listens is told.
        await eventually(lambda: _holds(server.requests, b"\x42\x00"))


async def _holds(requests: list[bytes], octets: bytes) -> bool:
    return any(octets in request for request in requests)


# Ends and silences, between us and a real server


@pytest.mark.parametrize("after", [0, 5, 100, 20_000, 300_000])
async def test_a_connection_that_breaks_off_is_an_error_wherever_it_does(many, after):
    async with Proxy(many.port, after=after, then="close") as proxy:
        with pytest.raises(UnreachableError, match="closed the connection before it had answered") as caught:
            await listing(openldap(f"ldap://127.0.0.1:{proxy.port}"))
        assert caught.value.temporary


@pytest.mark.parametrize("after", [0, 20_000])
async def test_a_server_that_stalls_is_waited_for_only_so_long(many, after):
    async with Proxy(many.port, after=after, then="stall") as proxy:
        with pytest.raises(SlowError, match=r"silent for 0\.3 s"):
            await listing(openldap(f"ldap://127.0.0.1:{proxy.port}", timeout=0.3))


async def test_a_server_that_stalls_in_the_handshake_is_waited_for_only_so_long(many):
    async with Proxy(many.tls_port, after=0, then="stall") as proxy:
        with pytest.raises(SlowError):
            await listing(openldap(f"ldaps://127.0.0.1:{proxy.port}", timeout=0.3))
    async with Proxy(many.port, after=14, then="stall") as proxy:  # after the consent to StartTLS
        with pytest.raises((SlowError, UnreachableError)):
            await listing(openldap(f"ldap://127.0.0.1:{proxy.port}", starttls=True, timeout=0.3))


async def test_a_server_that_trickles_is_ended_by_the_time_of_the_whole_run():
    async def trickle(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"\x30" if not writer.transport.get_write_buffer_size() else b"")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with Scripted(NO_ROOT, (Raw(b"\x30\x84\x00\x10\x00\x00"), trickle)) as server:
        with pytest.raises(SlowError, match="not complete within 1 s") as caught:
            await listing(definition(server.url, time_limit=1))
        assert "time_limit" in caught.value.remedy


@pytest.mark.parametrize("after", [14, 1000, 20_000])
async def test_rubbish_in_the_middle_is_an_error(many, after):
    async with Proxy(many.port, after=after, then=b"\x00\xff" * 5000) as proxy:
        with pytest.raises((GarbledError, LimitedError, SlowError)):
            await listing(openldap(f"ldap://127.0.0.1:{proxy.port}", timeout=1))


async def test_after_a_broken_connection_the_next_server_is_read_from_the_beginning(many):
    async with Proxy(many.port, after=200_000, then="close") as proxy:
        found = await listing(openldap(f"ldap://127.0.0.1:{proxy.port}", many.url))
    assert len(found.entries) == 2 * PEOPLE


# Answers that no real server gives


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Raw(b"220 mail.example.test ESMTP\r\n"), "does not speak LDAP"),
        (Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak LDAP"),
        (Raw(b"\x15\x03\x01\x00\x02\x02\x46"), "does not speak LDAP"),
        (Raw(b"\x30\x80\x02\x01\x01"), "a length that LDAP does not have"),
        (Raw(b"\x30\x85\x01\x01\x01\x01\x01"), "a length that LDAP does not have"),
        (Raw(b"\x30\x00"), "cut off"),
        (Raw(tlv(0x30, tlv(0x02, b"\x01" * 5000), BIND_OK)), "a number that LDAP does not have"),
        (Raw(tlv(0x30, number(1), tlv(0x61, b"\x0a\x7f\x00"))), "longer than what it is in"),
        (tlv(0x61), "cut off"),
        (tlv(0x7F, b"x"), "an answer that was not asked for"),
        (ANNA, "sent an entry that was not asked for"),
        (Raw(tlv(0x30, number(7), BIND_OK)), "answered something that was not asked"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_to_the_bind_is_named(answer, words):
    async with Scripted(bind=(answer,)) as server:
        with pytest.raises(GarbledError, match=words):
            await listing(definition(server.url))


@pytest.mark.parametrize(
    "answer",
    [
        tlv(0x64),
        tlv(0x64, octets("x"), tlv(0x30, tlv(0x30, octets("mail")))),
        tlv(0x64, octets("x"), tlv(0x31)),
        tlv(0x64, octets("x"), tlv(0x30, tlv(0x30, octets("mail"), tlv(0x31, number(5))))),
        tlv(0x64, octets("x"), tlv(0x30, b"\x30\x84\xff\xff\xff\xff")),
        tlv(0x64, octets("x"), b"\x30\x82\x40\x00" * 3000),
        result(0x61),
        result(0x65) + b"\xa0\x7f\x01",
        result(0x65) + tlv(0xA0, tlv(0x30, octets("1.2.840.113556.1.4.319"), octets(b"\x30\x05rubbish"))),
        Raw(tlv(0x30, number(99), ANNA)),
    ],
    ids=range(10),
)  # fmt: skip
async def test_an_answer_that_is_spoiled_somewhere_ends_the_run(answer):
    async with Scripted(NO_ROOT, (ANNA, answer, DONE)) as server:
        if answer == result(0x61):  # the result of another kind of question is a result
            assert len((await listing(definition(server.url))).entries) == 1
            return
        with pytest.raises(GarbledError):
            await listing(definition(server.url))


async def test_an_entry_that_is_too_large_is_refused_before_it_is_read():
    async with Scripted(NO_ROOT, (ANNA, Raw(b"\x30\x84\xff\xff\xff\xf0"))) as server:
        with pytest.raises(LimitedError, match=r"an entry of 4,294,967,286 octets"):
            await listing(definition(server.url))


async def test_an_entry_of_the_largest_size_is_read_with_all_its_values():
    values = [f"a{n:06}@example.test" for n in range(100_000)]
    large = found(f"uid=large,{BASE}", mail=values)
    assert MAX_MESSAGE // 2 < len(large) < MAX_MESSAGE
    async with Scripted(NO_ROOT, (large, DONE)) as server:
        assert len((await listing(definition(server.url))).entries) == 100_000


@pytest.mark.parametrize(
    ("ending", "error", "words"),
    [
        (result(0x65, 4), LimitedError, "ended the list before its end"),
        (result(0x65, 11, "too many candidates"), LimitedError, "its limit for our account was reached: too many cand"),
        (result(0x65, 3), SlowError, "its time limit was reached"),
        (result(0x65, 51), BusyError, "is busy"),
        (result(0x65, 52, "going down"), BusyError, "is busy: going down"),
        (result(0x65, 53), DeniedError, "does not let us read the list"),
        (result(0x65, 32, matched="dc=test"), MissingError, "there is dc=test"),
        (result(0x65, 10, referral="ldap://else.test/dc=x"), MissingError, "is elsewhere, on ldap://else.test/dc=x"),
        (result(0x65, 80, "\x1b[31mred\u202e"), GarbledError, r"answers other: \\x1b\[31mred\\u202e"),
        (result(0x65, 127), GarbledError, "answers with error 127"),
    ],
)  # fmt: skip
async def test_a_list_that_does_not_end_with_success_is_none(ending, error, words):
    async with Scripted(NO_ROOT, (ANNA, ending)) as server:
        with pytest.raises(error, match=words) as caught:
            await listing(definition(server.url))
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("52e", "the password is wrong, or there is no such account"),
        ("775", "the account is locked"),
        ("fff", "AcceptSec"),
    ],
)
async def test_what_active_directory_says_about_a_refusal_is_translated(data, words):
    said = f"80090308: LdapErr: DSID-0C09050F, comment: AcceptSecurityContext error, data {data}, v4f7c"
    async with Scripted(bind=(result(0x61, 49, said),)) as server:
        with pytest.raises(DeniedError, match=words):
            await listing(definition(server.url))


async def test_a_notice_of_disconnection_gives_its_reason():
    notice = Raw(tlv(0x30, number(0), tlv(0x78, number(52, 0x0A), octets(""), octets("server is shutting down"))))
    async with Scripted(NO_ROOT, (ANNA, notice)) as server:
        with pytest.raises(UnreachableError, match="ended the connection: server is shutting down"):
            await listing(definition(server.url))


async def test_words_in_the_clear_after_the_consent_to_encrypt_are_not_taken_for_encrypted_ones():
    """What somebody on the way adds before the handshake must not be read as the server's."""
    forged = Raw(tlv(0x30, number(1), result(0x78)) + tlv(0x30, number(2), BIND_OK))
    async with Scripted(*LISTED, starttls=(forged,)) as server:
        with pytest.raises(GarbledError, match="went on in the clear"):
            await listing(definition(server.url, starttls=True))


async def test_a_consent_to_encrypt_without_encryption_behind_it_is_an_error():
    async with Scripted(*LISTED, starttls=(result(0x78), Raw(b""))) as server:
        with pytest.raises(SourceError) as caught:
            await listing(definition(server.url, starttls=True, timeout=0.5))
        assert not any(b"\x63" in request for request in server.requests[1:2])
        assert isinstance(caught.value, SlowError | UnreachableError | GarbledError)


async def test_a_server_without_pages_sends_all_at_once():
    async with Scripted(NO_ROOT, (ANNA, BEN, DONE)) as server:
        assert len((await listing(definition(server.url, page=1))).entries) == 2


async def test_pages_are_read_to_the_last_and_may_be_empty():
    pages = ((ANNA, DONE + paged(b"one")), (DONE + paged(b"two"),), (BEN, DONE + paged(b"")))
    async with Scripted(NO_ROOT, *pages) as server:
        assert sorted(kinds(await listing(definition(server.url)))) == ["anna@example.test", "ben@example.test"]
        searches = [request for request in server.requests if b"mail" in request]
        assert [b"one" in request for request in searches] == [False, True, False]
        assert [b"two" in request for request in searches] == [False, False, True]


async def test_pages_without_end_are_ended_by_the_time_of_the_run():
    async with Scripted(NO_ROOT, (ANNA, DONE + paged(b"again"))) as server:
        with pytest.raises(SlowError, match="not complete within 1 s"):
            await listing(definition(server.url, time_limit=1))


@pytest.mark.parametrize("last", ["*", "3"])
async def test_values_that_come_in_ranges_are_read_to_the_last(last):
    first = found("CN=All", proxyAddresses=[], **{"mail__range_eq_0-1": ["a0@example.test", "a1@example.test"]})
    second = found("CN=All", **{"mail__range_eq_2-2": ["a2@example.test"]})
    third = found("CN=All", **{f"mail__range_eq_3-{last}": ["a3@example.test"]})
    fourth = found("CN=All", **{"mail__range_eq_4-*": ["a4@example.test"]})
    async with Scripted(NO_ROOT, (first, BEN, DONE), (second, DONE), (third, DONE), (fourth, DONE)) as server:
        names = sorted(entry.local for entry in (await listing(definition(server.url))).entries)
        assert names == ["a0", "a1", "a2", "a3", *(["a4"] if last == "3" else []), "ben"]
        assert b"mail;range=2-*" in server.requests[3]


@pytest.mark.parametrize(
    "answer",
    [
        (DONE,),
        (found("CN=All"), DONE),
        (found("CN=All", **{"mail__range_eq_0-1": ["a0@example.test"]}), DONE),
        (found("CN=All", **{"mail__range_eq_2-2": []}), DONE),
        (found("CN=All", **{"member__range_eq_2-*": ["x"]}), DONE),
        (result(0x65, 32),),
    ],
    ids=["gone", "none", "the same again", "empty", "another", "refused"],
)
async def test_ranges_that_do_not_go_on_end_the_run(answer):
    first = found("CN=All", **{"mail__range_eq_0-1": ["a0@example.test", "a1@example.test"]})
    async with Scripted(NO_ROOT, (first, DONE), answer) as server:
        with pytest.raises(GarbledError, match="does not send all values of mail of CN=All"):
            await listing(definition(server.url))


async def test_an_attribute_without_end_ends_the_run(monkeypatch):
    monkeypatch.setattr(reader, "MAX_VALUES", 4)
    parts = [found("CN=All", **{f"mail__range_eq_{n}-{n + 1}": [f"a{n}@x.test", f"b{n}@x.test"]}) for n in (0, 2, 4)]
    async with Scripted(NO_ROOT, *((part, DONE) for part in parts)) as server:
        with pytest.raises(LimitedError, match="CN=All has more than 4 values of mail"):
            await listing(definition(server.url))


async def test_the_names_of_entries_are_neutralised():
    evil = found(b"CN=\x1b]0;owned\x07\r\nFrom: x\xff", mail=["broken", "eve@example.test"])
    async with Scripted(NO_ROOT, (evil, DONE)) as server:
        listed = await listing(definition(server.url))
    assert listed.problems == (r"CN=\x1b]0;owned\x07 From: x\xff: broken: not an address; expected local@domain",)
    assert listed.entries[0].reference.isprintable()


async def test_references_are_reported_once_and_rubbish_in_them_does_no_harm():
    urls = ["ldap://[::1/dc=x", "ldap://else.test/DC=sub", "ldap://else.test/DC=sub", "\x1b[2J"]
    references = [tlv(0x73, octets(url)) for url in urls] + [tlv(0x73)]
    async with Scripted(NO_ROOT, (ANNA, *references, DONE)) as server:
        listed = await listing(definition(server.url))
    assert listed.problem_count == 4
    assert all(problem.isprintable() for problem in listed.problems)


# The state of a directory


def root(usn: int) -> tuple[bytes, bytes]:
    return found("", highestCommittedUSN=[str(usn)], dsServiceName=["CN=NTDS Settings,CN=DC1"]), DONE


def life(octet: bytes) -> tuple[bytes, bytes]:
    return found("CN=NTDS Settings,CN=DC1", invocationId=[octet * 16]), DONE


async def test_only_the_same_count_of_the_same_life_of_a_domain_controller_is_unchanged():
    """One that was restored from a backup counts again from an earlier number, in another life."""
    async with Scripted(root(7), life(b"a"), (ANNA, DONE)) as server:
        source = opened(definition(server.url))
        first = await source.fetch()
        assert isinstance(first, Listing)
        server.turns[0x63] = [root(7), life(b"a")]
        assert await source.fetch(marker=first.marker) == Unchanged(marker=first.marker)
        for turns in ([root(8), life(b"a"), (BEN, DONE)], [root(7), life(b"b"), (BEN, DONE)]):
            server.turns[0x63] = turns
            again = await source.fetch(marker=first.marker)
            assert isinstance(again, Listing)
            assert sorted(kinds(again)) == ["ben@example.test"]


@pytest.mark.parametrize("secret", [(DONE,), (found("CN=NTDS Settings,CN=DC1"), DONE), (result(0x65, 50),)])
async def test_a_life_that_we_may_not_see_makes_no_marker(secret):
    async with Scripted(root(7), secret, (ANNA, DONE)) as server:
        assert (await listing(definition(server.url))).marker == b""


async def test_a_server_without_a_word_for_its_state_is_read_each_time():
    for attributes in ({"vendorName": ["IBM"]}, {"highestCommittedUSN": ["7"]}, {"supportedControl": ["1.2.3"]}):
        async with Scripted((found("", **attributes), DONE), (ANNA, DONE)) as server:
            assert (await listing(definition(server.url))).marker == b""


async def test_the_state_of_another_server_says_nothing():
    async with Scripted(root(7), life(b"a"), (ANNA, DONE)) as one, Scripted(root(7), life(b"a"), (ANNA, DONE)) as two:
        marker = (await listing(definition(one.url))).marker
        assert isinstance(await opened(definition(one.url)).fetch(marker=marker), Unchanged)
        assert isinstance(await opened(definition(two.url)).fetch(marker=marker), Listing)


async def test_a_server_that_says_it_keeps_its_state_and_refuses_to_tell_it_makes_no_marker():
    syncs = (found("", supportedControl=["1.3.6.1.4.1.4203.1.9.1.1"]), DONE)
    for refusal in ((result(0x65, 12),), (result(0x65, 32),), (DONE,), (tlv(0x79, octets("x")), DONE)):
        async with Scripted(syncs, refusal, (ANNA, DONE)) as server:
            assert (await listing(definition(server.url))).marker == b""


# Several servers


async def test_which_faults_send_us_to_the_next_server():
    async with Scripted(*LISTED) as good:
        for bad in ((result(0x61, 51),), (Raw(b"SSH-2.0-x\r\n"),)):
            async with Scripted(bind=bad) as server:
                assert len((await listing(definition(server.url, good.url))).entries) == 1
        for bad in ((result(0x61, 49),), (result(0x61, 53),)):
            async with Scripted(bind=bad) as server:
                before = good.connections
                with pytest.raises(DeniedError):
                    await listing(definition(server.url, good.url))
                assert good.connections == before


async def test_when_no_server_answers_all_of_them_are_named():
    closed = f"ldap://127.0.0.1:{free_port()}"
    async with Scripted(bind=(result(0x61, 51),)) as busy:
        with pytest.raises(BusyError) as caught:
            await listing(definition(busy.url, closed))
    assert busy.url in str(caught.value)
    assert closed in str(caught.value)


def test_a_definition_survives_being_stored():
    stored = msgspec.msgpack.encode(definition("ldap://a.example"))
    assert msgspec.msgpack.decode(stored, type=LdapSource) == definition("ldap://a.example")
