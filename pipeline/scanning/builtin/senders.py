"""Who a message says to be from: brands, the recipient's own domain and people, names that look like theirs, answers that go elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.scanning.builtin import tables
from pipeline.scanning.builtin.links import lookalike
from pipeline.scanning.builtin.lookalike import latin, shown
from pipeline.scanning.builtin.tables import SERVICE, among, words
from pipeline.scanning.builtin.targets import host_of
from pipeline.scanning.builtin.view import Proof, View, names_of
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import organisation, registered_label

_LISTS: Final = (b"list-id", b"list-post")


def senders(view: View) -> Iterator[Finding]:
    yield from _brand(view)
    yield from _like(view)
    yield from _ours(view)
    yield from _protected(view)
    yield from _replies(view)


def _finding(name: str, score: float, text: str, kind: str = "phishing") -> Finding:
    return Finding(name=name, score=score, text=plain(text, 300), kind=kind)


def _brand(view: View) -> Iterator[Finding]:
    claim = view.claim
    if claim is not None and view.domain:
        free = 3.5 if view.is_freemail else 1.5 if view.is_partner else 2.5
        score = 0.5 if not claim.alone else 1.0 if claim.doubtful else free
        yield _finding(
            "FROM_BRAND", score, f"the sender calls himself {claim.brand.name} and writes from {shown(view.domain)}"
        )
    elif view.owner is not None and view.proof is Proof.NO and not view.is_freemail and not _is_list(view):
        yield _finding(
            "FROM_BRAND_FORGED",
            2.5,
            f"From is {shown(view.domain)}, a domain of {view.owner.name}, which does not stand behind it",
            "spoof",
        )


def _like(view: View) -> Iterator[Finding]:
    if view.domain and not view.is_own:
        finding = lookalike(view, view.domain, "FROM")
        if finding is not None:
            yield finding
        elif (
            registered_label(view.domain) in {registered_label(own) for own in view.own} and view.proof is not Proof.YES
        ):
            yield _finding(
                "FROM_OTHER_SUFFIX",
                1.0 if view.proof is Proof.NO else 0.5,
                f"the sender's domain {shown(view.domain)} is the recipient's with another ending",
            )


def _is_list(view: View) -> bool:
    return any(name in view.mail.header.index for name in _LISTS)


def _ours(view: View) -> Iterator[Finding]:
    """The recipient's own domain in From or in the sender's name."""
    if not view.domain:
        return
    if view.is_own:
        # An unanswered question says nothing, and lists pass on what our own people wrote.
        if view.proof is Proof.NO and view.mail.message.client is not None:
            # What the domain's DMARC asks for is added elsewhere.
            score = 0.5 if _is_list(view) else 2.0
            yield _finding(
                "FROM_OURS_FORGED",
                score,
                f"From is the recipient's own domain {shown(view.domain)}, and nothing shows that it was sent there",
                "spoof",
            )
        return
    named = _names_us(view)
    if named:
        yield _finding("FROM_NAMES_US", 1.5, f"the sender calls himself {named} and writes from {shown(view.domain)}")


def _names_us(view: View) -> str:
    """The recipient's own name, alone or beside words such as Support, in the name of a sender from elsewhere."""
    spoken = words(view.display)
    if not spoken:
        return ""
    for own in view.own:
        if _contains(spoken, words(own)) and own in view.display.lower():
            return own
    if len(spoken) > 8 or "@" in view.display:
        return ""
    for own in view.own:
        label = registered_label(own)
        ours = words(label)
        others = [word for word in spoken if word not in ours]
        beside = 1 <= len(others) < len(spoken) and set(ours) <= set(spoken)
        if len(label) >= 4 and beside and all(word in SERVICE for word in others):
            return view.display
    return ""


def _protected(view: View) -> Iterator[Finding]:
    name = is_protected(view.mail)
    if name and (not view.is_own or view.proof is Proof.NO):
        text = f"the sender calls himself {name}, a protected name, and writes from {shown(view.domain)}"
        # Whose own company stands behind him is more likely a namesake.
        namesake = view.proof is Proof.YES and not view.is_freemail
        yield _finding("FROM_PROTECTED_NAME", 2.5 if namesake else 4.0, text, "spoof")


def is_protected(mail: Mail) -> str:
    """The name in From of which the domain says that nobody from outside may write in it; empty: it is none."""
    names = mail.domain.protected_names if mail.domain is not None else ()
    if not names:
        return ""
    # Also with letters of other alphabets for Latin ones.
    said = names_of(mail)
    spoken = [words(form) for name in said for form in ((name,) if name.isascii() else (name, latin(name)))]
    return next(
        (name for name in names if (wanted := words(name)) and any(_contains(said, wanted) for said in spoken)), ""
    )


def _contains(spoken: list[str], wanted: list[str]) -> bool:
    """In the same order, or with the family name first."""
    turned = [*wanted[-1:], *wanted[:-1]]
    return any(spoken[at : at + len(wanted)] in (wanted, turned) for at in range(len(spoken) - len(wanted) + 1))


def _replies(view: View) -> Iterator[Finding]:
    elsewhere = [
        host
        for reply in view.replies
        if (host := _host(reply.address))
        and organisation(host) != view.organisation
        and not (view.owner is not None and view.owner.owns(host))
    ]
    if not elsewhere or not view.domain:
        return
    host = elsewhere[0]
    like = lookalike(view, host, "REPLY") if organisation(host) not in view.own_organisations else None
    if like is not None:
        yield like
    precious = (
        (view.owner is not None and not view.is_freemail)
        or view.claim is not None
        or (view.is_own and organisation(host) not in view.own_organisations)
    )
    free = bool(among(host, tables.freemail()))
    if precious and not _is_list(view):
        score = {Proof.YES: 0.3, Proof.UNKNOWN: 1.0, Proof.NO: 2.0}[view.proof]
        score += 1.0 if free and view.proof is not Proof.YES else 0.0
        if view.is_own:
            # The form on one's own web site writes so, often from a server that SPF does not name.
            score = min(score, 0.5)
        yield _finding("REPLY_ELSEWHERE", score, f"From is {shown(view.domain)}, and answers go to {shown(host)}")
    elif free and not view.is_freemail and not _is_list(view) and not view.is_own:
        yield _finding(
            "REPLY_FREEMAIL", 0.5, f"From is {shown(view.domain)}, and answers go to an address at {shown(host)}"
        )


def _host(address: str) -> str:
    return host_of(address.rpartition("@")[2]) if "@" in address else ""
