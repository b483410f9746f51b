"""What somebody who types `gatepost trace` looks for, in their words or guessed from the form of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.period import Period
    from cli.session import Session
    from projections.readers.past.finding import Query


async def asked(opened: Session, what: str, given: dict[str, str], period: Period) -> list[Query]:
    """One query, or where the form of a word leaves open what it is one for each. Raises ConfigurationError, NotFoundError."""
    from pipeline.faults import ConfigurationError, NotFoundError
    from projections.readers.past.finding import Query

    first, last = period.bounds(opened.now())
    fields = {name: value.strip() for name, value in given.items()}
    if fields["client"]:
        fields["client"] = _ip(fields["client"]) or fields["client"]
    if fields["domain"]:
        fields["domain"] = await _home(opened, fields["domain"])
    if fields["recipient"].startswith("@"):
        raise ConfigurationError(
            "--recipient is one address", remedy=f"Write --domain {fields['recipient'][1:]} for all of a domain."
        )
    guesses = await _guesses(opened, what.strip()) if what.strip() else [("", "")]
    made = []
    for name, value in guesses:
        if name and fields[name]:
            raise ConfigurationError(f"{what!a} may be the {name}, of which another is given", remedy="Leave one out.")
        made.append(Query(**{**fields, **({name: value} if name else {})}, start=first, end=last + 1))
    if made == [Query(start=first, end=last + 1)] and not period.given:
        raise NotFoundError(
            "say what is looked for", remedy="An id, an address, --subject, ...; see gatepost trace --help."
        )
    return made


async def _guesses(opened: Session, what: str) -> list[tuple[str, str]]:
    """What it may be that somebody typed without saying so: (field of the query, value). Raises NotFoundError."""
    from pipeline.address import AddressError, domain_name
    from pipeline.faults import NotFoundError
    from pipeline.ids import LENGTH, is_id

    if what == "<>" or what.startswith("@"):
        return [("sender", what)]
    if is_id(what.lower()) or (what.startswith("<") and what.endswith(">")):
        return [("message_id", what)]
    if _ip(what):
        return [("client", _ip(what))]
    if any(letter.isspace() for letter in what):
        return [("subject", what)]
    if "@" in what:
        return [("message_id", what), ("recipient", what), ("sender", what)]
    try:
        name = domain_name(what.rstrip("."))
    except AddressError:
        name = ""
    if "." not in name:
        raise NotFoundError(
            f"{what} is no message id",
            remedy=f"An id has {LENGTH} characters, such as 1nx9s4tkh2v6c8jq0d7w03. A word of the subject: --subject.",
        )
    home = await opened.wiring.directory.find_home(name)
    return [("domain", home.name)] if home is not None else [("sender", "@" + name), ("server", name)]


def _ip(text: str) -> str:
    """An IP address as it is written down; empty when it is none."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return ""


async def _home(opened: Session, text: str) -> str:
    """The domain that mail for a name belongs to."""
    from cli.names import domain_of

    name = domain_of(text)
    home = await opened.wiring.directory.find_home(name)
    return home.name if home is not None else name
