"""Visits as a test sees them: the usual good one, and what is different in it."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.outcome import parse_reply
from pipeline.probing.model import Answer, Certificate, Lookup, Name, Plan, Report, Step, Tls, Visit

DAY = 86400 * 1_000_000_000
NOW = 20_000 * DAY
PLAN = Plan(
    domain="example.test",
    route=("mail.example.test:25",),
    hostname="gateway.example",
    known="anna@example.test",
    random="gatepost-test-1@example.test",
    listed=True,
)
CERTIFICATE = Certificate(
    names=("mail.example.test",), issuer="CN=An Authority", not_before=NOW - DAY, not_after=NOW + 60 * DAY
)
TLS = Tls(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", certificate=CERTIFICATE)
EHLO = "250-mail.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 50000000"
USUAL = {
    Step.CONNECT: "",
    Step.GREETING: "220 mail.example.test ESMTP Postfix",
    Step.EHLO: EHLO,
    Step.STARTTLS: "220 2.0.0 go ahead",
    Step.MAIL: "250 2.1.0 ok",
    Step.KNOWN: "250 2.1.5 ok",
    Step.RANDOM: "550 5.1.1 no such user",
    Step.POSTMASTER: "250 2.1.5 ok",
    Step.RSET: "250 2.0.0 ok",
    Step.BOUNCE: "250 2.1.0 ok",
    Step.BOUNCE_RCPT: "250 2.1.5 ok",
    Step.QUIT: "221 2.0.0 bye",
}


def answer(step: Step, text: str, took: int = 1_000_000) -> Answer:
    """`text`: a reply, with CRLF between its lines; or, when it begins with no digit, why there is none."""
    if not text[:1].isdigit():
        return Answer(step, "", 0, "", text, took)
    reply = parse_reply([line.encode() for line in text.split("\r\n")])
    return Answer(step, "", reply.code, reply.enhanced, reply.text, took)


def visit(said: dict[Step, str | None] | None = None, **fields: Any) -> Visit:
    """The usual one; `said`: other answers, None where there is none."""
    texts = {**USUAL, **(said or {})}
    answers = tuple(answer(step, text) for step, text in texts.items() if text is not None)
    usual: dict[str, Any] = {"server": "mail.example.test:25", "host": "mail.example.test", "address": "192.0.2.1"}
    return Visit(**{**usual, "port": 25, "answers": answers, "tls": TLS, "complete": True, **fields})


def report(*visits: Visit, **fields: Any) -> Report:
    name = Name(server="mail.example.test:25", host="mail.example.test", addresses=("192.0.2.1",))
    usual: dict[str, Any] = {"plan": PLAN, "at": NOW, "lookup": Lookup(names=(name,)), "complete": True}
    return Report(**{**usual, "visits": visits, **fields})


def plan(**fields: Any) -> Plan:
    return msgspec.structs.replace(PLAN, **fields)


def tls(**fields: Any) -> Tls:
    """The usual TLS with another certificate, or something else of its own."""
    own = {name: fields.pop(name) for name in list(fields) if name in Tls.__struct_fields__}
    return msgspec.structs.replace(TLS, **{"certificate": msgspec.structs.replace(CERTIFICATE, **fields), **own})
