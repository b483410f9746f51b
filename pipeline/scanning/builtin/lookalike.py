"""Names that look like other names: the same to the eye, one letter off, or with a word added.

Each comparison is a look-up in a table made once: the skeleton of a name (UTS 39 4, with the pairs of ASCII letters that
look alike in a mail program's font), and the names that are left when one letter is taken out (two names are one edit apart only if
they share one of these).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Final

import msgspec


def _confusables() -> dict[int, str]:
    text = (resources.files("pipeline.scanning.builtin") / "data" / "confusables.txt").read_text("utf-8")
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {ord(letter): latin.strip() for latin, _, letters in lines for letter in letters.split()}


_LATIN: Final = _confusables()
_ALIKE: Final = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "|": "l", "!": "l", "5": "s", "$": "s", "3": "e", "4": "a", "@": "a", "8": "b"}
)
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("ll", "l"))
_SCRIPTS: Final = re.compile(r"(LATIN|CYRILLIC|GREEK|ARMENIAN|CHEROKEE|COPTIC|HEBREW|ARABIC)\b")

REMEMBERED: Final = 4096
"""Labels of which it is remembered what they look like."""
SHORTEST: Final = 5
"""Letters of a name below which one more or less says nothing."""
BAIT: Final = frozenset({
    "abgleich", "access", "account", "accounts", "alert", "alerts", "anmelden", "anmeldung", "app", "auth", "authenticate", "bank", "banking", "bestaetigung",
    "bestatigung", "billing", "center", "client", "confirm", "confirmation", "customer", "delivery", "desk", "docs", "document", "doc",
    "drive", "freigabe", "help", "helpdesk", "id", "info", "invoice", "konto", "kunde", "kunden", "kundenservice", "lieferung", "login", "logon",
    "mail", "mailbox", "message", "my", "notice", "notification", "office", "online", "package", "paket", "parcel", "password",
    "passwort", "pay", "payment", "portal", "rechnung", "recovery", "refund", "reset", "safe", "secure", "secured", "security", "service",
    "services", "sendung", "share", "sicher", "sicherheit", "signin", "sso", "support", "team", "track", "tracking", "unlock", "update", "updates",
    "user", "validation", "verification", "verify", "verifizierung", "wallet", "web", "webmail", "zahlung", "zoll", "aktualisierung", "dienst", "entsperren", "erneuern", "erneuerung", "freischaltung", "hilfe", "kundencenter",
    "kundendienst", "phototan", "push", "pushtan", "registrierung", "securego", "sperre", "sperrung", "tan", "zugang",
})  # fmt: skip
"""Words that are put beside a name to make another that seems to be of the same house."""


class Likeness(msgspec.Struct, frozen=True):
    name: str
    """What it looks like."""
    how: str
    """same (to the eye), letter (one off), word (a bait beside it), part (another word beside it)."""


def decoded(label: str) -> str:
    """A label as a browser may show it."""
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label


def shown(host: str) -> str:
    return ".".join(map(decoded, host.split("."))) if "xn--" in host else host


def mixes_scripts(label: str) -> bool:
    """Whether letters of two of the alphabets that have look-alikes stand in one label."""
    if label.isascii():
        return False
    found = {match[1] for character in label[:64] if (match := _SCRIPTS.match(unicodedata.name(character, "")))}
    return len(found) > 1


def latin(text: str) -> str:
    """In lower case, with Latin letters for those that look like them."""
    return text.lower().translate(_LATIN)


@functools.lru_cache(8192)
def skeleton(label: str) -> str:
    """The same for names that a person can hardly tell apart."""
    text = label.lower()
    if not text.isascii():
        text = text.translate(_LATIN)
        text = "".join([c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)]).translate(
            _LATIN
        )
    text = text.translate(_ALIKE)
    for pair, single in _PAIRS:
        text = text.replace(pair, single)
    return text


def one_off(a: str, b: str) -> bool:
    """One letter more, less, another, or two neighbours swapped; not equal."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        start += 1
    x, y = a[start:], b[start:]
    return x[1:] == y[1:] or x[1:] == y or x == y[1:] or (x[:2] == y[1::-1] and x[2:] == y[2:])


def _shortened(name: str) -> set[str]:
    return {name[:at] + name[at + 1 :] for at in range(len(name))}


class Index:
    """Names to be compared with. `exact`: those of them that are words of everyday use, where one letter makes another word."""

    def __init__(self, names: Iterable[str], exact: Iterable[str] = ()) -> None:
        self._exact = frozenset(exact)
        self._names = frozenset(names) | self._exact
        self._skeletons: Mapping[str, str] = {skeleton(name): name for name in sorted(self._names) if len(name) >= 3}
        near: dict[str, list[str]] = {}
        for name in sorted(self._names - self._exact):
            if len(name) >= SHORTEST:
                for key in {name, *_shortened(name)}:
                    near.setdefault(key, []).append(name)
        self._near = near
        self._hyphened = sorted(name for name in self._names if "-" in name)
        self.alike: Callable[[str], Likeness | None] = functools.lru_cache(REMEMBERED)(self._alike)
        """What a label looks like that is none of the names; None: nothing."""

    def _alike(self, label: str) -> Likeness | None:
        if label in self._names:
            return None
        text = decoded(label)
        name = self._skeletons.get(skeleton(text))
        if name is not None and not _are_doublets(text, name):
            return Likeness(name, "same")
        if len(text) >= SHORTEST - 1 and len(text) <= 40:
            for key in self._near.keys() & {text, *_shortened(text)}:
                near = next((name for name in self._near[key] if one_off(text, name)), None)
                if near is not None:
                    return Likeness(near, "letter")
        return self._beside(text)

    def _beside(self, text: str) -> Likeness | None:
        if "-" in text:
            words = text.split("-")
            for name in self._hyphened:
                if f"-{name}-" in f"-{text}-":
                    return Likeness(name, "word" if BAIT.intersection(words) else "part")
            for word in words:
                name = word if word in self._names else self._skeletons.get(skeleton(word), "")
                if len(name) >= 4 or (len(name) == 3 and word == name):
                    others = [other for other in words if other != word]
                    if BAIT.intersection(others):
                        return Likeness(name, "word")
                    if len(name) >= SHORTEST and name not in self._exact:
                        return Likeness(name, "part")
            return None
        for bait in _affixes(text):
            rest = text.removesuffix(bait) if text.endswith(bait) else text.removeprefix(bait)
            name = rest if rest in self._names else self._skeletons.get(skeleton(rest), "")
            if len(name) >= SHORTEST and name not in self._exact:
                return Likeness(name, "word")
        return None


def baited(word: str) -> bool:
    """It is a word of bait, or begins or ends with a long one."""
    return word in BAIT or any(len(bait) >= 5 and (word.startswith(bait) or word.endswith(bait)) for bait in BAIT)


def _affixes(text: str) -> list[str]:
    return [text[at:] for at in range(3, len(text) - 2) if text[at:] in BAIT] + [
        text[:at] for at in range(3, len(text) - 2) if text[:at] in BAIT
    ]


def _are_doublets(text: str, name: str) -> bool:
    """Both are plain words and differ in more than what the eye confuses: of `fill` and `fil` nobody is deceived."""
    return text.isascii() and len(name) < 4 and text != name and text.isalpha()
