"""The domains that a message names: those of its sender, and those that it leads to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.scanning.builtin.targets import target_of
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import registrable


def domains(mail: Mail) -> Iterator[tuple[str, str]]:
    """(domain, where it stands), each once: of the sender first, then of links, in the order in which they stand."""
    seen = {registrable(mail.message.domain), ""}
    for name, where in _names(mail):
        domain = registrable(name)
        if domain not in seen:
            seen.add(domain)
            yield domain, where


def _names(mail: Mail) -> Iterable[tuple[str, str]]:
    for author in mail.header.authors:
        yield author.address.rpartition("@")[2], "the sender's domain"
    yield mail.message.sender.rpartition("@")[2], "the envelope sender's domain"
    if mail.message.client is not None:
        yield mail.message.client.helo, "the client's domain"
    for signature in mail.authentication.dkim:
        if signature.result == "pass":
            yield signature.domain, "the signer's domain"
    for document in mail.reading.documents:
        for link in document.links:
            yield target_of(link.target).host, "a link's domain"
        for form in document.forms:
            yield target_of(form.action).host, "a form's domain"


def proved(mail: Mail) -> frozenset[str]:
    """The organisations that the message is proved to be from."""
    found = mail.authentication
    names = [one.domain for one in found.dkim if one.result == "pass" and not one.testing]
    if found.spf is not None and found.spf.result == "pass":
        names.append(found.spf.domain)
    return frozenset(map(registrable, names))
