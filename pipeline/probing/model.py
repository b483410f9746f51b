"""What a delivery test is to look at, and what it saw. Times are ns; those of lines since the test began.

Every text of a server in here is neutralised and bounded (see `pipeline/outcome.py`).
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from pipeline.units import Network

WANTED_SIZE: Final = 35_883_008
"""Octets of a message that a server should take: what we accept ourselves, unless the settings or the domain say less."""
QUICK_CONNECTIONS: Final = 10
"""Connections opened in quick succession; as many as a deliverer opens to one server by default."""
TEST_FIELD: Final = "X-Gatepost-Test"


class Weight(enum.StrEnum):
    """How much a finding matters, in the order in which findings are shown."""

    BAD = "bad"
    """Mail does not get through, or not all of it."""
    WARNING = "warning"
    """Mail gets through; something is to be mended, or could not be found out."""
    GOOD = "good"


class Step(enum.StrEnum):
    """What was said, or done, in a visit."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    HELO = "helo"
    """After a server that does not know EHLO."""
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    MAIL = "mail"
    """From an ordinary sender."""
    KNOWN = "known"
    """RCPT to an address that should be there."""
    RANDOM = "random"
    """RCPT to one that cannot be there."""
    POSTMASTER = "postmaster"
    """RCPT to postmaster (RFC 5321 4.5.1)."""
    RSET = "rset"
    BOUNCE = "bounce"
    """MAIL from the null sender, as bounces have it (RFC 5321 4.5.5)."""
    BOUNCE_RCPT = "bounce-rcpt"
    SEND_MAIL = "send-mail"
    SEND_RCPT = "send-rcpt"
    DATA = "data"
    DOT = "dot"
    QUIT = "quit"


STAGES: Final = {
    Step.HELO: "ehlo",
    Step.HANDSHAKE: "starttls",
    Step.KNOWN: "rcpt",
    Step.RANDOM: "rcpt",
    Step.POSTMASTER: "rcpt",
    Step.BOUNCE: "mail",
    Step.BOUNCE_RCPT: "rcpt",
    Step.SEND_MAIL: "mail",
    Step.SEND_RCPT: "rcpt",
}
"""As an attempt calls a step (see `events.Attempt.stage`), where that is another name."""


class Source(msgspec.Struct, frozen=True):
    """From which of our addresses to connect, and what to say in EHLO."""

    address: str = ""
    """Empty: the system's choice."""
    ehlo: str = ""

    def meets(self, address: str) -> bool:
        """Whether one can connect to `address` from here: both are of one family."""
        return not self.address or (":" in self.address) == (":" in address)


class Login(msgspec.Struct, frozen=True):
    """Who we are to servers that want to know. Not a part of the plan, which is shown."""

    user: str
    password: str
    in_clear: bool = False
    """The password may be sent without encryption."""

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at."""

    domain: str
    """Lower case, A-labels."""
    route: tuple[str, ...] = ()
    """As the directory has it; empty: the MX of `domain`."""
    hostname: str
    """Ours."""
    known: str
    """An address that should be there."""
    random: str
    """One that cannot be there."""
    listed: bool = False
    """Whether `known` is an address that is listed here, or was named by whoever asks; else it is postmaster."""
    catch_all: bool = False
    """Whether we accept every address of the domain."""
    size: int = WANTED_SIZE
    allowed: tuple[Network, ...] = ()
    quick: bool = False
    """Leave out the quick connections."""
    send: str = ""
    """The id of the message that is sent; empty: none is."""
    sources: tuple[Source, ...] = (Source(),)
    plain: bool = False
    """The route's policy is never to encrypt."""
    encrypted: bool = False
    """The route's policy demands TLS."""
    verified: bool = False
    """The route's policy demands a certificate that can be verified."""
    ca_file: str = ""
    """PEM file with the authorities that count; empty: the system's."""

    @property
    def sender(self) -> str:
        """An ordinary one, whom a bounce would reach."""
        return f"postmaster@{self.hostname}"

    @property
    def postmaster(self) -> str:
        return f"postmaster@{self.domain}"


# What was seen


class Name(msgspec.Struct, frozen=True, kw_only=True):
    """A server as the DNS has it."""

    server: str
    """As it stands in the route, or as the MX says: HOST:PORT."""
    host: str = ""
    addresses: tuple[str, ...] = ()
    """Those that may be dialled."""
    closed: tuple[tuple[str, str], ...] = ()
    """Addresses that may not be dialled, and why, in words that name the address too."""
    problem: str = ""
    """Why there is nothing to dial."""
    passing: bool = False
    """The DNS did not answer: another time it may."""
    ours: str = ""
    """Why this is the gateway itself."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[Name, ...] = ()
    mx: tuple[tuple[int, str], ...] = ()
    """Preference and host, where the MX was asked for."""
    implicit: bool = False
    """There is no MX, so the domain itself is the server (RFC 5321 5.1)."""
    problem: str = ""
    """Why there is no server at all."""
    passing: bool = False
    took: int = 0


class Line(msgspec.Struct, frozen=True):
    """One line of the transcript."""

    at: int
    who: str
    """us, them, or note for what happened without words."""
    text: str


class Answer(msgspec.Struct, frozen=True):
    """What came of one step."""

    step: Step
    command: str
    code: int
    """Of the reply; 0 when none came. A connection and a handshake that succeed have 0 and an empty text."""
    enhanced: str
    text: str
    """Verbatim, lines separated by LF; or why there is no reply, in words."""
    took: int

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def refused(self) -> bool:
        return 500 <= self.code < 600

    @property
    def silent(self) -> bool:
        return self.code == 0

    @property
    def stage(self) -> str:
        return STAGES.get(self.step, self.step.value)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[str, ...] = ()
    """That it is for: DNS names and addresses, or the common name where there are none."""
    issuer: str = ""
    not_before: int = 0
    not_after: int = 0
    self_signed: bool = False


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    version: str = ""
    """Empty: the handshake failed."""
    cipher: str = ""
    certificate: Certificate | None = None
    """None: there was none, or it cannot be read."""
    untrusted: str = ""
    """Why the system's authorities do not vouch for it, in OpenSSL's words."""
    failed: str = ""
    """Why there is no TLS, in words."""


class Quick(msgspec.Struct, frozen=True, kw_only=True):
    """Connections in quick succession, all held open until the last one has been greeted."""

    wanted: int
    opened: int
    greeted: int
    refused: Answer | None = None
    """The first one that was not greeted with 220."""
    took: int = 0


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One address of one server, from one of our addresses."""

    server: str
    host: str
    address: str
    port: int
    source: Source = Source()
    answers: tuple[Answer, ...] = ()
    """In the order of the steps."""
    tls: Tls | None = None
    """None: STARTTLS was not offered, or it did not come to that."""
    software: str = ""
    """As its greeting says (see `diagnosis/table.toml`)."""
    no_way: bool = False
    """This machine has no way to the address: it is not the server's fault."""
    stray: str = ""
    """What the server said without being asked."""
    connections: int = 0
    quick: Quick | None = None
    sent: bool = False
    """The real message was sent here."""
    complete: bool = False
    """False: the time was up, or somebody interrupted it."""
    transcript: tuple[Line, ...] = ()

    def answer(self, step: Step) -> Answer | None:
        """The last one to a step."""
        return next((answer for answer in reversed(self.answers) if answer.step == step), None)

    @property
    def family(self) -> str:
        return "IPv6" if ":" in self.address else "IPv4"

    @property
    def place(self) -> str:
        return f"{self.server} [{self.address}]" if self.address not in self.server else self.server

    @property
    def works(self) -> bool:
        """Whether a message could be given to it."""
        known = self.answer(Step.KNOWN)
        return known is not None and known.positive


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen until now."""

    plan: Plan
    at: int
    """When it began, ns since 1970."""
    took: int = 0
    lookup: Lookup = Lookup()
    visits: tuple[Visit, ...] = ()
    complete: bool = False
    """False: the time was up, or somebody interrupted it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What something that was seen means. Its words are in `texts.toml`, under its kind."""

    kind: str
    weight: Weight
    where: str = ""
    """The server and address; empty: the domain."""
    source: str = ""
    """The address of ours from which it was seen; empty: the system's choice."""
    values: dict[str, str | int | float] = msgspec.field(default_factory=dict)
    """What the words mention: octets and counts are int, seconds are float."""
    answer: Answer | None = None
    """The reply that it follows from; then the table of replies explains it too."""
    software: str = ""
