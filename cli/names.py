"""Names that people type: domains, addresses, message ids; and asking before something is lost."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from cli.render import complain
from pipeline import ids
from pipeline.faults import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from pipeline.address import Address

_PLAIN: Final = str.maketrans(".-_+", "aaaa")
"""What needs no second look in a local part, besides letters and digits."""


def domain_of(text: str) -> str:
    """A domain in lower case and A-labels. Raises ConfigurationError."""
    from pipeline.address import AddressError, domain_name

    try:
        return domain_name(text.strip().rstrip("."))
    except AddressError as error:
        raise ConfigurationError(f"{text}: {error}", remedy="Write it as example.com.") from None


def address_of(text: str) -> Address:
    """An address with its local part as it is listed: without needless quotes, composed. Raises AddressError."""
    from pipeline.address import listed

    return listed(text)


def written(local: str, domain: str) -> str:
    """A listed address as it would be typed: in quotes where it has to be (RFC 5321 4.1.2)."""
    from pipeline.address import AddressError, parse

    address = f"{local}@{domain}"
    if not local.translate(_PLAIN).isalnum():
        try:
            parse(address)
        except AddressError:
            escaped = local.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"@{domain}'
    return address


def message_id_of(text: str) -> str:
    """A message's id. Raises NotFoundError."""
    wanted = text.strip().lower()
    if not ids.is_id(wanted):
        raise NotFoundError(
            f"{text} is no message id", remedy=f"An id has {ids.LENGTH} characters, such as 1nx9s4tkh2v6c8jq0d7w03."
        )
    return wanted


async def confirm(question: str) -> bool:
    """Ask on a terminal, where the answer is no unless it is yes. Raises ConfigurationError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask on", remedy="Say it with --yes.")
    complain(f"{question} [y/N] ", end="")
    # Not in a thread and not blocking, so that Ctrl-C is an answer too.
    loop, answered = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, answered.set)
    try:
        await answered.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
