"""The addresses of a cPanel account, asked over its UAPI: mailboxes, forwarders, mailing lists, default addresses.

All of it or nothing: if one question of one domain fails, the run fails. A mailbox whose incoming mail the account's owner has
suspended is left out, as cPanel would refuse its mail.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from pipeline.address import AddressError, domain_name, listed
from pipeline.pause import end
from pipeline.sources.definitions import CpanelSource
from pipeline.sources.faults import DeniedError, GarbledError, LimitedError, SlowError, shown
from pipeline.sources.model import LIMIT, Collector, Listing, Progress, Unchanged, silent
from pipeline.sources.secrets import Secret
from pipeline.sources.web import Web, opened_web
from pipeline.units import Network

MAX_ANSWER: Final = 64 << 20
"""Octets; a hundred thousand mailboxes have some 15 MiB."""
MAX_DOMAINS: Final = 5000
"""Of one account; each costs two questions."""
AT_ONCE: Final = 4
"""Questions under way: cPanel starts a process for each."""

LIST_SUFFIXES: Final = (
    "admin", "bounces", "confirm", "join", "leave", "owner", "request", "subscribe", "unsubscribe",
)  # fmt: skip
"""A list of Mailman's has these addresses too, with a hyphen before."""

T = TypeVar("T")


class _Domains(msgspec.Struct):
    main_domain: str | None = None
    addon_domains: list[str] = []
    parked_domains: list[str] = []
    sub_domains: list[str] = []


class _Mailbox(msgspec.Struct):
    email: str
    suspended_incoming: int | str | None = 0


class _Forwarder(msgspec.Struct):
    dest: str
    forward: str


class _Default(msgspec.Struct):
    domain: str
    defaultaddress: str


class _List(msgspec.Struct):
    list: str


class CpanelReader:
    """A source over one definition, which was checked. May be used again and again."""

    def __init__(
        self,
        definition: CpanelSource,
        secret: Secret,
        trust: ssl.SSLContext,
        allowed: Sequence[Network],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._definition = definition
        self._headers = {"Authorization": f"cpanel {definition.user}:{secret.reveal()}"}
        self._trust = trust
        self._allowed = allowed
        self._sleep = sleep

    async def fetch(
        self, *, marker: bytes = b"", progress: Progress = silent, limit: int = LIMIT
    ) -> Listing | Unchanged:
        """See `Source`. cPanel cannot say whether anything changed, so everything is read each time."""
        del marker
        definition = self._definition
        try:
            async with (
                asyncio.timeout(definition.time_limit),
                opened_web(self._trust, self._allowed, definition.timeout, self._sleep) as web,
            ):
                return await self._read(web, progress, limit)
        except TimeoutError:
            raise SlowError(
                f"the list was not complete within {definition.time_limit:g} s", remedy="Raise time_limit."
            ) from None

    async def _read(self, web: Web, progress: Progress, limit: int) -> Listing:
        collector = Collector(limit)
        domains = _names(await self._ask(web, "DomainInfo/list_domains", _Domains))
        for mailbox in await self._ask(web, "Email/list_pops", list[_Mailbox], skip_main="1"):
            if mailbox.suspended_incoming not in (1, "1"):
                collector.add(mailbox.email, "mailbox", reference="mailbox")
        progress(len(collector))
        at_once = asyncio.Semaphore(AT_ONCE)

        async def of(domain: str) -> tuple[list[_Forwarder], list[_Default]]:
            async with at_once:
                forwarders = await self._ask(web, "Email/list_forwarders", list[_Forwarder], domain=domain)
                user = self._definition.user
                defaults = await self._ask(web, "Email/list_default_address", list[_Default], domain=domain, user=user)
                return forwarders, defaults

        for forwarders, defaults in await _all([of(domain) for domain in domains]):
            _add_forwarders(forwarders, collector)
            for default in defaults:
                _add_default(default, collector)
            progress(len(collector))
        if self._definition.mailing_lists:
            for row in await self._lists(web):
                _add_list(row.list, collector)
        return collector.listing()

    async def _lists(self, web: Web) -> list[_List]:
        try:
            return await self._ask(web, "Email/list_lists", list[_List])
        except DeniedError as error:
            raise DeniedError(
                str(error), remedy="Set mailing_lists to false if this account cannot have mailing lists."
            ) from None

    async def _ask(self, web: Web, call: str, kind: type[T], **parameters: str) -> T:
        """The data of one call. Raises SourceError, also when cPanel says itself that it failed."""
        body = bytearray()
        query = f"?{urlencode(parameters)}" if parameters else ""
        url = f"{self._definition.url.rstrip('/')}/execute/{call}{query}"
        await web.get(url, self._headers, body.extend, MAX_ANSWER, self._definition.timeout)
        where = f"{call} of {shown(self._definition.url)}" + (
            f" for {parameters['domain']}" if "domain" in parameters else ""
        )
        try:
            answer: Any = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            if "result" in answer:  # as the documentation has it; servers send what is in it
                answer = msgspec.json.decode(answer["result"], type=dict[str, msgspec.Raw])
            status = msgspec.json.decode(answer.get("status", b"null"))
            if status not in (0, 1):
                raise _garbled(where)
            if status != 1:
                raise DeniedError(f"{where} failed: {_errors(answer)}", remedy="See what cPanel's own pages say.")
            return msgspec.json.decode(answer.get("data", b"null"), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _garbled(where) from None


def _garbled(where: str) -> GarbledError:
    return GarbledError(f"{where} gave an answer that is not cPanel's", remedy="Check the URL; port 2083 is cPanel's.")


def _errors(answer: Mapping[str, msgspec.Raw]) -> str:
    with contextlib.suppress(msgspec.DecodeError):
        words = msgspec.json.decode(answer.get("errors", b"null"), type=list[str] | None)
        return shown("; ".join(words[:5] if words else [])) or "no reason given"
    return "no reason given"


async def _all(questions: Sequence[Awaitable[T]]) -> list[T]:
    """The answers in order; the first failure ends the others."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(tasks)


def _names(found: _Domains) -> list[str]:
    """All domains of the account.

    cPanel gives blank answers, and no error, when it cannot read the account's file: that is not an account without domains.
    """
    if not found.main_domain:
        raise DeniedError(
            "cPanel does not say which domains the account has",
            remedy="Ask the host: its record of the account is unreadable.",
        )
    texts = [found.main_domain, *found.addon_domains, *found.parked_domains, *found.sub_domains]
    if len(texts) > MAX_DOMAINS:
        raise LimitedError(f"the account has more than {MAX_DOMAINS:,} domains")
    names: dict[str, None] = {}
    for text in texts:
        try:
            names[domain_name(text.removeprefix("*."))] = None
        except AddressError:
            raise GarbledError(f"cPanel names a domain that is none: {shown(text, 100)}") from None
    return list(names)


def _add_forwarders(forwarders: Sequence[_Forwarder], collector: Collector) -> None:
    """One address may have several rows. `:fail:` makes it none; to whatever else its mail goes, it is accepted."""
    targets: dict[str, dict[str, None]] = {}
    for row in forwarders:
        if not row.forward.strip().strip('"').lower().startswith(":fail:"):
            targets.setdefault(row.dest, {}).update(dict.fromkeys(_addresses(row.forward)))
    for address, some in targets.items():
        collector.add(address, "forwarder", tuple(some), reference="forwarder")


def _addresses(text: str) -> list[str]:
    found = []
    for word in text.split(",")[:1000]:
        with contextlib.suppress(AddressError):
            address = listed(word)
            found.append(f"{address.local}@{address.domain}")
    return found


def _add_default(row: _Default, collector: Collector) -> None:
    """Where a domain's mail for unlisted addresses goes, unless it is refused."""
    target = row.defaultaddress.strip().strip('"').strip()
    if target and not target.lower().startswith(":fail:"):
        collector.catch_all(row.domain, target)


def _add_list(address: str, collector: Collector) -> None:
    name = collector.add(address, "group", reference="mailing list")
    local, _, domain = name.rpartition("@")
    for suffix in LIST_SUFFIXES if name else ():
        collector.add(f"{local}-{suffix}@{domain}", "alias", (name,), reference="mailing list")
