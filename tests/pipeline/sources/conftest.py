"""Asking a source as the product does, with the loopback network allowed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from pipeline.sources.definitions import Definition, LdapSource
from pipeline.sources.model import Listing, Source, Unchanged
from pipeline.sources.opening import open_source
from tests.support.activedirectory import DomainController, domain_controller
from tests.support.ldap import ADMIN, BASE, PASSWORD, Slapd, people, slapd

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
PEOPLE = 5000


def opened(definition: Definition, secret: str = PASSWORD, **options: Any) -> Source:
    return open_source(definition, allowed=LOOPBACK, environ={"SECRET": secret}, **options)


async def listing(definition: Definition, secret: str = PASSWORD, **options: Any) -> Listing:
    found = await opened(definition, secret).fetch(**options)
    assert not isinstance(found, Unchanged)
    return found


def kinds(found: Listing) -> dict[str, str]:
    """Address -> kind."""
    return {f"{entry.local}@{entry.domain}": entry.kind for entry in found.entries}


def openldap(*urls: str, **options: Any) -> LdapSource:
    """The administrator's definition of a test's slapd, in the clear unless it says otherwise."""
    fields = {
        "profile": "openldap",
        "base": BASE,
        "bind_dn": ADMIN,
        "secret_env": "SECRET",
        "starttls": False,
        **options,
    }
    if not fields["bind_dn"]:
        fields["secret_env"] = ""
    return LdapSource(servers=urls, **fields)


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def many(ca: trustme.CA) -> Iterator[Slapd]:
    """PEOPLE people with two addresses each, over TLS as well. Not to be changed."""
    with slapd(people(PEOPLE), tls=ca, database=("sizelimit size.soft=unlimited",)) as server:
        yield server


@pytest.fixture
def directory() -> Iterator[Callable[..., Slapd]]:
    """Servers of the test's own: `directory(ldif, schemas=..., database=...)`."""
    running = []

    def start(ldif: str, **options: Any) -> Slapd:
        manager = slapd(ldif, **options)
        running.append(manager)
        return manager.__enter__()

    yield start
    for manager in running:
        manager.__exit__(None, None, None)


@pytest.fixture(scope="session")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DomainController]:
    """An Active Directory domain. Whoever changes it uses names of their own."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with domain_controller(shared, os.getpid() % 65_000 + 1) as controller:
        yield controller
