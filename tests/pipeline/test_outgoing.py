"""What leaves is what came, with our fields on top and without those that were forged in our name."""

from __future__ import annotations

import email
import mmap
import re
import tempfile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.actions import tagged
from pipeline.authentication.results import chain_status
from pipeline.events import AuthResult
from pipeline.outgoing import CHUNK, Forwarding, Outgoing
from pipeline.state import Stage
from tests.support.examples import AT, message_in

CONTENT = b"From: a@b.test\r\nAuthentication-Results: gw.test; spf=pass\r\nSubject: x\r\n\r\nbody\r\n"
FORGED = (CONTENT.index(b"Auth"), CONTENT.index(b"Subject"))


@given(
    content=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 220), max_size=8).map(sorted),
    top=st.binary(max_size=20),
    chunk=st.integers(1, 50),
)
def test_it_is_all_there_but_for_what_is_left_out_however_it_is_cut(content, cuts, top, chunk):
    ranges = tuple(zip(cuts[::2], cuts[1::2], strict=False))
    outgoing = Outgoing(top, content, ranges)
    expected = content
    for start, stop in reversed(ranges):
        if stop <= len(content):
            expected = expected[:start] + expected[stop:]
    whole = b"".join(outgoing.pieces(chunk))
    assert whole == top + expected
    assert outgoing.size == len(whole)


def test_a_mapped_file_is_read_in_chunks_also_around_what_is_left_out():
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * (4 * CHUNK))
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            outgoing = Outgoing(b"T", content, ((10, 20), (2 * CHUNK, 2 * CHUNK + 5)))
            pieces = list(outgoing.pieces())
            assert max(map(len, pieces)) < 2 * CHUNK + 2
            assert sum(map(len, pieces)) == outgoing.size == 1 + 4 * CHUNK - 15


def forwarding(sealer=None) -> Forwarding:
    return Forwarding(hostname="gw.test", authserv_id="gw.test", sealer=sealer, clock=lambda: AT)


async def test_our_results_stand_below_our_trace_and_forged_ones_are_gone():
    auth = (AuthResult(method="spf", result="fail", properties=(("smtp.mailfrom", "a@b.test"),)),)
    message = msgspec.structs.replace(message_in(Stage.QUEUED), auth=auth, drop=(FORGED,))
    whole = b"".join((await forwarding().prepare(message, CONTENT)).pieces())
    unfolded = re.sub(rb"\r\n[ \t]+", b" ", whole).split(b"\r\n")
    assert unfolded[0].startswith(b"Received: from ")
    assert unfolded[1] == b"Authentication-Results: gw.test; spf=fail smtp.mailfrom=a@b.test"
    assert whole.count(b"Authentication-Results") == 1
    assert whole.endswith(b"From: a@b.test\r\nSubject: x\r\n\r\nbody\r\n")


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t ", b"\t\r\n "])
@pytest.mark.parametrize("auth", [(), (AuthResult(method="spf", result="fail"),)])
async def test_a_message_that_begins_as_if_it_continued_a_field_of_ours_says_nothing_in_our_name(space, auth):
    content = space + b"; dkim=pass header.d=bank.test\r\n" + CONTENT
    drop = tuple((at + len(content) - len(CONTENT)) for at in FORGED)
    message = msgspec.structs.replace(message_in(Stage.QUEUED), auth=auth, drop=(drop,))
    outgoing = await forwarding().prepare(message, content)
    whole = b"".join(outgoing.pieces())
    assert len(whole) == outgoing.size
    assert whole.endswith(content[: drop[0]] + content[drop[1] :])
    seen = email.message_from_bytes(whole)
    assert seen.keys() == [
        "Received",
        *(["Authentication-Results"] if auth else []),
        "X-Gatepost-Stray",
        "From",
        "Subject",
    ]
    assert not any("dkim" in seen[name] for name in seen if name != "X-Gatepost-Stray")


async def test_a_tagged_copy_says_what_it_is_in_a_field_and_is_otherwise_the_same():
    message = msgspec.structs.replace(message_in(Stage.QUEUED), drop=(FORGED,))
    plain = b"".join((await forwarding().prepare(message, CONTENT)).pieces())
    outgoing = await forwarding().prepare(message, CONTENT, tagged("spam", 7.25, ""))
    whole = b"".join(outgoing.pieces())
    assert whole.replace(b"X-Gatepost-Verdict: spam; score=7.25\r\n", b"") == plain
    assert len(whole) == outgoing.size


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (b"Subject: x\r\n", "[SPAM] x"),
        (b"SUBJECT:x\r\n", "[SPAM] x"),
        (b"Subject: a\r\n b\r\n", "[SPAM] a b"),
        (b"Subject:\r\n\tfolded\r\n", "[SPAM] folded"),
        (b"Subject: \r\n", "[SPAM]"),
        (b"Subject:\r\n", "[SPAM]"),
        (b"Subject: =?utf-8?q?f=C3=BCr?=\r\n", "[SPAM] =?utf-8?q?f=C3=BCr?="),
        (b"", "[SPAM]"),
    ],
)
async def test_a_prefix_stands_before_the_subject_however_that_is_written(subject, expected):
    content = b"From: a@b.test\r\n" + subject + b"To: c@d.test\r\n\r\nbody\r\n"
    outgoing = await forwarding().prepare(message_in(Stage.QUEUED), content, tagged("spam", 7, "[SPAM]"))
    whole = b"".join(outgoing.pieces())
    assert len(whole) == outgoing.size
    seen = email.message_from_bytes(whole)
    assert seen.keys() == ["Received", "X-Gatepost-Verdict", "Subject", "From", "To"]
    assert " ".join(seen["Subject"].split()) == expected
    assert seen.get_payload() == "body\r\n"


async def test_a_subject_that_is_cut_off_with_the_message_ends_before_the_next_field():
    whole = b"".join(
        (
            await forwarding().prepare(
                message_in(Stage.QUEUED), b"From: a@b.test\r\nSubject: x", tagged("spam", 7, "[S]")
            )
        ).pieces()
    )
    assert whole.endswith(b"Subject: [S] x\r\nFrom: a@b.test\r\n")


async def test_a_bounce_of_our_own_has_no_results():
    whole = b"".join((await forwarding().prepare(message_in(Stage.QUEUED), CONTENT)).pieces())
    assert whole.startswith(b"Received: ")
    assert whole.endswith(CONTENT)
    assert whole.count(b"Authentication-Results") == 1


@pytest.mark.parametrize(
    ("results", "had_chain", "status"),
    [((), False, "none"), (("pass",), True, "pass"), (("fail",), True, "fail"), ((), True, "")],
)
def test_a_sealer_is_told_what_became_of_the_chain_and_of_one_nobody_could_judge_nothing(results, had_chain, status):
    auth = [AuthResult(method="spf", result="pass"), *(AuthResult(method="arc", result=one) for one in results)]
    assert chain_status(auth, had_chain=had_chain) == status
