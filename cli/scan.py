"""`gatepost scan`: a message in a file, looked at as the scanner does, without storing anything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from pipeline.scanning.engine import Mail
    from pipeline.scanning.policy import Verdict
    from pipeline.state import Message
    from workers.wiring import Wiring

ANYBODY = "anybody@example.invalid"
"""The recipient when none is named: the settings hold for it, and the operator's lists."""
NOWHERE = "redis://127.0.0.1:1/0"
"""Of a store that is never asked."""


async def scan(
    file: Annotated[str, Parameter(help="The message, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    domain: Annotated[str, Parameter(help="Whose policy and lists hold: a domain of this gateway.")] = "",
    recipient: Annotated[tuple[str, ...], Parameter(help="Who gets it; repeat it for more, all of one domain.")] = (),
    sender: Annotated[str, Parameter(help="The envelope's sender; otherwise Return-Path, or From.")] = "",
    client: Annotated[str, Parameter(help="IP address of who handed it in; without it SPF cannot be checked.")] = "",
    helo: Annotated[str, Parameter(help="What the client called itself.")] = "",
    dns: Annotated[bool, Parameter(negative="--no-dns", help="Ask the DNS: SPF, DKIM, DMARC, lists.")] = True,
    common: Common = DEFAULT,
) -> int:
    """What is found in a message, and what would happen to it; nothing is stored.

    Every test with its score and why, what SPF, DKIM and DMARC say, and the
    decision for each recipient. No gateway need run; where there is one, or its
    data, its policies, lists and what it has learnt count. The exit code is 0 when
    it would be delivered to all, 1 when it would not.

    For example:

      gatepost scan suspicious.eml
      gatepost scan suspicious.eml --client 192.0.2.7 --helo mail.example.org
      gatepost scan - --recipient anna@example.com --json < message.eml
    """
    from cli.render import Screen, document
    from pipeline import country
    from pipeline.scanning import policy
    from workers.scanning import close, engines, examine, resolver, views_of

    content = _content(file, int(common.settings().max_message_size))
    message = _message(content, recipient, domain, sender, client, helo)
    async with _wired(common, dns=dns) as (wiring, stored):
        home = wiring.directory.home(message.domain)
        names = resolver(wiring.settings)
        looking = engines(wiring, names, stored=stored)
        asked: Any = names if dns else Silence()
        try:
            mail, report = await examine(wiring, looking, asked, message, content)
        finally:
            close(looking)
        where = mail.message.client.address if mail.message.client is not None else ""
        land = country.in_force(wiring.settings.country_table).of(where) if where else ""
        views = await views_of(wiring, mail, land) if stored else None
        verdict = policy.judge(report, message, wiring.settings, views)
    passes = all(action.action in ("deliver", "tag") for action in verdict.actions)
    if common.json:
        document({**_form(file, message, mail, verdict, land), "missing": list(report.missing)})
        return 0 if passes else 1
    screen = Screen()
    _print(screen, file, message, mail, verdict, land)
    if report.missing:
        screen.say()
        screen.say((f"did not look at it: {', '.join(report.missing)}", "yellow"), "; see `gatepost engines`")
    if domain and home is None:
        screen.say()
        screen.say((f"{message.domain} is not a domain of this gateway: the settings hold", "yellow"))
    return 0 if passes else 1


def _content(file: str, most: int) -> bytes:
    """With CRLF, as it would come over the wire. Raises ConfigurationError."""
    from cli.files import content_of

    data = content_of(file, most)
    if data.startswith(b"From "):
        data = data.partition(b"\n")[2]  # the line that an mbox puts on top
    if b"\r\n" not in data[: 64 << 10]:
        data = data.replace(b"\n", b"\r\n")
    return data


def _message(content: bytes, recipients: Sequence[str], domain: str, sender: str, client: str, helo: str) -> Message:
    """As if it had just come in. Raises ConfigurationError."""
    import time

    from cli.names import domain_of
    from pipeline.address import AddressError, parse, reverse_path
    from pipeline.events import Client
    from pipeline.faults import ConfigurationError
    from pipeline.ids import new_id
    from pipeline.mime import Header
    from pipeline.state import Message, Recipient, Stage

    wanted = domain_of(domain) if domain else ""
    try:
        people = [str(parse(text)) for text in recipients] or [f"anybody@{wanted}" if wanted else ANYBODY]
        if sender:
            sender = reverse_path(sender if sender.startswith("<") else f"<{sender}>")[0]
    except AddressError as error:
        raise ConfigurationError(f"{', '.join((*recipients, sender))}: {error}") from None
    domains = {address.rpartition("@")[2] for address in people} | ({wanted} if wanted else set())
    if len(domains) > 1:
        raise ConfigurationError(
            f"recipients of several domains: {', '.join(sorted(domains))}", remedy="Scan it once for each domain."
        )
    header = Header(content)
    if not sender:
        with contextlib.suppress(AddressError):
            sender = reverse_path(header.value(b"return-path").decode("utf-8", "replace").strip() or "<>")[0]
        sender = sender or next((author.address for author in header.authors if "@" in author.address), "")
    _check_client(client)
    now = time.time_ns()
    return Message(
        id=new_id(now, 0), version=1, domain=domains.pop(), sender=sender, size=len(content), received_at=now, expires=now,
        recipients=tuple([Recipient(address=address, stage=Stage.RECEIVED) for address in people]),
        client=Client(address=client, helo=helo),
    )  # fmt: skip


def _check_client(client: str) -> None:
    import ipaddress

    from pipeline.faults import ConfigurationError

    if client:
        try:
            ipaddress.ip_address(client)
        except ValueError:
            raise ConfigurationError(f"--client {client} is no IP address") from None


class Silence:
    """A DNS that gives no answer."""

    async def a(self, name: str) -> tuple[str, ...]:
        raise _unasked(name)

    async def aaaa(self, name: str) -> tuple[str, ...]:
        raise _unasked(name)

    async def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        raise _unasked(name)

    async def txt(self, name: str) -> tuple[bytes, ...]:
        raise _unasked(name)

    async def cname(self, name: str) -> tuple[str, ...]:
        raise _unasked(name)

    async def ptr(self, address: str) -> tuple[str, ...]:
        raise _unasked(address)

    def expect(self, name: str, kind: str) -> None:
        """Nothing comes."""


def _unasked(name: str) -> Exception:
    from pipeline.resolver import LookupFailed

    return LookupFailed(f"the DNS is not asked about {name}", permanent=False)


@contextlib.asynccontextmanager
async def _wired(common: Common, *, dns: bool) -> AsyncIterator[tuple[Wiring, bool]]:
    """What the scanner works with, and whether there is a store behind it."""
    import tempfile

    import msgspec

    from cli.session import session
    from pipeline.faults import NotFoundError
    from pipeline.store import Store, open_client
    from workers.wiring import Wiring

    def quiet(wiring: Wiring) -> Wiring:
        if not dns:
            wiring.settings = msgspec.structs.replace(wiring.settings, address_lists=(), domain_lists=())
        return wiring

    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(session(common))
        except NotFoundError:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatepost-scan-")))
            settings = msgspec.structs.replace(common.settings(), data=data, arc_domain="", arc_key="")
            redis = open_client(NOWHERE)
            stack.push_async_callback(redis.aclose)
            yield quiet(Wiring(settings, Store(redis, NOWHERE, settings.partitions))), False
        else:
            await opened.wiring.directory.refresh()
            yield quiet(opened.wiring), True


def _print(screen: Any, file: str, message: Message, mail: Mail, verdict: Verdict, land: str) -> None:
    from cli.render import age, clean, size
    from cli.verdicts import authentication, tell
    from cli.words import path

    screen.heading(clean(file if file != "-" else "standard input"))
    screen.facts([
        ("from", path(message.sender)),
        ("author", clean(mail.header.from_[:500])),
        ("subject", clean(mail.header.subject[:500])),
        ("size", size(message.size)),
        ("client", clean(mail.message.client.address) if mail.message.client else ""),
        ("country", land),
        ("authentication", authentication(mail.authentication.results)),
        ("engines", clean(", ".join(verdict.engines)) + f", in {age(verdict.took)}"),
    ])  # fmt: skip
    tell(screen, verdict.findings, verdict.decisions, verdict.verdict, verdict.score)


def _form(file: str, message: Message, mail: Mail, verdict: Verdict, land: str) -> dict[str, Any]:
    from cli.verdicts import authentication_forms, decision_forms, finding_forms

    return {
        "file": file,
        "sender": message.sender,
        "from": mail.header.from_,
        "subject": mail.header.subject,
        "client": mail.message.client.address if mail.message.client else "",
        "country": land,
        "authentication": authentication_forms(mail.authentication.results),
        "verdict": verdict.verdict,
        "score": verdict.score,
        "findings": finding_forms(verdict.findings),
        "decisions": decision_forms(verdict.decisions),
        "engines": list(verdict.engines),
        "seconds": verdict.took / 1e9,
    }
