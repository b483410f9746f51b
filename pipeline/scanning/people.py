"""Whether a sender from elsewhere has the name of one of the domain's own people: the oldest trick against a company.

Addresses are listed, names are not: from the name in From come the local parts that it would have in most companies, and one question to
Redis says which of them there are. Somebody of the domain who writes from a private address is honest, and so is a namesake; hence a
moderate score, and more only beside other signs.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from pipeline.address import local_key
from pipeline.directory.model import Address, Domain, Kind
from pipeline.events import Finding
from pipeline.mime import Mailbox, plain
from pipeline.scanning.builtin import tables
from pipeline.scanning.builtin.lookalike import shown
from pipeline.scanning.builtin.senders import is_protected
from pipeline.scanning.builtin.tables import SERVICE, among, words
from pipeline.scanning.builtin.targets import host_of
from pipeline.scanning.builtin.view import MAX_SAID, Proof, author_of, names_of, proof_of
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import organisation
from pipeline.units import SECOND, Duration

SHORTEST: Final = 3
"""Characters of a name in which two words have room."""
MOST: Final = 80
"""Local parts that are asked for."""
_TITLES: Final = frozenset({
    "dr", "prof", "professor", "mr", "mrs", "ms", "miss", "sir", "herr", "frau", "dipl", "ing", "med", "phd", "mba", "jr", "sr", "via", "mag", "ceo", "cfo",
})  # fmt: skip
_PRESSING: Final = frozenset({"urgency", "payment", "gifts", "credentials"})

REMEMBERED: Final = 2000
LONGEST: Final = 200
"""Characters of a domain and the names that are remembered: half a megabyte at most."""

_Asked = tuple[str, ...]
"""A domain, and the names of who writes to it."""

Rows = Callable[[str, Sequence[str]], Awaitable[Mapping[str, Address]]]
"""As `directory.reading.Reading.rows`."""


class People:
    """An Engine. Whom it has asked for it remembers until the directory changes: newsletters and colleagues write again and again."""

    name: Final = "people"
    version: Final = "1"
    deadline: Final = Duration(SECOND)

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._known: dict[_Asked, Address | None] = {}
        self._turn = 0
        """Changes so far: what was asked for before one is not remembered after it."""

    def changed(self, _: object) -> None:
        """For the directory's watchers."""
        self._turn += 1
        self._known.clear()

    def at_once(self, mail: Mail) -> Sequence[Finding] | None:
        """Nothing, of who gives no name of two words; and what is remembered."""
        home, names = mail.domain, names_of(mail)
        if home is None or all(len(name) < SHORTEST for name in names):
            return ()
        asked = _asked(home, names)
        return _found(mail, home, self._known[asked]) if asked in self._known else None

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        home = mail.domain
        if home is None or _is_own(mail, home):
            return ()
        # A second author may be the one whom a program shows.
        names = names_of(mail)
        wanted = list(itertools.islice(dict.fromkeys(itertools.chain.from_iterable(map(candidates, names))), MOST))
        turn = self._turn
        rows = await self._rows(home.name, wanted) if wanted else {}
        row = next((rows[key] for key in wanted if key in rows), None)
        asked = _asked(home, names)
        if turn == self._turn and sum(map(len, asked)) <= LONGEST:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[asked] = row
        return _found(mail, home, row)


def _asked(home: Domain, names: Sequence[str]) -> _Asked:
    return (home.name, *names)


def _is_own(mail: Mail, home: Domain) -> bool:
    """From names nobody from elsewhere, or a name of which something else is said."""
    domain = host_of(author_of(mail).address.rpartition("@")[2])
    own = (organisation(home.name), organisation(mail.message.domain))
    return not domain or organisation(domain) in own or bool(is_protected(mail))


def _found(mail: Mail, home: Domain, row: Address | None) -> list[Finding]:
    """`row`: of the person who has the name."""
    if row is None or row.gone or row.kind is Kind.GROUP or _is_own(mail, home):
        return []
    author = author_of(mail)
    if author.address.lower() in row.targets:
        return []
    return [judged(mail, author, host_of(author.address.rpartition("@")[2]), f"{row.local}@{home.name}")]


def judged(mail: Mail, author: Mailbox, domain: str, person: str) -> Finding:
    """`person`: whose name it is."""
    free = bool(among(domain, tables.freemail()))
    proof = proof_of(mail.authentication, domain)
    # Whose own company stands behind him is more likely a namesake.
    score = 2.0 if free or proof is not Proof.YES else 1.0
    replies = mail.header.value(b"reply-to")
    if replies and organisation(domain) not in replies.decode("ascii", "replace").lower():
        score += 1.0
    says = tables.phrases().found([*words(mail.header.subject), "", *words(mail.reading.text[:MAX_SAID])])
    if _PRESSING & says.keys():
        score += 1.0
    text = f"the sender calls himself {author.display}, as {person} may be called, and writes from {shown(domain)}"
    return Finding(name="FROM_PERSON", score=score, text=plain(text, 300), kind="spoof")


def candidates(display: str) -> Iterator[str]:
    """Local parts (as `address.local_key`) that somebody of this name would have, each once, the likeliest first."""
    seen: set[str] = set()
    for spoken in _spellings(display[:200]):
        names = [word for word in spoken if word not in _TITLES]
        if 2 <= len(names) <= 4 and not SERVICE.intersection((names[0], names[-1])) and "".join(names).isalpha():
            for first, last in _pairs(names):
                for local in _locals(first, last):
                    key = local_key(local)
                    if key not in seen:
                        seen.add(key)
                        yield key


def _spellings(display: str) -> Iterator[list[str]]:
    """`ü` is written `ue`, or `u`, or as it is."""
    yield words(display)
    if not display.isascii():
        bare = "".join([c for c in unicodedata.normalize("NFKD", display) if not unicodedata.combining(c)])
        yield words(bare)
        yield [word for raw in unicodedata.normalize("NFC", display.lower()).split() if (word := raw.strip(".,\"'()"))]


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield names[0], names[-1]
    if len(names) > 2:
        yield "".join(names[:-1]), names[-1]
        yield "-".join(names[:-1]), names[-1]
        yield names[0], "".join(names[1:])
        yield names[0], "-".join(names[1:])
        yield names[0], ".".join(names[1:])


def _locals(first: str, last: str) -> Iterator[str]:
    initial, final = first[0], last[0]
    for a, b in ((first, last), (last, first), (initial, last), (last, initial), (first, final), (final, first)):
        for between in (".", "", "_", "-"):
            local = f"{a}{between}{b}"
            # Of three letters there may be anybody.
            if len(local) > 3:
                yield local
