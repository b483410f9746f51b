"""How a route's servers are spoken to: the options for it, as JSON, and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

if TYPE_CHECKING:
    from cli.options import Common
    from pipeline.directory import RouteOptions

NONE: Final = "none"
"""What takes a value away again."""


@Parameter(name="*")
@dataclass(frozen=True)
class WayOptions:
    """How the servers of the route are spoken to."""

    tls: Annotated[
        str,
        Parameter(
            help="Encryption to its servers: never, offered (when they offer it; the default), always, or verified (always, and the certificate is checked)."
        ),
    ] = ""
    ca_file: Annotated[str, Parameter(help="PEM file with the authorities that count for --tls verified.")] = ""
    dane: Annotated[
        bool | None,
        Parameter(negative="--no-dane", help="Follow its servers' TLSA records; needs the setting trust_resolver_ad."),
    ] = None
    auth_user: Annotated[str, Parameter(help="Log in at its servers as this user.")] = ""
    auth_secret_file: Annotated[str, Parameter(help="File with the password, on one line.")] = ""
    auth_secret_env: Annotated[
        str, Parameter(help="Environment variable with the password, where the gateway is started.")
    ] = ""
    auth_in_clear: Annotated[
        bool | None,
        Parameter(negative="--no-auth-in-clear", help="Allow to send the password without encryption."),
    ] = None
    ehlo: Annotated[str, Parameter(help="Our name in EHLO to its servers.")] = ""
    client: Annotated[
        str, Parameter(help="Tell its servers who sent a message, where they offer it: xclient or xforward.")
    ] = ""
    source: Annotated[
        tuple[str, ...],
        Parameter(
            help="Our address to forward from, of the setting source_addresses; repeat it, the preferred one first."
        ),
    ] = ()

    def said(self, common: Common) -> dict[str, Any]:
        """The fields of RouteOptions that were said, with their values. Raises ConfigurationError."""
        fields: dict[str, Any] = {}
        for name, read in _READ.items():
            if text := getattr(self, name):
                fields[name] = read(text)
        for name in ("dane", "auth_in_clear"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.auth_user == NONE:
            fields = {**dict.fromkeys(("auth_secret_file", "auth_secret_env"), ""), "auth_in_clear": False, **fields}
        for name, other in (("auth_secret_file", "auth_secret_env"), ("auth_secret_env", "auth_secret_file")):
            if fields.get(name):
                fields.setdefault(other, "")  # the password is somewhere else now
        if self.source:
            fields["sources"] = () if self.source == (NONE,) else tuple(dict.fromkeys(self.source))
            _check_sources(fields["sources"], common)
        return fields


NOTHING_OF_THE_WAY: Final = WayOptions()


def _tls(text: str) -> Any:
    from pipeline.directory.options import Tls
    from pipeline.faults import ConfigurationError

    try:
        return Tls.OFFERED if text == NONE else Tls(text)
    except ValueError:
        raise ConfigurationError(f"--tls {text!a}", remedy=f"One of {', '.join(Tls)}.") from None


def _client(text: str) -> Any:
    from pipeline.directory.options import ClientCommand
    from pipeline.faults import ConfigurationError

    try:
        return None if text == NONE else ClientCommand(text)
    except ValueError:
        raise ConfigurationError(f"--client {text!a}", remedy="One of xclient, xforward, none.") from None


def _file(text: str) -> str:
    """Absolute: the gateway works in another directory."""
    from pathlib import Path

    return "" if text == NONE else str(Path(text).expanduser().absolute())


def _authorities(text: str) -> str:
    """Raises ConfigurationError when the file holds no certificates."""
    from pipeline.sources.dialling import context

    file = _file(text)
    if file:
        context(file, verify=True)
    return file


def _text(text: str) -> str:
    return "" if text == NONE else text


_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "tls": _tls,
    "ca_file": _authorities,
    "auth_user": _text,
    "auth_secret_file": _file,
    "auth_secret_env": _text,
    "ehlo": _text,
    "client": _client,
}


def _check_sources(sources: tuple[str, ...], common: Common) -> None:
    from pipeline.faults import ConfigurationError

    known = [source.address for source in common.settings().source_addresses]
    unknown = [source for source in sources if source not in known]
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!a} is not in the setting source_addresses",
            remedy=f"There are: {', '.join(known)}." if known else "Put our addresses there first.",
        )


def way_form(options: RouteOptions | None) -> dict[str, Any]:
    """JSON of a route's options; where the password is, and never the password."""
    from pipeline.directory.options import PLAIN

    options = options or PLAIN
    return {
        "tls": str(options.tls),
        "ca_file": options.ca_file,
        "dane": options.dane,
        "auth_user": options.auth_user,
        "auth_secret_file": options.auth_secret_file,
        "auth_secret_env": options.auth_secret_env,
        "auth_in_clear": options.auth_in_clear,
        "ehlo": options.ehlo,
        "client": str(options.client or ""),
        "sources": list(options.sources),
    }


def way_line(options: RouteOptions) -> str:
    """What is otherwise than it always is, on one line."""
    from cli.render import clean

    usual = way_form(None)
    changed = {name: value for name, value in way_form(options).items() if value != usual[name]}
    return ", ".join(f"{name} {clean(_written(value))}" for name, value in changed.items())


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def way_facts(options: RouteOptions | None) -> list[tuple[str, str]]:
    """Rows for `domain show`; those that are as they always are stay empty, and are left out there."""
    from cli.render import clean
    from pipeline.directory.options import PLAIN, Tls

    options = options or PLAIN
    tls = {
        Tls.NEVER: "never",
        Tls.OFFERED: "when it is offered" if options != PLAIN else "",
        Tls.ALWAYS: "always, with any certificate",
        Tls.VERIFIED: f"always, with a certificate that {clean(options.ca_file) or 'the system'} vouches for",
    }[options.tls]
    secret = clean(options.auth_secret_file or options.auth_secret_env)
    clear = ", even in the clear" if options.auth_in_clear else ""
    return [
        ("encrypted", tls),
        ("DANE", "" if options.dane else "TLSA records are not looked at"),
        (
            "logs in as",
            f"{clean(options.auth_user)}, with the password in {secret}{clear}" if options.auth_user else "",
        ),
        ("our name there", options.ehlo),
        ("tells the client", f"with {options.client.upper()}, where it is offered" if options.client else ""),
        ("sends from", ", then ".join(options.sources)),
    ]
