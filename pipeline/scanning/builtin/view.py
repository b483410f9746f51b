"""What the tests for phishing share of a message: who says to have sent it and whether that is so, where its links lead, what it says."""

from __future__ import annotations

import enum
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.authentication.together import Authentication
from pipeline.lazy import lazy
from pipeline.mime import Mailbox
from pipeline.mime.fields import mailboxes
from pipeline.mime.words import unfold
from pipeline.scanning.builtin import tables
from pipeline.scanning.builtin.bulk import is_list
from pipeline.scanning.builtin.lookalike import Index, latin
from pipeline.scanning.builtin.tables import Brand, Brands, Claim, among, standing
from pipeline.scanning.builtin.targets import INVISIBLE, Target, host_of, target_of
from pipeline.scanning.document import Link
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import organisation, registered_label

MAX_TARGETS: Final = 400
"""Different links of a message that are judged."""
MAX_SAID: Final = 16_000
"""Characters of the text that are searched for phrases: who wants something says so early."""
MIN_SAID: Final = 2_000
"""Of each of its documents: of several that stand for each other a person is shown the last."""
MAX_AUTHORS: Final = 5
_BULK: Final = (b"list-unsubscribe", b"list-id", b"list-post")
# A run of letters that changes its alphabet, from Latin to Greek or Cyrillic or back; what is only Cyrillic is Russian.
_MIXED: Final = re.compile(
    "(?<![A-Za-z\u0370-\u04ff])(?:[A-Za-z]++[\u0370-\u04ff]|[\u0370-\u04ff]++[A-Za-z])[A-Za-z\u0370-\u04ff]*+"
)
_GREEK: Final = re.compile("[\u0370-\u03ff]")
_MAX_IDS: Final = 4000
_ID: Final = re.compile(rb"@([A-Za-z0-9.-]{1,253}+)>")
_ID_HOUSES: Final = frozenset(
    {
        "gmail.com",
        "outlook.com",
        "exchangelabs.com",
        "icloud.com",
        "apple.com",
        "gmx.net",
        "web.de",
        "yahoo.com",
        "phx.gbl",
    }
)
"""Whose programs write Message-IDs in their own name, whatever domain somebody writes from."""
UNIT: Final = 4
"""Letters of the longest unit with a Greek letter in it."""
_OPENING: Final = 500
"""Characters at the beginning of a text among which it names who writes."""


class Proof(enum.Enum):
    """Whether the domain in From stands behind the message."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """Nothing was looked up, or the DNS did not answer."""


def proof_of(found: Authentication, domain: str) -> Proof:
    if found.dmarc is not None and found.dmarc.result == "pass":
        return Proof.YES
    if found.dmarc is None and found.spf is None and not found.dkim:
        return Proof.UNKNOWN
    owner = organisation(domain)
    if found.spf is not None and found.spf.result == "pass" and organisation(found.spf.domain) == owner:
        return Proof.YES
    if any(one.result == "pass" and not one.testing and organisation(one.domain) == owner for one in found.dkim):
        return Proof.YES
    if found.dmarc is not None and found.dmarc.result == "fail":
        return Proof.NO
    late = found.spf is None or found.spf.result == "temperror" or any(one.result == "temperror" for one in found.dkim)
    return Proof.UNKNOWN if late else Proof.NO


def author_of(mail: Mail) -> Mailbox:
    """The first author that has an address. `Name, First <a@b>` without quotes is two mailboxes to the grammar and one to people."""
    authors = mail.header.authors
    before: list[str] = []
    for author in authors:
        if "@" in author.address:
            return Mailbox(", ".join([*before, author.display]), author.address) if before else author
        before.append(author.display)
    return authors[0] if authors else Mailbox("", "")


def names_of(mail: Mail) -> list[str]:
    """What all authors call themselves, those of a second From field too: which of them is shown differs from program to program."""
    values = mail.header.values(b"from")
    if len(values) == len(mail.header.authors) == 1:
        return [mail.header.authors[0].display]
    found = [author_of(mail).display, *(author.display for author in mail.header.authors[:MAX_AUTHORS])]
    found += [author.display for value in values[1:3] for author in mailboxes(unfold(value))[:MAX_AUTHORS]]
    return list(dict.fromkeys(found))


@functools.lru_cache(1024)
def index_of(labels: tuple[str, ...]) -> Index:
    return Index(labels)


class View:
    """Made once for a message; what costs something is computed when it is first asked for."""

    def __init__(self, mail: Mail, brands: Brands) -> None:
        self.mail = mail
        self.brands = brands
        author = author_of(mail)
        self.display = author.display
        self.address = author.address.lower()
        self.domain = host_of(self.address.rpartition("@")[2]) if "@" in self.address else ""
        self.organisation = organisation(self.domain)
        self.proof = proof_of(mail.authentication, self.domain) if self.domain else Proof.UNKNOWN
        """Of the first author. Of several authors DMARC answers for none."""
        self.own: frozenset[str] = frozenset({
            mail.message.domain, *([mail.domain.name] if mail.domain else ()),
            *(recipient.address.rpartition("@")[2].lower() for recipient in mail.message.recipients[:50]),
        } - {""})  # fmt: skip
        """The recipient's own domains."""
        self.own_organisations = frozenset(map(organisation, self.own))
        index = mail.header.index
        self.is_bulk = any(name in index for name in _BULK)
        self.is_report = not mail.message.sender and mail.structure.parts[0].content_type == "multipart/report"
        """A bounce or a receipt: Exchange writes those in Microsoft's name, wherever it runs."""
        self.is_reply = (b"in-reply-to" in index or b"references" in index) and self._answers()
        """It answers something that came from here, or that went over a list, as far as anybody can say."""

    def _answers(self) -> bool:
        """Anybody can write In-Reply-To. An id of ours has our domain in it or a big provider's, and who forges his sender answers nobody."""
        header = self.mail.header
        if is_list(header):
            return True
        if self.proof is Proof.NO:
            return False
        known = self.own_organisations | _ID_HOUSES
        ids = header.value(b"in-reply-to")[:_MAX_IDS] + b" " + header.value(b"references")[-_MAX_IDS:]
        return any(organisation(match[1].decode("ascii", "replace").lower()) in known for match in _ID.finditer(ids))

    @lazy
    def is_own(self) -> bool:
        """From says that it comes from the recipient's own domain."""
        return self.organisation in self.own_organisations

    @lazy
    def is_freemail(self) -> bool:
        return bool(among(self.domain, tables.freemail()))

    @lazy
    def owner(self) -> Brand | None:
        """The brand whose domain stands in From."""
        return self.brands.owner(self.domain)

    @lazy
    def claim(self) -> Claim | None:
        """The brand that the sender's name names, when his domain is not that brand's."""
        claims = (self._foreign(self.brands.claimed(name)) for name in names_of(self.mail) if name)
        claim = next((claim for claim in claims if claim is not None), None)
        if claim is not None and claim.doubtful and self.is_freemail:
            claim = None
        if claim is None and self.is_freemail:
            # Of a free address the local part is chosen: paypal.zahlung@ is a name as well.
            claim = self._foreign(self.brands.claimed(self.address.rpartition("@")[0].replace("_", " ")))
            claim = claim if claim is not None and claim.alone and not claim.everyday else None
        return claim

    @lazy
    def subject_claim(self) -> Claim | None:
        return self._foreign(self.brands.claimed(self.mail.header.subject))

    @lazy
    def is_partner(self) -> bool:
        """Its own domain is proven and holds the name of the brand it speaks of: its agency's, or one that our table lacks."""
        return (
            self.claim is not None
            and self.proof is Proof.YES
            and (like := self.brands.index.alike(registered_label(self.domain))) is not None
            and like.how == "part"
            and self.brands.labels[like.name] is self.claim.brand
        )

    @lazy
    def text_claim(self) -> Claim | None:
        """A brand that the beginning of the text names."""
        return self._foreign(self.brands.claimed(self.text[:_OPENING]))

    def _foreign(self, claim: Claim | None) -> Claim | None:
        # Of one of our own nothing is held against him because the DNS did not answer.
        if claim is None or (self.is_own and self.proof is not Proof.NO):
            return None
        if self.is_freemail:
            # Nobody speaks for Microsoft from where everybody has an address, unless that is all the house has.
            return None if claim.brand.owns(self.domain) and not (claim.alone and claim.brand.has_own) else claim
        brand = claim.brand
        if brand.lists(self.domain) or self.is_report or (self.proof is not Proof.NO and brand.has_member(self.domain)):
            return None
        # A house that is known itself and speaks of another, or its branch in a country that our table lacks.
        if self.owner is not None and self.proof is not Proof.NO:
            return None
        return None if self.proof is not Proof.NO and self.is_branch(self.domain) else claim

    def is_branch(self, host: str) -> bool:
        """A brand's name below the suffix of a country: such as our table lacks many of."""
        label, _, suffix = organisation(host).partition(".")
        return label in self.brands.labels and len(suffix.rpartition(".")[2]) == 2

    @lazy
    def own_index(self) -> Index:
        return index_of(tuple(sorted({label for own in self.own if len(label := registered_label(own)) >= 4})))

    @lazy
    def replies(self) -> list[Mailbox]:
        value = self.mail.header.value(b"reply-to")
        return mailboxes(unfold(value)) if value else []

    @lazy
    def targets(self) -> Sequence[tuple[Link, Target]]:
        """Links with where they lead, those of attached pages too; each pair of text and target once."""
        found: dict[Link, Target] = {}
        for document in self.mail.reading.documents:
            base = target_of(document.base) if document.base else None
            # What nobody can click comes last: empty links are put before others to be judged in their place.
            for link in sorted(document.links, key=lambda link: not link.text) if document.is_html else document.links:
                if len(found) == MAX_TARGETS:
                    break
                if link not in found and link.target[:1] != "#" and link.target[:7].lower() != "mailto:":
                    target = target_of(link.target)
                    # A link that is no whole address begins where <base href> says.
                    found[link] = base if base is not None and not target.scheme and target.rest else target
        return list(found.items())

    @lazy
    def hosts(self) -> Mapping[str, Target]:
        """Hosts of the Internet that links lead to."""
        return {target.host: target for _, target in self.targets if target.host and not target.private}

    @lazy
    def text(self) -> str:
        reading = self.mail.reading
        # One that is a file, and nothing else, is what its reader reads.
        shown = reading.shown or reading.documents
        share = max(MAX_SAID // max(len(shown), 1), MIN_SAID)
        return "\n".join([document.text[:share] for document in shown])

    @lazy
    def _covered(self) -> list[str]:
        """Words that seem not to be seen: styles can say so of what they show after all."""
        return [
            word
            for document in self.mail.reading.shown
            if document.hidden
            for word in ("", *tables.words(document.hidden[:MIN_SAID]))
        ][:MAX_SAID]

    @lazy
    def mixed(self) -> Sequence[str]:
        """Different words of the text with letters of two alphabets in them, at most ten. Units (k\u03a9, \u03bcmol) are none."""
        text = INVISIBLE.sub("", self.text) if not self.text.isascii() else ""
        found = (match[0] for match in itertools.islice(_MIXED.finditer(text), 100))
        return list(dict.fromkeys(word for word in found if len(word) > UNIT or not _GREEK.search(word)))[:10]

    @lazy
    def spoken(self) -> list[str]:
        """Words of the text; Latin letters in place of those that look like them, where they stand among Latin ones."""
        return tables.words(latin(self.text) if self.mixed else self.text)

    @lazy
    def says(self) -> Mapping[str, str]:
        """Group of phrases -> the first of them that stands in subject or text."""
        return tables.phrases().found([*tables.words(self.mail.header.subject), "", *self.spoken, *self._covered])

    def is_foreign(self, host: str, brand: Brand | None = None) -> bool:
        """Neither the brand's, nor the recipient's own, nor one of those that honest mailings lead through."""
        place = organisation(host)
        if (brand is not None and (brand.owns(host) or self.is_branch(host))) or place in self.own_organisations:
            return bool(standing(host).builder)
        return not standing(host).tracker
