"""Messages kept as files, honest ones and others, with what the DNS said of their senders; and what the engines make of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.authentication import dkim, dmarc, spf
from pipeline.authentication.together import Authentication
from pipeline.directory.model import Address, Domain
from pipeline.events import AuthResult, Client, Finding
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Mail, Report
from pipeline.scanning.people import People
from pipeline.scanning.policy import Verdict, judge
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage
from tests.support.mail import NOW, OURS, crlf

SENDER: Final = "bounce@sender.example"
TESTS: Final = Path(__file__).parent.parent
DOMAIN: Final = Domain(name="mueller-bau.test", protected_names=("Thomas Müller",), contact="post@mueller-bau.test")
PEOPLE: Final = {
    local: Address(local=local) for local in ("anna.schmidt", "jonas.weber", "t.mueller", "info", "einkauf")
}
BRANDS: Final = (
    "Musterbank = musterbank.example",
    "Musterkasse = musterkasse.example musterkasse-*.example",
    "Musterpost, Muster Paketdienst = musterpost.example",
    "Signaturdienst = signaturdienst.example",
    "Beispielnetz, ~Netz = beispielnetz.example beispielnetz-mail.example",
)
"""Houses whose mail can be honest in a test: the real ones have real domains."""


class Case(NamedTuple):
    name: str
    path: Path
    auth: str
    find: Sequence[str]
    """What must be found, whatever else is."""
    verdict: str
    sender: str
    """Of the envelope."""


def cases(folder: str) -> list[Case]:
    """Of tests/phishing or tests/honest. Every file is in the table, and the other way round."""
    table: Mapping[str, Any] = tomllib.loads((TESTS / folder / "cases.toml").read_text("utf-8"))
    files = {path.stem for path in (TESTS / folder).glob("*.eml")}
    assert files == set(table), f"only a file, or only in the table: {sorted(files ^ set(table))}"
    return [
        Case(
            name,
            TESTS / folder / f"{name}.eml",
            row["auth"],
            tuple(row.get("find", ())),
            row.get("verdict", ""),
            row.get("sender", SENDER),
        )
        for name, row in sorted(table.items())
    ]


def authentication(text: str) -> Authentication:
    """`spf=pass a.example; dkim=pass a.example; dmarc=fail reject`: as a field would say it; empty: nothing was looked up."""
    said = [part.strip().partition("=") for part in text.split(";") if part.strip()]
    results = [(method, *value.partition(" ")[::2]) for method, _, value in said]
    return Authentication(
        results=tuple([AuthResult(method=method, result=result) for method, result, _ in results]),
        spf=next((spf.Result(result, domain) for method, result, domain in results if method == "spf"), None),  # type: ignore[arg-type]
        dkim=tuple(
            [
                dkim.Signature(result=result, domain=domain)
                for method, result, domain in results
                if method == "dkim" and domain
            ]
        ),
        dmarc=next(
            (dmarc.Result(result, "the.domain", "", policy) for method, result, policy in results if method == "dmarc"),
            None,
        ),  # type: ignore[arg-type]
    )


def mail(content: bytes, auth: str = "", *, sender: str = SENDER) -> Mail:
    message = Message(
        id="0k3x9v2qd7m1c0f5tz8a03", version=1, domain=DOMAIN.name, sender=sender, size=len(content),
        recipients=(Recipient(address="anna.schmidt@mueller-bau.test", stage=Stage.RECEIVED),), received_at=NOW, expires=NOW,
        client=Client(address="192.0.2.7", helo="mail.sender.example"),
    )  # fmt: skip
    return Mail(message, content, authentication(auth), DOMAIN)


async def rows(domain: str, wanted: Sequence[str]) -> Mapping[str, Address]:
    """The people of the domain, as Reading.rows gives them."""
    assert domain == DOMAIN.name
    return {local: PEOPLE[local] for local in wanted if local in PEOPLE}


async def found(case: Case, settings: Settings) -> tuple[Sequence[Finding], Verdict]:
    looked_at = mail(crlf(case.path.read_bytes()), case.auth, sender=case.sender)
    findings = [*BuiltIn(settings, OURS).look(looked_at), *await People(rows).scan(looked_at)]
    return findings, judge(Report(findings=tuple(findings)), looked_at.message, settings)
