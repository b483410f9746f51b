"""Who hears of an alert: the operator of all, a domain's contact outside of the domain's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.address import AddressError, parse
from pipeline.alerts.notices import CONTACT, HOOK, MAIL, Way
from pipeline.directory import Domain
from pipeline.settings import Settings


def ways(settings: Settings, domain: str, home: Callable[[str], Domain | None]) -> tuple[Way, ...]:
    """`domain` is empty for what concerns all."""
    return tuple(dict.fromkeys([*_operators(settings), *_contacts(domain, home)]))


def _operators(settings: Settings) -> Iterator[Way]:
    for text in settings.alert_mail:
        if address := normal(text):
            yield Way(MAIL, address)
    if settings.alert_webhook:
        yield Way(HOOK)


def _contacts(domain: str, home: Callable[[str], Domain | None]) -> Iterator[Way]:
    found = home(domain) if domain else None
    address = normal(found.contact_outside) if found is not None else ""
    # A contact that a parent lends may be inside of this domain: then it is of no use.
    if found is not None and address and address.rpartition("@")[2] != domain:
        yield Way(CONTACT, address, found.language or "en")


def normal(text: str) -> str:
    """An address with its domain in A-labels; empty when it is none."""
    try:
        return str(parse(text)) if text else ""
    except AddressError:
        return ""
