"""What a message says, and what that means beside who sends it and where it leads.

Words alone are no proof of anything: banks write of accounts, shops of parcels, colleagues of invoices. What decides is that somebody
who does not prove to be whom he names wants something that leads elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.scanning.builtin.lookalike import shown
from pipeline.scanning.builtin.tables import Claim
from pipeline.scanning.builtin.targets import Target
from pipeline.scanning.builtin.view import Proof, View
from pipeline.scanning.organisation import organisation, registered_label

LITTLE: Final = 60
"""Characters: a picture with less text beside it says all that is said."""
_WEIGHT: Final = {
    "credentials": (0.5, "wants somebody to sign in or to confirm an account"),
    "urgency": (0.2, "presses for time"),
    "payment": (0.5, "speaks of a changed account or of a transfer to be made"),
    "gifts": (0.8, "speaks of gift cards and their codes"),
    "codes": (0.3, "wants a code scanned with a telephone"),
    "threat": (0.5, "threatens"),
}
_WANTS: Final = frozenset({"credentials", "urgency", "invoice", "parcel", "payment"})
_TELEPHONE: Final = re.compile(r"(?<![\w.-])(?:\+|\(?0|\(?1[\s.-]?\(?8|\(?8)[\d\s().\u2011-]{8,20}\d(?![\w-])")
_BITCOIN: Final = re.compile(r"\b(?:bc1[a-z0-9]{25,60}|[13][a-km-zA-HJ-NP-Z1-9]{25,34})\b")
_RISKY: Final = (
    "LINK_SHORTENED", "LINK_BUILDER", "LINK_ADDRESS", "LINK_DISGUISED", "LINK_USER", "LINK_REDIRECTED", "LINK_LIKE_BRAND", "LINK_LIKE_OURS",
    "LINK_BEGINS_LIKE", "LINK_SCRIPTS", "LINK_DATA", "LINK_FILLED_IN", "LINK_NAMES_BRAND", "LINK_PORT", "FROM_LIKE_BRAND",
)  # fmt: skip
_AS_US: Final = frozenset({"FROM_NAMES_US", "FROM_LIKE_OURS", "FROM_OTHER_SUFFIX"})
_NAMED: Final = frozenset({"LINK_NAMES_BRAND", "LINK_LIKE_BRAND"})
_MONEY: Final = frozenset({"payment", "gifts"})


def combined(view: View, found: frozenset[str]) -> Iterator[Finding]:
    """`found`: names of the findings that there are already."""
    says = view.says
    for group, (score, meaning) in _WEIGHT.items():
        if group in says and not view.is_reply:
            yield _finding(
                f"SAYS_{group.upper()}",
                score,
                f'it {meaning}: "{says[group]}"',
                "spam" if group == "threat" else "phishing",
            )
    yield from _disguised(view)
    yield from _picture(view)
    if not says:
        return
    claimed = _claimed(view, found)
    if claimed is not None:
        yield claimed
    else:
        yield from _account(view, found)
    yield from _scanned(view)
    yield from _money(view, found)
    yield from _called(view)
    if "threat" in says and _BITCOIN.search(view.text):
        yield _finding("EXTORTION", 4.5, "it threatens, and names an address for bitcoins", "spam")


def _finding(name: str, score: float, text: str, kind: str = "phishing") -> Finding:
    return Finding(name=name, score=score, text=plain(text, 300), kind=kind)


def _disguised(view: View) -> Iterator[Finding]:
    """Words in which one alphabet stands in for another, so that a filter does not read them."""
    if len(view.mixed) > 2:
        yield _finding("SAYS_MIXED", 2.0, f"words with letters of another alphabet among Latin ones: {view.mixed[0]}")


def _picture(view: View) -> Iterator[Finding]:
    for document in view.mail.reading.documents:
        if (
            document.is_html
            and not document.attached
            and document.images
            and document.links
            and len(document.text) < LITTLE
        ):
            yield _finding("LONE_PICTURE", 1.0, "a picture with a link, and hardly any text", "spam")
            return


def _away(view: View, claim: Claim, *, own_too: bool) -> Target | None:
    """A link to somebody who is not the brand. `own_too`: the sender's own domain counts as well."""
    for host, target in view.hosts.items():
        if view.is_foreign(host, claim.brand) and (own_too or organisation(host) != view.organisation):
            return target
    return None


def _claimed(view: View, found: frozenset[str]) -> Finding | None:
    """In a brand's name, not by the brand, and with a link to somewhere else: this is what phishing is."""
    says, wants = view.says, len(_WANTS & view.says.keys())
    claim = view.claim
    if claim is not None and claim.alone and wants:
        target = _away(view, claim, own_too=not view.is_partner)
        if target is not None:
            return _phishing(4.0 if wants > 1 or "credentials" in says else 3.0, claim, target)
    if view.is_reply and view.is_bulk:
        return None
    weight = 0.4 if view.is_reply or view.is_bulk else 1.0
    claim = (claim or view.subject_claim) if wants > 1 else None
    if claim is not None:
        sure = view.proof is Proof.NO and "credentials" in says
        target = _away(view, claim, own_too=sure)
        if target is not None:
            score = (4.0 if sure else 1.0 if view.proof is Proof.YES else 2.5) + (1.0 if found & _NAMED else 0.0)
            if view.proof is Proof.YES and {"credentials", "urgency"} <= says.keys():
                score += 2.0
            return _phishing(score * weight, claim, target)
    claim = view.text_claim if says.keys() >= {"credentials", "urgency"} else None
    if claim is not None:
        target = _away(view, claim, own_too=view.proof is Proof.NO)
        if target is not None:
            score = {Proof.NO: 3.5, Proof.UNKNOWN: 2.0, Proof.YES: 0.8}[view.proof]
            return _phishing(score * weight, claim, target)
    return None


def _phishing(score: float, claim: Claim, target: Target) -> Finding:
    text = f"it names {claim.brand.name}, is not from {claim.brand.name}, wants something done, and leads to {shown(target.host)}"
    return _finding("BRAND_PHISHING", round(score, 2), text)


def _account(view: View, found: frozenset[str]) -> Iterator[Finding]:
    """Somebody wants a password, and the page is nowhere near himself or the recipient."""
    if not view.says.keys() & {"credentials", "mailbox"} or view.is_reply or not view.hosts:
        return
    if view.proof is Proof.YES and (view.is_own or view.owner is not None):
        return
    owner = view.owner
    if owner is not None and all(owner.owns(host) and not view.is_foreign(host, owner) for host in view.hosts):
        # Nobody can take anything there but the house itself.
        return
    away = [host for host in view.hosts if view.is_foreign(host) and organisation(host) != view.organisation]
    ours = view.is_own or bool(found & _AS_US) or _speaks_of_us(view)
    score = _weight_of_account(view, ours=ours, away=bool(away), risky=any(name in found for name in _RISKY))
    if score:
        host = away[0] if away else next(iter(view.hosts))
        yield _finding("ACCOUNT_PHISHING", score, f"it wants somebody to sign in, and leads to {shown(host)}")


def _weight_of_account(view: View, *, ours: bool, away: bool, risky: bool) -> float:
    pressing, mailbox = "urgency" in view.says, "mailbox" in view.says
    if view.proof is Proof.YES:
        # A service that proves who it is may say what it likes of its own accounts, on its own pages.
        return (3.5 if mailbox else 2.5) if ours and away and (pressing or mailbox) else 0.0
    if view.is_own and view.proof is Proof.UNKNOWN and not mailbox:
        return 1.5 if away and pressing else 0.0
    if ours and (away or view.proof is Proof.NO):
        return 3.5 if view.proof is Proof.NO or pressing or mailbox else 2.0
    if risky:
        return 3.0 if pressing else 2.0
    if away and pressing and not view.is_bulk:
        return 2.5 if view.proof is Proof.NO else 1.0
    return 1.0 if pressing and view.proof is Proof.NO else 0.0


def _speaks_of_us(view: View) -> bool:
    """The subject or the beginning of the text names the recipient's own domain, as reports of a mail system do."""
    said = f"{view.mail.header.subject} {view.text[:1500]}".lower()
    people = [recipient.address.lower() for recipient in view.mail.message.recipients[:3]]
    return any(person in said for person in people) or any(
        len(registered_label(own)) >= 4 and own in said for own in view.own
    )


def _scanned(view: View) -> Iterator[Finding]:
    """A picture to be scanned takes the page past every filter, to a telephone."""
    says = view.says
    if "codes" in says and view.proof is not Proof.YES and ("credentials" in says or "urgency" in says):
        pictures = any(document.images for document in view.mail.reading.documents) or any(
            part.content_type.startswith("image/") or part.content_type == "application/pdf" for part in view.mail.parts
        )
        if pictures:
            both = "credentials" in says and "urgency" in says
            score = (4.0 if both else 3.0) if view.proof is Proof.NO else (3.0 if both else 2.0)
            yield _finding("QR_PHISHING", score, "it wants a picture scanned with a telephone, for an account")


def _money(view: View, found: frozenset[str]) -> Iterator[Finding]:
    """In the name of somebody within: change an account, transfer, buy cards."""
    asked = _MONEY & view.says.keys()
    inner = bool(
        found & {"FROM_PROTECTED_NAME", "FROM_NAMES_US", "FROM_LIKE_OURS", "FROM_OURS_FORGED", "FROM_OTHER_SUFFIX"}
    )
    elsewhere = bool(found & {"REPLY_ELSEWHERE", "REPLY_FREEMAIL", "REPLY_LIKE_OURS", "FROM_NAME_ADDRESS"})
    pressing = "urgency" in view.says
    if not asked or (view.proof is Proof.YES and not inner and not view.is_freemail):
        return
    if inner or (pressing and (elsewhere or view.is_freemail)) or ("gifts" in asked and pressing and not view.is_bulk):
        score = 1.5 + inner * 1.5 + elsewhere * 1.0 + pressing * 0.5 + ("gifts" in asked) * 1.0
        yield _finding(
            "MONEY_WANTED",
            score,
            "it wants money sent or cards bought, and does not come from whom it seems to",
            "spoof",
        )


def _called(view: View) -> Iterator[Finding]:
    """An invoice in a big house's name from a free address, with a number to call: no link, and nothing for a filter to see."""
    if not view.says.keys() >= {"invoice", "call"} or view.is_reply:
        return
    if not (view.is_freemail or view.proof is Proof.NO):
        return
    claim = view.claim or view.subject_claim or view.text_claim
    if claim is not None and _TELEPHONE.search(view.text):
        # A craftsman with a free address may say how to pay and where to call; he does not call himself PayPal.
        yield _finding(
            "CALL_WANTED",
            4.5 if view.claim is not None else 2.5,
            f"an invoice in the name of {claim.brand.name}, with a number to call, and not from there",
        )
