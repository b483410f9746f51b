"""What was seen at one address of one server, and what it means. Pure; `now` is ns since 1970.

A server is bad when mail does not get through, or not all of it; what only costs time, secrecy or comfort is a warning. So a 4xx is a
warning, since the next attempt may succeed, and a certificate that nobody vouches for is one too, unless the route insists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipeline.probing.certificate import covers
from pipeline.probing.model import Answer, Finding, Plan, Step, Visit, Weight
from pipeline.probing.replies import features, largest, named
from pipeline.route import literal
from pipeline.units import SECOND

SLOW: Final = 5 * SECOND
"""Before a greeting: each new connection waits so long. Filters against spam make strangers wait for about 6 s."""
SOON: Final = 21 * 86400 * SECOND
"""Before its end, a certificate is worth a word: a renewal at 30 days has failed by then."""
DATES: Final = ("expired", "not yet valid")
"""OpenSSL's words for what the dates of the certificate itself say as well."""
NAMES_SHOWN: Final = 5


def about(visit: Visit, plan: Plan, now: int, *, reached_otherwise: bool = False) -> Iterator[Finding]:
    """`reached_otherwise`: another address of the same server answers."""
    opened = visit.answer(Step.CONNECT)
    if opened is None:
        return
    if opened.text:
        yield _not_reached(visit, opened, reached_otherwise=reached_otherwise)
        return
    yield from _greeting(visit, plan)
    yield from _offers(visit, plan)
    yield from _encryption(visit, plan, now)
    yield from _login(visit)
    yield from _mail(visit, plan)
    yield from _manners(visit)
    yield from _quick(visit)
    yield from _sent(visit, plan)


def finding(kind: str, weight: Weight, visit: Visit, answer: Answer | None = None, /, **values: Any) -> Finding:
    return Finding(
        kind=kind, weight=weight, where=visit.place, source=visit.source.address, values=values, answer=answer,
        software=visit.software,
    )  # fmt: skip


def _not_reached(visit: Visit, opened: Answer, *, reached_otherwise: bool) -> Finding:
    if visit.no_way and visit.source.address:
        return finding("no-source", Weight.BAD, visit, source=visit.source.address, words=_first(opened))
    if visit.no_way:
        return finding("no-way", Weight.WARNING if reached_otherwise else Weight.BAD, visit, family=visit.family)
    weight = Weight.WARNING if reached_otherwise else Weight.BAD
    return finding("connect", weight, visit, opened, words=_first(opened), seconds=opened.took / SECOND)


def _greeting(visit: Visit, plan: Plan) -> Iterator[Finding]:
    greeting = visit.answer(Step.GREETING)
    if greeting is None:
        return
    if greeting.code != 220:
        kind = "greeting-silent" if greeting.silent else "greeting-refused"
        yield finding(kind, Weight.BAD, visit, greeting, words=_first(greeting), seconds=greeting.took / SECOND)
        return
    yield from _ourselves(visit, plan)
    if greeting.took >= SLOW:
        yield finding("greeting-slow", Weight.WARNING, visit, seconds=greeting.took / SECOND)
    else:
        opened = visit.answer(Step.CONNECT)
        took = (opened.took if opened else 0) + greeting.took
        yield finding("greeting", Weight.GOOD, visit, seconds=took / SECOND, words=_first(greeting))
    if visit.stray:
        yield finding("stray", Weight.WARNING, visit, words=visit.stray.partition("\n")[0])


def _ourselves(visit: Visit, plan: Plan) -> Iterator[Finding]:
    """A server that calls itself as we do is we, or will take us for itself and say that mail loops."""
    said = [answer for answer in (visit.answer(Step.GREETING), visit.answer(Step.EHLO)) if answer and answer.positive]
    if any(named(answer.text) == plan.hostname.lower().rstrip(".") for answer in said):
        yield finding("loop", Weight.BAD, visit, name=plan.hostname)


def _offers(visit: Visit, plan: Plan) -> Iterator[Finding]:
    ehlo = visit.answer(Step.EHLO)
    if ehlo is None:
        return
    if not ehlo.positive:
        helo = visit.answer(Step.HELO)
        if helo is not None and helo.positive:
            yield finding("no-ehlo", Weight.WARNING, visit, ehlo, words=_first(ehlo))
        else:
            yield finding("ehlo", Weight.BAD, visit, helo or ehlo, words=_first(helo or ehlo))
        return
    offered = features(ehlo.text)
    names = ", ".join(name for name in offered if name not in ("SIZE", "STARTTLS", "HELP"))
    yield finding("offers", Weight.GOOD, visit, names=names or "-")
    for name in ("PIPELINING", "8BITMIME", "SMTPUTF8"):
        if name not in offered:
            weight = Weight.GOOD if name == "SMTPUTF8" else Weight.WARNING
            yield finding(f"no-{name.lower()}", weight, visit)
    size = largest(offered)
    if size is None:
        yield finding("size-unsaid", Weight.WARNING, visit, wanted=plan.size)
    elif 0 < size < plan.size:
        # The limit once more as a command takes it, without what separates thousands.
        yield finding(
            "size-small", Weight.WARNING, visit, size=size, wanted=plan.size, limit=str(size), domain=plan.domain
        )
    elif size == 0:
        yield finding("size-any", Weight.GOOD, visit)
    else:
        yield finding("size", Weight.GOOD, visit, size=size, wanted=plan.size)


def _encryption(visit: Visit, plan: Plan, now: int) -> Iterator[Finding]:
    if plan.plain:
        return
    demanded = Weight.BAD if plan.encrypted or plan.verified else Weight.WARNING
    ehlo = visit.answer(Step.EHLO)
    if visit.tls is None:
        asked = visit.answer(Step.STARTTLS)
        if asked is not None:
            yield finding("starttls-refused", demanded, visit, asked, words=_first(asked))
        elif any(said is not None and said.positive for said in (ehlo, visit.answer(Step.HELO))):
            yield finding("no-starttls", demanded, visit)
        return
    if visit.tls.failed:
        yield finding("tls-failed", demanded, visit, words=visit.tls.failed)
        return
    yield finding("tls", Weight.GOOD, visit, version=visit.tls.version, cipher=visit.tls.cipher)
    yield from _certificate(visit, plan, now)


def _certificate(visit: Visit, plan: Plan, now: int) -> Iterator[Finding]:
    assert visit.tls is not None
    weight = Weight.BAD if plan.verified else Weight.WARNING
    found = visit.tls.certificate
    if found is None:
        yield finding("certificate-unreadable", weight, visit)
        return
    names = ", ".join(found.names[:NAMES_SHOWN]) or "-"
    valid = found.not_before <= now <= found.not_after
    if found.not_after < now:
        yield finding("certificate-expired", weight, visit, days=(now - found.not_after) // (86400 * SECOND))
    elif found.not_before > now:
        yield finding("certificate-early", weight, visit)
    elif found.not_after < now + SOON:
        yield finding("certificate-soon", Weight.WARNING, visit, days=(found.not_after - now) // (86400 * SECOND))
    # Who is named by an address has no name that could be compared.
    fits = covers(found.names, visit.host) or (literal(visit.host) is not None and not plan.verified)
    if not fits:
        yield finding("certificate-name", weight, visit, names=names, host=visit.host)
    if found.self_signed:
        yield finding("certificate-self-signed", weight, visit, names=names)
    elif visit.tls.untrusted and (valid or not any(words in visit.tls.untrusted for words in DATES)):
        yield finding("certificate-untrusted", weight, visit, words=visit.tls.untrusted, issuer=found.issuer)
    elif fits and valid:
        days = (found.not_after - now) // (86400 * SECOND)
        yield finding("certificate", Weight.GOOD, visit, names=names, issuer=found.issuer, days=days)


def _login(visit: Visit) -> Iterator[Finding]:
    said = visit.answer(Step.AUTH)
    if said is not None and said.positive:
        yield finding("login", Weight.GOOD, visit)
    elif said is not None:
        yield finding("login-failed", Weight.BAD, visit, said, words=_first(said))


def _mail(visit: Visit, plan: Plan) -> Iterator[Finding]:
    mail = visit.answer(Step.MAIL)
    if mail is not None and not mail.positive:
        yield _turned_down("sender", visit, mail, sender=plan.sender)
    known = visit.answer(Step.KNOWN)
    if known is not None and known.positive:
        yield finding("recipient", Weight.GOOD, visit, address=plan.known)
    elif known is not None:
        yield _turned_down("recipient" if plan.listed else "postmaster-only", visit, known, address=plan.known)
    yield from _unknown(visit, plan, known)
    postmaster = visit.answer(Step.POSTMASTER)
    if postmaster is not None and postmaster.positive:
        yield finding("postmaster", Weight.GOOD, visit, address=plan.postmaster)
    elif postmaster is not None:
        yield finding(
            "postmaster-refused", Weight.WARNING, visit, postmaster, address=plan.postmaster, words=_first(postmaster)
        )
    yield from _bounces(visit)


def _turned_down(kind: str, visit: Visit, answer: Answer, **values: Any) -> Finding:
    """Refused, put off, or not answered."""
    ending = "refused" if answer.refused else "silent" if answer.silent else "deferred"
    # A missing postmaster says nothing about the people.
    mild = ending == "deferred" or (ending == "refused" and kind == "postmaster-only")
    weight = Weight.WARNING if mild else Weight.BAD
    return finding(f"{kind}-{ending}", weight, visit, answer, words=_first(answer), **values)


def _unknown(visit: Visit, plan: Plan, known: Answer | None) -> Iterator[Finding]:
    random = visit.answer(Step.RANDOM)
    if random is None or known is None or not known.positive:
        return  # who takes nobody does not tell whom it knows
    if random.positive:
        kind, weight = ("catch-all-both", Weight.GOOD) if plan.catch_all else ("catch-all", Weight.WARNING)
        yield finding(kind, weight, visit, address=plan.random)
    elif random.refused:
        kind, weight = ("catch-all-here", Weight.WARNING) if plan.catch_all else ("unknown-refused", Weight.GOOD)
        yield finding(kind, weight, visit, address=plan.random, words=_first(random), domain=plan.domain)
    else:
        yield finding("unknown-unsaid", Weight.WARNING, visit, random, address=plan.random, words=_first(random))


def _bounces(visit: Visit) -> Iterator[Finding]:
    sender, recipient = visit.answer(Step.BOUNCE), visit.answer(Step.BOUNCE_RCPT)
    if sender is None:
        return
    if not sender.positive:
        yield _turned_down("bounce", visit, sender)
        return
    known = visit.answer(Step.KNOWN)
    if recipient is None or known is None or not known.positive:
        return  # its refusal is about the recipient
    if recipient.positive:
        yield finding("bounces", Weight.GOOD, visit)
    else:
        yield _turned_down("bounce", visit, recipient)


def _manners(visit: Visit) -> Iterator[Finding]:
    reset, quit_ = visit.answer(Step.RSET), visit.answer(Step.QUIT)
    if reset is not None and not reset.positive:
        yield finding("rset", Weight.WARNING, visit, words=_first(reset))
    if quit_ is not None and not quit_.positive:
        yield finding("quit", Weight.WARNING, visit, words=_first(quit_))
    if reset is not None and quit_ is not None and reset.positive and quit_.positive:
        yield finding("manners", Weight.GOOD, visit)


def _quick(visit: Visit) -> Iterator[Finding]:
    quick = visit.quick
    if quick is None:
        return
    if quick.refused is not None:
        yield finding(
            "quick-refused", Weight.WARNING, visit, quick.refused, greeted=quick.greeted, words=_first(quick.refused)
        )
    elif quick.greeted < quick.wanted:
        yield finding("quick-slow", Weight.WARNING, visit, greeted=quick.greeted, seconds=quick.took / SECOND)
    else:
        yield finding("quick", Weight.GOOD, visit, greeted=quick.greeted, seconds=quick.took / SECOND)


def _sent(visit: Visit, plan: Plan) -> Iterator[Finding]:
    tried = [visit.answer(step) for step in (Step.SEND_MAIL, Step.SEND_RCPT, Step.DATA, Step.DOT)]
    made = [answer for answer in tried if answer is not None]
    if not made:
        return
    last = made[-1]
    if last.step == Step.DOT and last.positive:
        yield finding("sent", Weight.GOOD, visit, id=plan.send, address=plan.known, words=_first(last))
    elif last.step == Step.DOT and last.silent:
        yield finding("sent-unknown", Weight.WARNING, visit, last, id=plan.send, words=_first(last))
    elif last.step == Step.DOT or not (last.positive or last.code == 354):
        yield finding("sent-refused", Weight.BAD, visit, last, id=plan.send, words=_first(last))


def _first(answer: Answer) -> str:
    """Its first line: all of it is in the transcript."""
    return answer.text.partition("\n")[0]
