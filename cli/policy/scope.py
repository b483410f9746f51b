"""Whose policy or list is meant: the operator's, a domain's, or a person's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Domain


@Parameter(name="*")
@dataclass(frozen=True)
class Whose:
    domain: Annotated[str, Parameter(help="Of this domain; for all domains when neither is given.")] = ""
    address: Annotated[str, Parameter(help="Of this person, such as anna@example.com.")] = ""

    def scope(self) -> Scope:
        """Raises ConfigurationError."""
        from cli.names import address_of, domain_of
        from pipeline.address import AddressError
        from pipeline.faults import ConfigurationError

        if not self.address:
            return Scope(domain_of(self.domain) if self.domain else "")
        try:
            address = address_of(self.address)
        except AddressError as error:
            raise ConfigurationError(f"--address {self.address}: {error}") from None
        if self.domain and domain_of(self.domain) != address.domain:
            raise ConfigurationError(f"{self.address} is not of {self.domain}", remedy="Say one of the two.")
        return Scope(address.domain, address.key)


EVERYBODY = Whose()


@dataclass(frozen=True)
class Scope:
    """`domain` empty: the operator's. `person`: as `address.local_key` has it."""

    domain: str
    person: str = ""

    @property
    def words(self) -> str:
        """`for all domains`, `of example.com`, `of anna@example.com`."""
        if self.person:
            return f"of {self.person}@{self.domain}"
        return f"of {self.domain}" if self.domain else "for all domains"

    async def at_home(self, opened: Session) -> Scope:
        """With the domain that has the mailboxes, where it is an alias. Raises NotFoundError."""
        if not self.domain:
            return self
        return Scope((await home_of(opened, self.domain)).name, self.person)


async def home_of(opened: Session, name: str) -> Domain:
    """Raises NotFoundError."""
    from cli.domain.common import existing

    domain = await existing(opened, name)
    return opened.wiring.directory.home(name) or domain
