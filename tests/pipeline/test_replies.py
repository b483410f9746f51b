"""The replies agree with themselves."""

from __future__ import annotations

import re

import pytest

from pipeline import replies
from pipeline.clients import Limit
from pipeline.replies import Reply
from workers.receiver.guard import REFUSALS

NAMED = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("reply", NAMED.values(), ids=NAMED)
def test_code_and_enhanced_class_agree(reply):
    if str(reply.code).startswith("3"):
        assert reply.enhanced == ""
    else:
        assert re.fullmatch(r"[245]\.[0-7]\.\d{1,2}", reply.enhanced)
        assert reply.enhanced[0] == str(reply.code)[0]


@pytest.mark.parametrize("reply", NAMED.values(), ids=NAMED)
def test_a_reply_is_one_printable_line_of_at_most_512_octets(reply):
    assert re.fullmatch(rb"[2-5][0-5][0-9] [ -~]+\r\n", reply.wire)
    assert len(reply.wire) <= 512
    assert reply.wire.decode() == " ".join(filter(None, [str(reply.code), reply.enhanced, reply.text])) + "\r\n"


def test_no_two_replies_have_the_same_line():
    assert len({reply.wire for reply in NAMED.values()}) == len(NAMED)


def test_trouble_of_ours_is_never_permanent():
    for reply in (replies.TROUBLE, replies.STORE_FULL, replies.SHUTTING_DOWN, replies.TOO_MANY_SESSIONS, replies.IDLE):
        assert 400 <= reply.code < 500


LIMITS = {
    name: reply
    for name, reply in NAMED.items()
    if name.startswith(("ENOUGH_", "TOO_MANY_", "CONNECTING_", "MESSAGES_", "RECIPIENTS_", "WASTED_", "UNKNOWN_TOO_"))
}


@pytest.mark.parametrize("reply", LIMITS.values(), ids=LIMITS)
def test_a_limit_is_never_a_reason_to_bounce_mail(reply):
    assert len(LIMITS) == 11
    assert (reply.code, reply.enhanced) in ((421, "4.7.0"), (451, "4.7.1"), (452, "4.5.3"))


@pytest.mark.parametrize("limit", Limit, ids=lambda limit: limit.name)
def test_whoever_is_kept_out_by_a_limit_is_told_which(limit):
    assert REFUSALS[limit] in NAMED.values()
    assert (REFUSALS[limit].code == 451) is (limit in (Limit.MESSAGES, Limit.RECIPIENTS))


def test_after_a_timeout_the_client_may_come_again():
    for reply in (replies.IDLE, replies.TOO_SLOW, replies.SESSION_OVER):
        assert (reply.code, reply.enhanced) == (421, "4.4.2")


def test_the_acceptance_names_every_id():
    assert replies.accepted(["one", "two"]).wire == b"250 2.0.0 accepted as one, two\r\n"


def test_the_greeting_and_the_answer_to_helo_have_no_enhanced_code():
    assert replies.greeting("mx.example.test").wire == b"220 mx.example.test ESMTP Gatepost\r\n"
    assert replies.hello("mx.example.test").wire == b"250 mx.example.test\r\n"
