"""What can be said of a domain, the same when it is added and when it is changed; and how that becomes a Domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.domain.way import NONE, NOTHING_OF_THE_WAY, WayOptions, way_form

if TYPE_CHECKING:
    from cli.options import Common
    from pipeline.directory import Domain


@Parameter(name="*")
@dataclass(frozen=True)
class DomainOptions:
    route: Annotated[
        tuple[str, ...],
        Parameter(
            help="HOST:PORT of the customer's server, or mx:NAME; repeat it for more, the preferred one first, or each with a priority: '10 HOST:PORT', with a weight '10/5 HOST:PORT'."
        ),
    ] = ()
    parent: Annotated[str, Parameter(help="The domain above it, from which it takes what it has not.")] = ""
    alias_of: Annotated[
        str, Parameter(help="The domain whose mailboxes its mail is for; then it has none of its own.")
    ] = ""
    catch_all: Annotated[
        bool | None, Parameter(negative="--no-catch-all", help="Accept mail for every address of the domain.")
    ] = None
    delimiter: Annotated[
        str,
        Parameter(
            help="Accept name+detail where name is listed; say which character: + - _ = .", allow_leading_hyphen=True
        ),
    ] = ""
    greylist: Annotated[bool | None, Parameter(negative="--no-greylist", help="Let suspicious clients come twice.")] = (
        None
    )
    smtputf8: Annotated[
        str, Parameter(help="Whether its servers take SMTPUTF8: yes, no, or auto (as they say themselves).")
    ] = ""
    engines_missing: Annotated[
        str,
        Parameter(
            help="What happens to a message that ClamAV, Rspamd or SpamAssassin should have looked at and did not: pass, wait, quarantine, or default (as the settings say)."
        ),
    ] = ""
    max_size: Annotated[str, Parameter(help="The largest message, such as 20MiB.")] = ""
    max_recipients: Annotated[int | None, Parameter(help="Recipients of one message.")] = None
    retry_interval: Annotated[str, Parameter(help="How long to wait after a failed attempt, such as 5m.")] = ""
    queue_lifetime: Annotated[
        str, Parameter(help="How long its mail is held before it is returned to the sender, such as 3d.")
    ] = ""
    quarantine_retention: Annotated[
        str, Parameter(help="How long its mail is kept in quarantine from now on, such as 14d.")
    ] = ""
    alert_waiting: Annotated[
        str,
        Parameter(
            help="An alert when more messages wait for it, such as 200; never, or default (as the settings say)."
        ),
    ] = ""
    alert_oldest: Annotated[
        str, Parameter(help="An alert when one waits longer, such as 30m; never, or default (as the settings say).")
    ] = ""
    timezone: Annotated[str, Parameter(help="For times that its postmaster sees, such as Europe/Berlin.")] = ""
    language: Annotated[str, Parameter(help="For what its postmaster and its people read: en or de.")] = ""
    contact: Annotated[str, Parameter(help="Its postmaster's address.")] = ""
    contact_outside: Annotated[
        str, Parameter(help="An address outside the domain, for the day on which its own mail does not work.")
    ] = ""
    trusted_relay: Annotated[
        tuple[str, ...],
        Parameter(
            help="An address or network of a server that hands us others' mail, such as a filter in front of us; repeat it for more."
        ),
    ] = ()
    protect_name: Annotated[
        tuple[str, ...],
        Parameter(
            help="Name of one of its people in which nobody from outside may write; repeat it for more, all of them each time. `none`: nobody."
        ),
    ] = ()
    way: WayOptions = NOTHING_OF_THE_WAY

    def said(self, common: Common) -> dict[str, Any]:
        """The fields of a Domain that were said, with their values; `route_options` holds the fields of those that were said.

        `applied` puts them into a domain. Raises ConfigurationError, RefusedError (a route that may not be).
        """
        fields: dict[str, Any] = {}
        if self.route:
            fields["route"] = _routes(self.route, common)
        way = self.way.said(common)
        fields |= {"route_options": way} if way else {}
        for name in ("parent", "alias_of"):
            if text := getattr(self, name):
                fields[name] = "" if text == NONE else _domain(text)
        for name in ("catch_all", "greylist", "max_recipients"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        for name in ("delimiter", "timezone", "language", "contact", "contact_outside"):
            if text := getattr(self, name):
                fields[name] = "" if text == NONE else text
        if self.max_size:
            fields["max_message_size"] = _size(self.max_size)
        return fields | self._alerts() | self._words() | self._relays() | self._names() | self._durations()

    def _alerts(self) -> dict[str, int]:
        fields = {}
        if self.alert_waiting:
            fields["alert_waiting"] = _alert_limit("alert_waiting", self.alert_waiting, _number)
        if self.alert_oldest:
            fields["alert_oldest"] = _alert_limit("alert_oldest", self.alert_oldest, _duration)
        return fields

    def _words(self) -> dict[str, str]:
        fields = {}
        for name, default in (("smtputf8", "auto"), ("engines_missing", "default")):
            if text := getattr(self, name):
                fields[name] = "" if text in (default, NONE) else text
        return fields

    def _relays(self) -> dict[str, tuple[str, ...]]:
        if not self.trusted_relay:
            return {}
        return {"trusted_relays": () if self.trusted_relay == (NONE,) else tuple(dict.fromkeys(self.trusted_relay))}

    def _names(self) -> dict[str, tuple[str, ...]]:
        if not self.protect_name:
            return {}
        return {"protected_names": () if self.protect_name == (NONE,) else self.protect_name}

    def _durations(self) -> dict[str, int]:
        names = [name for name in ("retry_interval", "queue_lifetime", "quarantine_retention") if getattr(self, name)]
        return {name: _duration(name, getattr(self, name)) for name in names}


def applied(domain: Domain, said: dict[str, Any]) -> Domain:
    """`domain` with what was said of it. The options of a route go with it: one that is taken away leaves none."""
    import msgspec

    from pipeline.directory.options import PLAIN

    changes = dict(said)
    before = domain.route_options or PLAIN
    if changes.get("route") == () and "route_options" not in changes:
        before = PLAIN
    after = msgspec.structs.replace(before, **changes.pop("route_options", {}))
    return msgspec.structs.replace(domain, **changes, route_options=None if after == PLAIN else after)


def _domain(text: str) -> str:
    from cli.names import domain_of

    return domain_of(text)


def _routes(texts: tuple[str, ...], common: Common) -> tuple[str, ...]:
    from pipeline.route import check_routes

    return () if texts == (NONE,) else check_routes(texts, common.settings().allow_networks)


def _size(text: str) -> int:
    from pipeline.faults import ConfigurationError
    from pipeline.units import Size

    try:
        return 0 if text == NONE else int(Size.parse(text))
    except ValueError as error:
        raise ConfigurationError(f"--max-size {text}: {error}") from None


def _duration(name: str, text: str) -> int:
    from pipeline.faults import ConfigurationError
    from pipeline.units import Duration

    try:
        return 0 if text == NONE else int(Duration.parse(text))
    except ValueError as error:
        raise ConfigurationError(f"--{name.replace('_', '-')} {text}: {error}") from None


def _alert_limit(name: str, text: str, parsed: Callable[[str, str], int]) -> int:
    from pipeline.alerts.model import NEVER

    if text in (NONE, "default"):
        return 0
    return NEVER if text in ("never", "0") else parsed(name, text)


def _number(name: str, text: str) -> int:
    from pipeline.faults import ConfigurationError

    if not text.isdecimal() or len(text) > 9:
        raise ConfigurationError(f"--{name.replace('_', '-')} {text}: expected a number")
    return int(text)


def domain_form(domain: Domain, listed: int) -> dict[str, Any]:
    """JSON of a domain, as it was set: what it takes from its parents is in `effective` of `domain show`."""
    from cli.render import rfc3339

    hold = domain.hold
    return {
        "domain": domain.name,
        "route": list(domain.route),
        "route_options": way_form(domain.route_options),
        "catch_all": domain.catch_all,
        "addresses": listed,
        "created_at": rfc3339(domain.created_at),
        "alias_of": domain.alias_of,
        "parent": domain.parent,
        "former_mx": list(domain.former_mx),
        "hold": {"since": rfc3339(hold.since), "reason": hold.reason, "by": hold.by, "until": rfc3339(hold.until)}
        if hold
        else None,
        "delimiter": domain.delimiter,
        "greylist": domain.greylist,
        "smtputf8": domain.smtputf8 or "auto",
        "engines_missing": domain.engines_missing or "default",
        "max_message_size": domain.max_message_size,
        "max_recipients": domain.max_recipients,
        "retry_interval": domain.retry_interval / 1e9,
        "queue_lifetime": domain.queue_lifetime / 1e9,
        "quarantine_retention": domain.quarantine_retention / 1e9,
        "alert_waiting": domain.alert_waiting,
        "alert_oldest": domain.alert_oldest / 1e9 if domain.alert_oldest > 0 else domain.alert_oldest,
        "timezone": domain.timezone,
        "language": domain.language,
        "contact": domain.contact,
        "contact_outside": domain.contact_outside,
        "trusted_relays": list(domain.trusted_relays),
        "protected_names": list(domain.protected_names),
        "reports": [one.name for one in domain.reports],
    }
