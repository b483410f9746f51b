"""How a message is looked at: which engines there are, and what is found out before they begin.

The scanner does it for each message that comes in, and `gatepost scan` for a file, so that both find the same.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.authentication.together import Lookups, authenticate
from pipeline.bodies import Buffer
from pipeline.directory.model import Domain
from pipeline.directory.policies import Views, unlisted
from pipeline.events import Finding
from pipeline.mime import Header
from pipeline.resolver import Resolver
from pipeline.scanning.bayes.engine import Classifier
from pipeline.scanning.builtin.engine import BuiltIn
from pipeline.scanning.dnslists import DnsLists
from pipeline.scanning.engine import Engine, LocalEngine, Mail, Report, run
from pipeline.scanning.engines import outside
from pipeline.scanning.engines.guard import Awaited, Guard, Timed, room
from pipeline.scanning.people import People
from pipeline.scanning.policy import WAVED_THROUGH, sender_of
from pipeline.scanning.relays import true_client
from pipeline.settings import Settings
from pipeline.state import Message
from pipeline.units import Network
from projections.readers.classifier import StoredCounts
from workers.wiring import Wiring

FLOODED: Final = Finding(
    name="AUTH_RESULTS_FLOOD", score=10.0, kind="content",
    text="more Authentication-Results fields than can be looked through for forged ones",
)  # fmt: skip


def resolver(settings: Settings) -> Resolver:
    """One for all that is asked about a message."""
    return Resolver(settings.resolver, lifetime=settings.scan_budget.seconds)


def engines(wiring: Wiring, names: Resolver, *, stored: bool = True) -> list[Engine | LocalEngine]:
    """All that the settings ask for, in the order in which their findings are shown. Raises ConfigurationError.

    `stored`: there is a store; without one those are left out that ask it.
    """
    settings = wiring.settings
    built_in = BuiltIn(settings, wiring.hostname)
    built_in.rehearse()
    looking: list[Engine | LocalEngine] = [Timed(built_in, wiring.clock)]
    if stored:
        people = People(wiring.directory.rows)
        wiring.directory.watchers.append(people.changed)
        looking += [Awaited(one, wiring.clock) for one in (people, classifier(wiring))]
    if settings.address_lists or settings.domain_lists:
        looking.append(Awaited(DnsLists(settings, names), wiring.clock))
    return [*looking, *outside.guards(settings, wiring.hostname, wiring.clock)]


def guards_of(looking: Sequence[Engine | LocalEngine]) -> list[Guard]:
    """Those of them that are programs beside us."""
    return [engine for engine in looking if isinstance(engine, Guard)]


def close(looking: Sequence[Engine | LocalEngine]) -> None:
    """Give their connections back."""
    for guard in guards_of(looking):
        guard.close()


def classifier(wiring: Wiring) -> Classifier:
    """What was learnt, as an engine."""
    counts = StoredCounts(wiring.store.redis, wiring.store.partitions, wiring.settings.learning_minimum)
    return Classifier(counts, wiring.settings.spam_threshold)


def _networks(domain: Domain | None) -> tuple[Network, ...]:
    return tuple(map(_network, domain.trusted_relays)) if domain is not None else ()


@functools.lru_cache(1024)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


async def examine(
    wiring: Wiring, looking: Sequence[Engine | LocalEngine], names: Lookups, message: Message, content: Buffer
) -> tuple[Mail, Report]:
    """What is known of a message, and what the engines found in it. Raises nothing of theirs.

    The `message` of the mail has the client that handed it to the outermost relay that we trust; of one that cannot be found
    out, the address is empty.
    """
    settings = wiring.settings
    domain = wiring.directory.home(message.domain)
    header = Header(content)
    if message.client is not None:
        client = true_client(message.client, header, (*settings.trusted_relays, *_networks(domain)))
        if client is not message.client:
            message = msgspec.structs.replace(message, client=client)
    mail = Mail(message, content, domain=domain, header=header)
    mail.authentication = await authenticate(
        message,
        content,
        header,
        names,
        authserv_id=wiring.authserv_id,
        now=wiring.clock(),
        seconds=settings.scan_budget.seconds,
    )
    if guards := guards_of(looking):
        async with room(guards):
            report = await run(looking, mail, settings.scan_budget)
    else:
        report = await run(looking, mail, settings.scan_budget)
    if mail.authentication.flooded:
        report = msgspec.structs.replace(report, findings=(*report.findings, FLOODED))
    return mail, report


async def views_of(wiring: Wiring, mail: Mail, country: str) -> Views:
    """What holds for each recipient: their policy, and what lists say of this sender. Raises StoreAwayError."""
    message = mail.message
    if message.origin in WAVED_THROUGH:
        return unlisted(wiring.settings)
    name = mail.domain.name if mail.domain is not None else message.domain
    sender = sender_of(message, mail.header, mail.authentication, country)
    recipients = [recipient.address for recipient in message.recipients]
    return await wiring.policies.views(name, recipients, sender, wiring.clock())
