"""`sync add`: one command for each kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from pipeline.sources.definitions import Definition

app = noun(
    "add",
    """Set up a source of addresses, or change one of the same name.

The first run comes at once if it has a schedule (--every), else with
`gatepost sync run NAME`. Look at what it would do first: `gatepost sync preview NAME`.

Secrets are never given on the command line, where every user of the machine
could see them: name a file that holds it, or an environment variable of the
gateway's.

For example:

  gatepost sync add ldap office --server ldaps://dc1.example.com --profile active-directory \\
      --base dc=example,dc=com --bind-dn sync@example.com --secret-file /etc/gatepost/office --every 1h
  gatepost sync add cpanel hosting --url https://host.example.com:2083 --user acct --secret-file /etc/gatepost/cpanel
  gatepost sync add csv staff --url https://intranet.example.com/staff.csv --every 1d
""",
)

NAME = Parameter(help="A name for it: small letters, digits, and . _ - between them.")


@Parameter(name="*")
@dataclass(frozen=True)
class Terms:
    """What may be done with what a source lists."""

    every: Annotated[str, Parameter(help="How often it runs, such as 15m, 1h, 1d; left out: only by hand.")] = ""
    domain: Annotated[
        tuple[str, ...],
        Parameter(help="Take only addresses of this domain; repeat it for more. Left out: of all that are here."),
    ] = ()
    limit: Annotated[
        int,
        Parameter(help="Percent of its addresses that a run may take away without being asked; also of each domain."),
    ] = 10
    grace: Annotated[str, Parameter(help="How long an address that is not listed any more is still accepted.")] = "7d"


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """How to come by the secret, and whom to trust."""

    secret_file: Annotated[str, Parameter(help="File with the password or token, on one line.")] = ""
    secret_env: Annotated[str, Parameter(help="Environment variable with it, where the gateway is started.")] = ""
    ca_file: Annotated[str, Parameter(help="PEM file with the authorities to trust; left out: the system's.")] = ""
    verify: Annotated[bool, Parameter(negative="--no-verify", help="Check the server's certificate.")] = True
    time_limit: Annotated[str, Parameter(help="Time for one run.")] = "10m"


TERMS = Terms()
ACCESS = Access()


@app.command
async def ldap(
    name: Annotated[str, NAME],
    /,
    *,
    server: Annotated[
        tuple[str, ...],
        Parameter(help="ldap://HOST[:PORT] or ldaps://HOST[:PORT]; repeat it for more, tried in this order."),
    ],
    base: Annotated[str, Parameter(help="Where to search, such as dc=example,dc=com.")],
    profile: Annotated[
        str, Parameter(help="active-directory, openldap, domino, zimbra or generic: what is kept where.")
    ] = "generic",
    bind_dn: Annotated[str, Parameter(help="Who asks; left out: nobody in particular (anonymous).")] = "",
    filter_: Annotated[str, Parameter(name="--filter", help="Only entries that this LDAP filter matches.")] = "",
    attribute: Annotated[
        tuple[str, ...], Parameter(help="A further attribute with addresses of mailboxes; repeat it for more.")
    ] = (),
    default_domain: Annotated[str, Parameter(help="For values without a domain.")] = "",
    starttls: Annotated[bool, Parameter(negative="--no-starttls", help="Encrypt ldap:// connections.")] = True,
    page: Annotated[int, Parameter(help="Entries asked for at a time.")] = 500,
    access: Access = ACCESS,
    terms: Terms = TERMS,
    common: Common = DEFAULT,
) -> int:
    r"""An LDAP directory: Active Directory, OpenLDAP, IBM Domino, Zimbra, or another.

    For example:

      gatepost sync add ldap office --server ldaps://dc1.example.com --profile active-directory \
          --base dc=example,dc=com --bind-dn sync@example.com --secret-file /etc/gatepost/office --every 1h
      gatepost sync add ldap people --server ldap://ldap.example.org --profile openldap --base ou=people,dc=example,dc=org
      gatepost sync add ldap other --server ldaps://ldap.example.net --base o=example --filter '(active=TRUE)' --attribute otherMail
    """
    from pipeline.sources.definitions import LdapSource

    return await _add(
        name,
        LdapSource(
            servers=server, base=base, profile=profile, bind_dn=bind_dn, filter=filter_, more=attribute,
            domain=default_domain, starttls=starttls, page=page, **_said(access),
        ),
        terms,
        common,
    )  # fmt: skip


@app.command
async def cpanel(
    name: Annotated[str, NAME],
    /,
    *,
    url: Annotated[str, Parameter(help="https://HOST:2083")],
    user: Annotated[str, Parameter(help="The cPanel account.")],
    mailing_lists: Annotated[
        bool, Parameter(negative="--no-mailing-lists", help="Ask for Mailman's lists too.")
    ] = True,
    plain: Annotated[bool, Parameter(help="Allow http:// to another machine.")] = False,
    access: Access = ACCESS,
    terms: Terms = TERMS,
    common: Common = DEFAULT,
) -> int:
    """A cPanel account: mailboxes, forwarders, lists and default addresses of all its domains.

    The secret is an API token (cPanel, Manage API Tokens), not the account's password.

    For example:

      gatepost sync add cpanel hosting --url https://host.example.com:2083 --user acct --secret-file /etc/gatepost/cpanel --every 1h
    """
    from pipeline.sources.definitions import CpanelSource

    definition = CpanelSource(url=url, user=user, mailing_lists=mailing_lists, plain=plain, **_said(access))
    return await _add(name, definition, terms, common)


@app.command
async def csv(
    name: Annotated[str, NAME],
    /,
    *,
    file: Annotated[str, Parameter(help="A file of this machine.")] = "",
    url: Annotated[str, Parameter(help="http:// or https:// instead of a file.")] = "",
    user: Annotated[
        str, Parameter(help="For HTTP Basic, with a secret; a secret without a user is a bearer token.")
    ] = "",
    default_domain: Annotated[str, Parameter(help="For lines without a domain.")] = "",
    plain: Annotated[bool, Parameter(help="Allow to send the secret to http:// on another machine.")] = False,
    access: Access = ACCESS,
    terms: Terms = TERMS,
    common: Common = DEFAULT,
) -> int:
    """A list: one address on each line, or CSV with columns address, kind, targets.

    For example:

      gatepost sync add csv staff --file /srv/lists/staff.csv --every 15m
      gatepost sync add csv staff --url https://intranet.example.com/staff.csv --secret-file /etc/gatepost/token --every 1d
    """
    from pipeline.sources.definitions import CsvSource

    definition = CsvSource(
        path=_absolute(file), url=url, user=user, domain=default_domain, plain=plain, **_said(access)
    )
    return await _add(name, definition, terms, common)


def _said(access: Access) -> dict[str, Any]:
    from pipeline.units import Duration

    return {
        "secret_file": _absolute(access.secret_file),
        "secret_env": access.secret_env,
        "ca_file": _absolute(access.ca_file),
        "verify": access.verify,
        "time_limit": _parsed("--time-limit", access.time_limit, Duration).seconds,
    }


def _absolute(file: str) -> str:
    """The gateway's own process reads it, from another working directory."""
    from pathlib import Path

    return str(Path(file).expanduser().absolute()) if file else ""


def _parsed(option: str, text: str, kind: Any) -> Any:
    from pipeline.faults import ConfigurationError

    try:
        return kind.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from None


async def _add(name: str, definition: Definition, terms: Terms, common: Common) -> int:
    from cli.names import domain_of
    from cli.render import Screen, complain, document
    from cli.session import actor, session
    from cli.sync.common import sync_form, syncing
    from pipeline.sources.checking import warnings
    from pipeline.sources.opening import open_source
    from pipeline.syncing.model import Sync, check
    from pipeline.units import Duration

    sync = Sync(
        name=name,
        source=definition,
        every=int(_parsed("--every", terms.every, Duration)) if terms.every else 0,
        domains=tuple(domain_of(domain) for domain in terms.domain),
        limit=terms.limit,
        grace=int(_parsed("--grace", terms.grace, Duration)),
    )
    check(sync)
    # The file with the secret has to be readable now: better to hear of it here than at night.
    if not definition.secret_env:
        open_source(definition, allowed=common.settings().allow_networks)
    async with session(common, create=True) as opened:
        runs = syncing(opened)
        before = (await runs.memory.syncs()).get(name)
        from msgspec.structs import replace

        sync = replace(sync, created_at=before.created_at if before is not None else opened.now())
        await runs.set(sync, by=actor())
        state = await runs.memory.state(name)
    for warning in warnings(definition):
        complain(f"warning: {warning}")
    if common.json:
        document({**sync_form(sync, state, None), "changed": before is not None})
        return 0
    screen = Screen()
    screen.say((name, "bold"), " changed" if before is not None else " added")
    screen.say(f"  See what it would do: gatepost sync preview {name}")
    if not sync.every:
        screen.say(f"  It runs when you say so: gatepost sync run {name}")
    return 0
