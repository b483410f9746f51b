"""What all connections of a receiver share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from aiosmtpd.smtp import SMTP

from pipeline import replies
from pipeline.bodies import Draft
from pipeline.events import Refused
from pipeline.limits import Limiter
from pipeline.settings import Settings
from pipeline.units import Network
from workers.receiver.guard import NO_BOUNDS, Bounds, Guard
from workers.receiver.report import Rarely
from workers.receiver.tls import Certificates


class Drafts(Protocol):
    """Where a message is kept while it comes in (`pipeline.bodies.Bodies`)."""

    def draft(self) -> Draft: ...


class Record(Protocol):
    """Where refusals are written down (`refusals.Refusals`)."""

    def add(self, refused: Refused) -> None: ...


class Open(Protocol):
    """A connection, as far as the end of the process concerns it."""

    def wind_down(self) -> None: ...
    def cut_short(self) -> None: ...
    def cut(self) -> None: ...


_OWN: Final = frozenset(
    {"_smtp_methods", "_auth_methods", "_auth_callback", "_closed", "_stream_reader_wr", "_strong_reader"}
)
"""What of a prototype belongs to it alone: methods, its own streams."""


class Common:
    def __init__(
        self,
        handler: object,
        drafts: Drafts,
        certificates: Certificates,
        limiter: Limiter,
        refusals: Record,
        settings: Settings,
        *,
        hostname: str,
        clock: Callable[[], int],
    ) -> None:
        """Needs the running loop."""
        self.drafts = drafts
        self.certificates = certificates
        self.limiter = limiter
        self.refusals = refusals
        self.clock = clock
        self.greeting = replies.greeting(hostname)
        self.max_size = int(settings.max_message_size)
        self.max_sessions = settings.max_sessions
        self.normalise = settings.bare_newlines == "normalise"
        self.timeout = settings.command_timeout.seconds
        self.hello_time = settings.hello_time.seconds
        self.envelope_time = settings.envelope_time.seconds
        self.data_time = settings.data_time.seconds
        self.session_time = settings.session_time.seconds
        self.glance = min(self.timeout, self.hello_time, self.envelope_time, self.data_time, self.session_time)
        """How often the clock is looked at: nothing that has to be over begins and ends between two looks."""
        self.greeting_delay = settings.greeting_delay.seconds
        self.proxies: Sequence[Network] = settings.proxy_networks
        self.bounds = Bounds.of(settings)
        self.no_guard = Guard(limiter, None, NO_BOUNDS)
        # What a session may do, as it is announced (RFC 9422); the recipients are everybody's limit.
        self.announced = f"LIMITS MAILMAX={settings.session_messages} RCPTMAX={settings.max_recipients}"
        self.announced_unlimited = f"LIMITS RCPTMAX={settings.max_recipients}"
        self.bad_headers = Rarely("no_proxy_header")
        self.connections: set[Open] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        # aiosmtpd's constructor inspects every member of itself and of the handler: 0.25 ms, more than a message costs.
        # It runs once, and what it found holds for every connection.
        prototype = SMTP(
            handler,
            data_size_limit=self.max_size,
            enable_SMTPUTF8=True,
            hostname=hostname,
            timeout=self.timeout,
            loop=asyncio.get_running_loop(),
        )
        self.prototype: dict[str, object] = {name: value for name, value in vars(prototype).items() if name not in _OWN}
