"""The real message of a delivery test: anybody who meets it sees what it is, and no program answers it. Pure."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from typing import Final

from pipeline.probing.model import TEST_FIELD, Plan

SUBJECT: Final = "Gatepost delivery test"
_BODY: Final = """\
This is a test message. The mail gateway that forwards the mail of
{domain} sent it to see whether mail arrives here.
You can delete it. Test: {id}

Dies ist eine Testnachricht. Das Mail-Gateway, das die Mail fuer
{domain} weiterleitet, prueft damit, ob Mail hier ankommt.
Sie koennen sie loeschen. Test: {id}
"""


def subject(plan: Plan) -> str:
    return f"{SUBJECT} {plan.send}"


def compose(plan: Plan, now: int) -> bytes:
    """RFC 5322, CRLF, without the final dot; `now` is ns since 1970. No line of it begins with a dot.

    Plain ASCII, unless the recipient's own address is not: such a one is only sent with SMTPUTF8 (RFC 6531).
    """
    date = format_datetime(dt.datetime.fromtimestamp(now // 1_000_000_000, dt.UTC))
    header = [
        f"From: Gatepost <{plan.sender}>",
        f"To: <{plan.known}>",
        f"Subject: {subject(plan)}",
        f"Date: {date}",
        f"Message-ID: <gatepost-test.{plan.send}@{plan.hostname}>",
        "Auto-Submitted: auto-generated",  # RFC 3834: nobody's holiday note answers it
        f"{TEST_FIELD}: {plan.send}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
    ]
    body = _BODY.format(domain=plan.domain, id=plan.send).splitlines()
    return "\r\n".join([*header, "", *body, ""]).encode("utf-8")
