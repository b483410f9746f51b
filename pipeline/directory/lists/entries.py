"""Entries of allow and block lists: what they are, how they are written, and which of a message's senders they speak of. Pure.

There are three levels of lists: the operator's, which hold for all domains, a domain's, and a person's. An entry names an address, a
domain with all that is below it, a pattern of addresses, a network or a country, and is either an allow or a block: saying the one of
what is listed as the other changes it.

How an entry is stored makes looking it up cheap, whatever the length of the list: each has a key that follows from what it names, so a
message asks for the few keys that could speak of it. Only patterns have to be tried one by one, so there may be few of them; they stand in
the list's `Summary`, with what says which keys are worth asking for.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import unicodedata
from typing import Final

import msgspec

from pipeline.address import AddressError, domain_name, listed, local_key
from pipeline.faults import ConfigurationError

ALLOW: Final = "allow"
BLOCK: Final = "block"
MAX_ENTRIES: Final = 200_000
"""Of the operator or of a domain."""
MAX_OF_PERSON: Final = 5_000
MAX_PATTERNS: Final = 500
"""Entries with a * in a list of the operator or of a domain: each is tried with each message."""
MAX_PATTERNS_OF_PERSON: Final = 50
MAX_STARS: Final = 5
MAX_NOTE: Final = 200
WIDEST: Final = {4: 8, 6: 16}
"""The shortest prefix of a network: a shorter one is a slip of the pen."""
BETWEEN: Final = "\t"
"""Between what an entry names and whose it is, in its key; in no address or name."""


class Form(enum.StrEnum):
    """The order is that of what counts more when two entries of one list speak of a message: see `Rule.rank`."""

    COUNTRY = "country"
    NETWORK = "network"
    WILD_DOMAIN = "wild-domain"
    """A pattern with a * in its domain: *@*.news.example."""
    DOMAIN = "domain"
    WILD_LOCAL = "wild-local"
    """A pattern of addresses at one domain: bounce-*@example.org."""
    ADDRESS = "address"


_RANK: Final = {form: rank for rank, form in enumerate(Form)}
_PREFIX: Final = {
    Form.COUNTRY: "c", Form.NETWORK: "n", Form.WILD_DOMAIN: "w", Form.DOMAIN: "d", Form.WILD_LOCAL: "w", Form.ADDRESS: "a",
}  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry, as it is stored. Additive only."""

    entry: str
    """What it names, in the one way that it is written."""
    form: Form
    action: str
    """allow or block."""
    person: str = ""
    """Whose it is, as `address.local_key` has it; empty: the domain's, or the operator's."""
    content: bool = False
    """An allow that lets blocked content pass too; nothing lets a virus pass."""
    note: str = ""
    by: str = ""
    at: int = 0
    expires: int = 0
    """From when on it does not count (ns); 0: it has no end."""

    @property
    def key(self) -> str:
        """Under which it is stored; the same for all ways to write it."""
        return owned(f"{_PREFIX[self.form]}:{named(self.entry)}", self.person)

    @property
    def rank(self) -> tuple[int, int]:
        """What is greater is more specific."""
        if self.form is Form.NETWORK:
            return _RANK[self.form], int(self.entry.rpartition("/")[2])
        if self.form is Form.DOMAIN:
            return _RANK[self.form], self.entry.count(".")
        return _RANK[self.form], len(self.entry) if self.form in (Form.WILD_DOMAIN, Form.WILD_LOCAL) else 0

    def counts(self, now: int) -> bool:
        return not self.expires or now < self.expires

    def says_the_same(self, other: Rule | None) -> bool:
        """Whoever said it, and whenever."""
        return other is not None and msgspec.structs.replace(other, by=self.by, at=self.at) == self


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is in one list, as far as it says what to ask for."""

    entries: int = 0
    countries: int = 0
    v4: dict[int, int] = msgspec.field(default_factory=dict)
    """Length of prefix -> how many networks have it."""
    v6: dict[int, int] = msgspec.field(default_factory=dict)
    patterns: dict[str, Rule] = msgspec.field(default_factory=dict)

    def changed(self, before: Rule | None, after: Rule | None) -> Summary:
        """With one entry added, changed or taken away."""
        rule = after or before
        assert rule is not None
        step = (after is not None) - (before is not None)
        changes: dict[str, object] = {"entries": self.entries + step}
        if rule.form is Form.COUNTRY:
            changes["countries"] = self.countries + step
        elif rule.form is Form.NETWORK:
            family = "v6" if ":" in rule.entry else "v4"
            length = int(rule.entry.rpartition("/")[2])
            lengths = {**getattr(self, family)}
            lengths[length] = lengths.get(length, 0) + step
            changes[family] = {each: number for each, number in lengths.items() if number > 0}
        elif rule.form in (Form.WILD_DOMAIN, Form.WILD_LOCAL):
            rest = {key: each for key, each in self.patterns.items() if key != rule.key}
            changes["patterns"] = {**rest, rule.key: after} if after is not None else rest
        return msgspec.structs.replace(self, **changes)


EMPTY: Final = Summary()

decode_rule: Final = msgspec.msgpack.Decoder(Rule).decode
decode_summary: Final = msgspec.msgpack.Decoder(Summary).decode


def owned(key: str, person: str) -> str:
    return f"{key}{BETWEEN}{person}" if person else key


def person_of(key: str) -> str:
    """Whose entry a key is of; empty: the domain's, or the operator's."""
    return key.partition(BETWEEN)[2]


def named_by(key: str) -> str:
    """What an entry names, out of its key."""
    name, _, person = key.partition(BETWEEN)
    return f"{name[2:]} of {person}" if person else name[2:]


def named(entry: str) -> str:
    """What an entry names, in the form in which it is compared."""
    local, at, domain = entry.rpartition("@")
    return f"{local_key(local)}@{domain}" if at else entry


def parse(
    text: str,
    action: str,
    *,
    person: str = "",
    content: bool = False,
    note: str = "",
    by: str = "",
    at: int = 0,
    expires: int = 0,
) -> Rule:
    """An entry as people write it. Raises ConfigurationError, which says what is wrong with it and how to write it."""
    if action not in (ALLOW, BLOCK):
        raise ConfigurationError(f"{action!a} is neither allow nor block")
    if content and (action != ALLOW or person):
        raise ConfigurationError("only an allow entry of a domain or of the operator can let blocked content pass")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise ConfigurationError(f"a note has at most {MAX_NOTE} characters, and none that cannot be shown")
    form, entry = read(text)
    return Rule(
        entry=entry, form=form, action=action, person=person, content=content, note=note, by=by, at=at, expires=expires
    )


def read(text: str) -> tuple[Form, str]:
    """What an entry names. Raises ConfigurationError."""
    word = text.strip()
    if not word:
        raise ConfigurationError("the entry is empty")
    if len(word) > 600:
        raise ConfigurationError(f"{word[:40]!a}... is too long for an entry")
    kind, colon, rest = word.partition(":")
    if colon and kind.lower() == "country":
        return Form.COUNTRY, _country(rest)
    if "*" in word:
        return _pattern(word)
    if word.startswith("@") or "@" not in word:
        network = _network(word)
        return (Form.NETWORK, network) if network else (Form.DOMAIN, _domain(word.removeprefix("@")))
    try:
        address = listed(word)
    except AddressError as error:
        raise ConfigurationError(f"{word!a}: {error}", remedy=HOW) from None
    return Form.ADDRESS, f"{address.local}@{address.domain}"


HOW: Final = (
    "An entry is an address (anna@example.org), a domain (example.org), a pattern (*@*.example.org), "
    "a network (192.0.2.0/24) or a country (country:DE)."
)


def _country(text: str) -> str:
    code = text.strip().upper()
    if re.fullmatch(r"[A-Z]{2}", code) is None:
        raise ConfigurationError(f"{text.strip()[:20]!a} is no country", remedy="Write it as country:DE (ISO 3166-1).")
    return code


def _network(word: str) -> str:
    """Empty: it is none, but may be a domain."""
    bare = word.strip("[]").removeprefix("IPv6:")
    if re.fullmatch(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?", bare) is None or not (":" in bare or bare[-1].isdigit()):
        return ""
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        if "/" in bare or ":" in bare or re.fullmatch(r"[0-9.]+", bare):
            raise ConfigurationError(f"{word!a} is no network", remedy="Write it as 192.0.2.0/24.") from None
        return ""
    address = bare.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise ConfigurationError(
            f"{word} has bits behind its prefix", remedy=f"Write {network} for the network, or {address} for the one."
        )
    if network.version == 6 and network.prefixlen >= 96 and network.network_address in _MAPPED:
        raise ConfigurationError(f"{word} is an IPv4 network in disguise", remedy="Write it as 192.0.2.0/24.")
    if network.prefixlen < WIDEST[network.version]:
        raise ConfigurationError(f"{network} is half the world", remedy=f"At least a /{WIDEST[network.version]}.")
    return str(network)


_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def _domain(word: str) -> str:
    try:
        name = domain_name(word.rstrip("."))
    except AddressError as error:
        raise ConfigurationError(f"{word!a}: {error}", remedy=HOW) from None
    if "." not in name:
        raise ConfigurationError(
            f"{name!a} has no dot",
            remedy=f"Write country:{name[:2].upper()} for a country, *@*.{name} for every address below {name}.",
        )
    return name


def _pattern(word: str) -> tuple[Form, str]:
    if word.startswith("*.") and "@" not in word and "*" not in word[2:]:
        raise ConfigurationError(
            f"{word!a} is no pattern of addresses",
            remedy=f"Write {word[2:]} for the domain and all below it, *@{word} for those below it only.",
        )
    local, at, domain = word.rpartition("@")
    if not at or not local or not domain:
        raise ConfigurationError(f"{word!a} is no pattern of addresses", remedy="Write it as bounce-*@example.org.")
    if word.count("*") > MAX_STARS:
        raise ConfigurationError(f"{word!a} has more than {MAX_STARS} *")
    local = unicodedata.normalize("NFC", local)
    if not local.isprintable() or any(letter.isspace() or letter == "@" for letter in local):
        raise ConfigurationError(f"{word!a} is no pattern of addresses", remedy="Write it as bounce-*@example.org.")
    if "*" not in domain:
        return Form.WILD_LOCAL, f"{local}@{_domain(domain)}"
    domain = domain.lower()
    if re.fullmatch(r"[a-z0-9*_.-]{1,253}", domain) is None or ".." in domain:
        raise ConfigurationError(
            f"{word!a}: the part behind @ is no pattern of domain names",
            remedy="Letters as A-labels: *@*.xn--bcher-kva.example",
        )
    if not any(letter.isalnum() for letter in local + domain):
        raise ConfigurationError(f"{word!a} would be everybody", remedy=HOW)
    return Form.WILD_DOMAIN, f"{local}@{domain}"


def fits(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which * is any number of characters. In time linear in the text for each *."""
    pieces = pattern.split("*")
    if len(pieces) == 1:
        return pattern == text
    first, last = pieces[0], pieces[-1]
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in pieces[1:-1]:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
