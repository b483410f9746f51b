"""The parameters of MAIL and RCPT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import replies
from pipeline.replies import Reply
from workers.receiver.parameters import MailOptions, RcptOptions, mail_options, rcpt_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", MailOptions()),
        ("SIZE=1000", MailOptions(size=1000)),
        ("size=0 body=7bit", MailOptions()),
        ("BODY=8BITMIME  SMTPUTF8", MailOptions(eight_bit=True, smtputf8=True)),
        ("RET=hdrs ENVID=a+2Bb", MailOptions(ret="HDRS", envid="a+2Bb")),
        ("RET=FULL", MailOptions(ret="FULL")),
    ],
)
def test_mail_parameters_are_understood(text, options):
    assert mail_options(text) == options


@pytest.mark.parametrize(
    "text",
    [
        "SIZE", "SIZE=", "SIZE=-1", "SIZE=1k", "SIZE=" + "9" * 21, "SIZE=٣", "BODY", "BODY=BINARYMIME", "SMTPUTF8=yes", "RET=ALL", "RET=",
        "ENVID=", "ENVID=a=b", "ENVID=a+2b", "ENVID=" + "x" * 101, "SIZE=1 SIZE=1", "ENVID=ä",
    ],
)  # fmt: skip
def test_bad_values_of_mail_parameters_are_refused(text):
    assert mail_options(text) is replies.BAD_PARAMETER


@pytest.mark.parametrize("text", ["AUTH=<>", "FOO", "FOO=BAR", "=x", "NOTIFY=NEVER", "SIZE=1 X", "\tSIZE=1"])
def test_mail_parameters_that_we_do_not_know_are_refused(text):
    assert mail_options(text) is replies.UNKNOWN_PARAMETER


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", RcptOptions()),
        ("NOTIFY=never", RcptOptions(notify="NEVER")),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", RcptOptions(notify="SUCCESS,FAILURE,DELAY")),
        ("ORCPT=rfc822;a+2Bb@c.example", RcptOptions(orcpt="rfc822;a+2Bb@c.example")),
        ("ORCPT=utf-8;δ@c.example NOTIFY=DELAY", RcptOptions(notify="DELAY", orcpt="utf-8;δ@c.example")),
    ],
)
def test_rcpt_parameters_are_understood(text, options):
    assert rcpt_options(text) == options


@pytest.mark.parametrize(
    "text", ["NOTIFY", "NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=SOON", "ORCPT=a@b", "ORCPT=;a", "ORCPT=rfc822;a\u2028b", "ORCPT=rfc822;"]
)  # fmt: skip
def test_bad_values_of_rcpt_parameters_are_refused(text):
    assert rcpt_options(text) is replies.BAD_PARAMETER


def test_rcpt_parameters_that_we_do_not_know_are_refused():
    assert rcpt_options("SIZE=1") is replies.UNKNOWN_PARAMETER


@given(st.text(max_size=80))
def test_any_text_yields_options_or_a_reply(text):
    assert isinstance(mail_options(text), MailOptions | Reply)
    assert isinstance(rcpt_options(text), RcptOptions | Reply)
