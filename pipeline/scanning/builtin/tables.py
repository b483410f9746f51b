"""The tables of the tests for phishing, as their files in data/ say: brands, hosts, free mail, phrases."""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from pipeline.authentication.names import a_labels
from pipeline.faults import ConfigurationError
from pipeline.scanning.builtin.lookalike import SHORTEST, Index, baited, latin
from pipeline.scanning.builtin.targets import INVISIBLE
from pipeline.scanning.organisation import organisation, registered_label

MAX_BRANDS: Final = 5000
MAX_JOINED: Final = 30
"""Words of a name among which are some that belong together."""
LONGEST_LABEL: Final = 30
LONGEST: Final = 1 << 20
"""Octets of a table of brands: fifty times ours."""

_PLACES: Final = re.compile(r"[^\s@<>()]{0,100}+@\S{1,300}+|(?:https?://|\bwww\.)\S{1,2000}+", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")
_SPACED: Final = bytes(octet if chr(octet).isalnum() and octet < 128 else 32 for octet in range(256)).lower()
"""ASCII in lower case, with a space for all that is in no word: five times as fast as a pattern."""
_DIGITS: Final = re.compile(r"[0135$@]")
_UMLAUTS: Final = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"))
_FOREIGN: Final = re.compile("[^\x00-\x7f]+")
SERVICE: Final = frozenset({
    "365", "account", "accounts", "admin", "administrator", "alert", "alerts", "app", "at", "bank", "banking", "benachrichtigung", "billing", "by",
    "care", "center", "centre", "cloud", "co", "com", "customer", "customers", "de", "delivery", "dept", "department", "der", "die", "deutschland",
    "desk", "email", "europe", "express", "from", "fur", "fuer", "germany", "gmbh", "group", "help", "helpdesk", "ihr", "ihre", "inc", "info",
    "international", "it", "konto", "kunden", "kundendienst", "kundenservice", "kundenbetreuung", "kundensupport", "limited", "llc", "ltd", "mail", "mailer",
    "message", "messages", "my", "no", "noreply", "notice", "notification", "notifications", "of", "office", "online", "order", "orders", "paket",
    "password", "payment", "payments", "portal", "post", "protection", "rechnung", "rechnungen", "recovery", "reply", "safety", "secure", "security",
    "server", "service", "services", "sicherheit", "sicherheitsteam", "support", "system", "team", "the", "tracking", "uk", "update", "updates", "us", "user",
    "verification", "versand", "your", "zahlung", "zentrale", "ag", "abteilung", "hotline", "webmail", "storage", "card", "fraud", "refund", "dienst",
    "bestellung", "bestellungen", "sendung", "sendungsverfolgung", "zustellung", "euer", "dein", "official", "offiziell", "via",
})  # fmt: skip
"""Words that may stand beside a brand's name in the name of who speaks for it."""
_AS_WRITTEN: Final = str.maketrans({"0": "o", "1": "l", "3": "e", "5": "s", "$": "s", "@": "a"})


def words(text: str) -> list[str]:
    """In lower case, umlauts as two letters, other marks left out, and so is what is not seen."""
    if not text.isascii():
        # What is not seen does not part a word.
        text = unicodedata.normalize("NFC", INVISIBLE.sub("", text.lower()))
        for letter, pair in _UMLAUTS:
            text = text.replace(letter, pair)
        if not text.isascii():
            # Letters of mathematics are capitals only now.
            text = _FOREIGN.sub(_unmarked, unicodedata.normalize("NFKD", text)).lower()
            if not text.isascii():
                return _WORD.findall(text)
    return text.encode().translate(_SPACED).decode().split()


def _unmarked(match: re.Match[str]) -> str:
    return "".join([c for c in match[0] if not unicodedata.combining(c)])


class Brand(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """As it is shown."""
    organisations: frozenset[str]
    """Whose mail and links are its own."""
    words: frozenset[str] = frozenset()
    """Of all its names."""
    members: tuple[re.Pattern[str], ...] = ()
    has_own: bool = True
    """It has domains where not everybody can have an address."""

    def owns(self, host: str) -> bool:
        return self.lists(host) or self.has_member(host)

    def lists(self, host: str) -> bool:
        return organisation(host) in self.organisations or any(host.endswith("." + own) for own in self.organisations)

    def has_member(self, host: str) -> bool:
        """It is named as the members of the federation are, and not as a page for their customers' passwords would be."""
        if not self.members:
            return False
        place = organisation(host)
        found = next((match for pattern in self.members if (match := pattern.fullmatch(place))), None)
        return found is not None and not any(baited(word) for word in found[1].split("-"))


class Claim(msgspec.Struct, frozen=True):
    """A text names a brand."""

    brand: Brand
    alone: bool
    """Nothing stands beside it but words such as Support: who is called so says to be the brand."""
    everyday: bool = False
    """It is also a word, or a person's name."""
    bare: bool = False
    """Nothing stands beside it at all."""

    @property
    def doubtful(self) -> bool:
        return self.everyday and self.bare


class Brands:
    def __init__(self, text: str) -> None:
        """Raises ConfigurationError, with the number of the line."""
        self.labels: dict[str, Brand] = {}
        """The name in a domain -> whose it is."""
        self.organisations: dict[str, Brand] = {}
        self._names: dict[str, list[tuple[tuple[str, ...], Brand, bool]]] = {}
        """First word -> names that begin with it, the longest first."""
        everyday: set[str] = set()
        lines = [line.strip() for line in text.splitlines()]
        if len(lines) > MAX_BRANDS:
            raise ConfigurationError(f"more than {MAX_BRANDS} lines in the table of brands")
        for number, line in enumerate(lines, start=1):
            if line and not line.startswith("#"):
                everyday |= self._add(line, number)
        for names in self._names.values():
            names.sort(key=lambda name: -len(name[0]))
        self._everyday = frozenset(
            everyday | {name[0] for names in self._names.values() for name, _, everyday_ in names if everyday_}
        )
        self.index = Index(set(self.labels) - everyday, everyday)

    def _add(self, line: str, number: int) -> set[str]:
        names, sign, domains = line.partition("=")
        named = [name.strip() for name in names.split(",") if name.strip().strip("~")]
        listed = domains.split()
        if not (sign and named and listed):
            raise ConfigurationError(
                f"line {number} of the table of brands is not understood",
                remedy="Write: Name, other name = domain.example ...",
            )
        patterns = [domain for domain in listed if "*" in domain]
        hosts = {domain: a_labels(domain.strip("~").lower()) for domain in listed if "*" not in domain}
        if not hosts or not all("." in host for host in (*hosts.values(), *patterns)):
            raise ConfigurationError(f"line {number} of the table of brands has a domain that is none")
        brand = Brand(
            name=named[0].strip("~ "),
            organisations=frozenset(hosts.values()),
            members=tuple(
                [re.compile(re.escape(name.lower()).replace(r"\*", "([a-z0-9-]{2,50})", 1)) for name in patterns]
            ),
            has_own=not freemail().issuperset(hosts.values()),
            words=frozenset(word for name in named for word in words(name)),
        )
        everyday: set[str] = set()
        for name in named:
            spoken = tuple(words(name))
            if spoken:
                self._names.setdefault(spoken[0], []).append((spoken, brand, name.startswith("~")))
        for domain, host in hosts.items():
            self.organisations.setdefault(organisation(host), brand)
            if not domain.startswith("~"):
                label = registered_label(host)
                self.labels.setdefault(label, brand)
                if len(label) < 5:
                    everyday.add(label)
        return everyday

    def owner(self, host: str) -> Brand | None:
        """Whose domain it is."""
        return self.organisations.get(organisation(host))

    def claimed(self, text: str) -> Claim | None:
        """The brand that a display name or a subject names."""
        # An address is not a name: of max@web.de nobody thinks that Web.de writes.
        text = _PLACES.sub(" ", text) if "@" in text or "//" in text or "www." in text else text
        spoken = words(text)
        found = self._find(spoken)
        if found is None and not text.isascii():
            spoken = words(latin(text))
            found = self._find(spoken)
        # Letters that are written with digits: PayPa1, Micros0ft.
        if found is None and _DIGITS.search(text):
            found = self._find([word if word.isdigit() else word.translate(_AS_WRITTEN) for word in spoken])
        return self._joined(spoken) if found is None and len(spoken) <= MAX_JOINED else found

    def _joined(self, spoken: Sequence[str]) -> Claim | None:
        """P a y P a l, PayPalService: what is one name to the eye, and other words here."""
        alone = "".join([word for word in spoken if len(word) == 1])
        for word in (alone, *spoken):
            if len(word) >= SHORTEST:
                label, rest = self._begun(word)
                if label and (word is alone or not rest or rest in SERVICE or baited(rest)):
                    return Claim(self.labels[label], alone=True)
        return None

    def _begun(self, word: str) -> tuple[str, str]:
        """The longest of the brands' names that a word begins with, of those that are no words themselves; and what follows."""
        for size in range(min(len(word), LONGEST_LABEL), SHORTEST - 1, -1):
            label = word[:size]
            if label in self.labels and label not in self._everyday:
                return label, word[size:]
        return "", ""

    def _find(self, spoken: Sequence[str]) -> Claim | None:
        for at, word in enumerate(spoken):
            for name, brand, everyday in self._names.get(word, ()):
                if tuple(spoken[at : at + len(name)]) == name:
                    others = [*spoken[:at], *spoken[at + len(name) :]]
                    alone = len(others) <= 5 and all(
                        other in SERVICE or other.isdigit() or other in brand.words for other in others
                    )
                    if alone or not everyday:
                        return Claim(brand, alone, everyday, bare=not others)
        return None


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    shorteners: frozenset[str]
    builders: frozenset[str]
    trackers: frozenset[str]
    redirectors: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]
    """Host -> (beginning of the path, parameters)."""


def among(host: str, table: Iterable[str] | frozenset[str]) -> str:
    """The entry of a table that a host is, or is below; empty when there is none."""
    while host:
        if host in table:
            return host
        host = host.partition(".")[2]
    return ""


class Standing(msgspec.Struct, frozen=True):
    """The entries of the tables that a host is, or is below; each empty when there is none."""

    shortener: str
    builder: str
    tracker: str
    redirector: str


@functools.lru_cache(8192)
def standing(host: str) -> Standing:
    known = hosts()
    return Standing(
        among(host, known.shorteners),
        among(host, known.builders),
        among(host, known.trackers),
        among(host, known.redirectors.keys()),
    )


def _data(name: str) -> str:
    return (resources.files("pipeline.scanning.builtin") / "data" / name).read_text("utf-8")


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line and not line.startswith("#"))


@functools.cache
def hosts() -> Hosts:
    sections: dict[str, list[str]] = {}
    for line in _lines(_data("hosts.txt")):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        else:
            current.append(line)
    redirectors: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for line in sections["redirectors"]:
        host, path, parameters = line.split()
        redirectors.setdefault(host, []).append((path, () if parameters == "-" else tuple(parameters.split(","))))
    return Hosts(
        shorteners=frozenset(" ".join(sections["shorteners"]).split()),
        builders=frozenset(" ".join(sections["builders"]).split()),
        trackers=frozenset(" ".join(sections["trackers"]).split()),
        redirectors={host: tuple(rules) for host, rules in redirectors.items()},
    )


@functools.cache
def freemail() -> frozenset[str]:
    return frozenset(" ".join(_lines(_data("freemail.txt"))).split())


def brands(path: str = "") -> Brands:
    """Ours, or those of a file. Raises ConfigurationError."""
    return _ours() if not path else _theirs(path)


def shipped_brands() -> str:
    """The text of our table."""
    return _data("brands.txt")


@functools.cache
def _ours() -> Brands:
    return Brands(shipped_brands())


def _theirs(path: str) -> Brands:
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the table of brands {path!a} cannot be read: {error.strerror}") from None
    if len(data) > LONGEST:
        raise ConfigurationError(f"the table of brands {path!a} is larger than {LONGEST >> 20} MiB")
    try:
        return Brands(data.decode())
    except UnicodeDecodeError:
        raise ConfigurationError(f"the table of brands {path!a} is not UTF-8") from None


class Phrases:
    """Phrases by group, each found by its longest word first: a message's words are looked up once for all of them."""

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        self._by_word: dict[str, list[tuple[str, frozenset[str], str]]] = {}
        for group, phrases in groups.items():
            for phrase in phrases:
                spoken = words(phrase)
                self._by_word.setdefault(max(spoken, key=len), []).append(
                    (f" {' '.join(spoken)} ", frozenset(spoken), group)
                )

    def found(self, spoken: Sequence[str]) -> dict[str, str]:
        """Group -> the first phrase of it that stands among `spoken`."""
        text = ""
        found: dict[str, str] = {}
        among = set(spoken)
        for word in among & self._by_word.keys():
            for phrase, parts, group in self._by_word[word]:
                if group not in found and parts <= among:
                    text = text or f" {' '.join(spoken)} "
                    if phrase in text:
                        found[group] = phrase.strip()
        return found


@functools.cache
def phrases() -> Phrases:
    return Phrases({group: entry["phrases"] for group, entry in tomllib.loads(_data("phrases.toml")).items()})
