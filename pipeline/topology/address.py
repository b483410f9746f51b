"""The address of a Redis: what the URL says, and the settings beside it.

A message about a wrong one never has a piece of it: whoever mistypes a URL may have put the password anywhere.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

import msgspec

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.sources import secrets
from pipeline.sources.secrets import Secret

ONE: Final = "one"
SENTINEL: Final = "sentinel"
CLUSTER: Final = "cluster"
_SCHEMES: Final = {
    "redis": ONE,
    "rediss": ONE,
    "unix": ONE,
    "redis+sentinel": SENTINEL,
    "rediss+sentinel": SENTINEL,
    "redis+cluster": CLUSTER,
    "rediss+cluster": CLUSTER,
}
_PORTS: Final = {SENTINEL: 26379, CLUSTER: 6379}
_HOST: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,255}))(?::(?P<port>\d{1,5}))?"
)
_PERCENT: Final = (
    "in a password write %2F for / and %40 for @, or put it into a file and name that in redis_password_file"
)
_HOW: Final = {
    ONE: f"Write it as redis://host:6379/0, rediss://host:6379/0 (TLS) or unix:///path/to.sock; {_PERCENT}.",
    SENTINEL: f"Write it as redis+sentinel://host1:26379,host2:26379/NAME, where NAME is the master's in the Sentinels' configuration; {_PERCENT}.",
    CLUSTER: f"Write it as redis+cluster://host1:6379,host2:6379, with some nodes of the Cluster; {_PERCENT}.",
}


class Tls(msgspec.Struct, frozen=True):
    """What a TLS connection is made with. Empty: the system's authorities; no certificate of ours."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


class RedisAddress(msgspec.Struct, frozen=True):
    kind: str
    url: str = ""
    """Of one server, as the library reads it."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Of the Sentinels, or of some nodes of a Cluster."""
    service: str = ""
    """The master's name, as the Sentinels know it."""
    database: int = 0
    encrypted: bool = False
    tls: Tls = Tls()
    user: str = ""
    secret: Secret | None = None
    password_file: str = ""
    """Read anew for each connection, so that a changed password holds from the next one on."""
    replicas: int = 0
    """How many replicas must have a step before it counts as done."""

    def __repr__(self) -> str:
        return f"RedisAddress({self.kind})"

    def credentials(self) -> tuple[str, ...]:
        """Password, or user and password; nothing when neither is set. Raises ConfigurationError."""
        secret = secrets.read(self.password_file, "", quiet=True) or self.secret
        password = secret.reveal() if secret is not None else ""
        if self.user:
            return self.user, password
        return (password,) if password else ()


def parse(url: str) -> RedisAddress:
    """Raises ConfigurationError."""
    scheme, between, rest = url.partition("://")
    kind = _SCHEMES.get(scheme)
    if kind is None or not between:
        raise ConfigurationError(
            "redis_url is no address of a Redis: it begins with none of "
            + ", ".join(f"{name}://" for name in _SCHEMES),
            remedy=_HOW[ONE],
        )
    if kind == ONE:
        return RedisAddress(ONE, url, encrypted=scheme == "rediss")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        _refuse(kind, "is no URL")
    if parts.query or parts.fragment:
        _refuse(kind, "has a ? or a # in it")
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, database = _path(kind, parts.path)
    return RedisAddress(
        kind,
        hosts=tuple(_host(kind, place) for place in places.split(",")),
        service=service,
        database=database,
        encrypted=scheme.startswith("rediss"),
        user=unquote(user),
        secret=Secret(unquote(password)) if password else None,
    )


def of_settings(settings: Settings, url: str = "") -> RedisAddress:
    """`url`: of the embedded server, whose address the settings do not have. Raises ConfigurationError."""
    if not settings.redis_url:
        return parse(url)
    address = parse(settings.redis_url)
    if settings.redis_password_file and address.secret is not None:
        raise ConfigurationError(
            "there is a password in redis_url and one in redis_password_file", remedy="Take the one in redis_url away."
        )
    tls = Tls(settings.redis_tls_ca, settings.redis_tls_cert, settings.redis_tls_key)
    if tls != Tls() and not address.encrypted:
        raise ConfigurationError(
            "redis_tls_ca, redis_tls_cert and redis_tls_key are for a Redis with TLS, and redis_url names one without",
            remedy="Begin redis_url with rediss:// (rediss+sentinel://, rediss+cluster://), or leave them empty.",
        )
    return msgspec.structs.replace(
        address,
        tls=tls,
        user=settings.redis_user or address.user,
        password_file=settings.redis_password_file,
        replicas=settings.redis_replicas,
    )


def _path(kind: str, path: str) -> tuple[str, int]:
    """The master's name and the number of the database."""
    words = path.strip("/").split("/") if path.strip("/") else []
    if kind == CLUSTER:
        if words not in ([], ["0"]):
            _refuse(kind, "names a database, and a Cluster has only one")
        return "", 0
    if not words or len(words) > 2 or not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", unquote(words[0])):
        _refuse(kind, "does not end with the name of a master")
    if len(words) == 2 and not re.fullmatch(r"\d{1,5}", words[1]):
        _refuse(kind, "has something behind the master's name that is no number of a database")
    return unquote(words[0]), int(words[1]) if len(words) == 2 else 0


def _host(kind: str, place: str) -> tuple[str, int]:
    found = _HOST.fullmatch(place)
    port = int(found["port"] or _PORTS[kind]) if found else 0
    if found is None or not 0 < port < 65536:
        _refuse(kind, "has a host that is none")
    return found["six"] or found["name"], port


def _refuse(kind: str, what: str) -> NoReturn:
    raise ConfigurationError(f"redis_url {what}", remedy=_HOW[kind])


def how(kind: str) -> str:
    """How such an address is written."""
    return _HOW[kind]
