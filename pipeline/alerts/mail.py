"""A mail about alerts: those of one rule that came up together, for one addressee. Pure."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.alerts.notices import CONTACT, Notice
from pipeline.alerts.words import FALLBACK, sentence
from pipeline.ownmail import Letter
from pipeline.units import SECOND

NAMED: Final = 50
"""Alerts that are told one by one; of the others there is the number."""
WIDTH: Final = 76


class Words(msgspec.Struct, frozen=True, kw_only=True):
    one_raised: str
    one_over: str
    many: str
    test: str
    gateway: str
    raised: str
    over: str
    since: str
    said: str
    more: str
    operator: str
    contact: str


WORDS: Final[Mapping[str, Words]] = {
    "en": Words(
        one_raised="Alert: {}",
        one_over="Over: {}",
        many="Alert: {raised} raised, {over} over ({rule})",
        test="Test: this is how an alert looks. Nothing is wrong.",
        gateway="This is the mail gateway {}.",
        raised="ALERT",
        over="OVER",
        since="it was so since {}",
        said="What was heard:",
        more="And {} more of the same kind.",
        operator="`gatepost alerts` shows what is wrong now, and `gatepost alerts history` what was.",
        contact="You read this because your address is the contact outside of {}, for what its own mail could not tell you.",
    ),
    "de": Words(
        one_raised="Alarm: {}",
        one_over="Vorbei: {}",
        many="Alarm: {raised} neu, {over} vorbei ({rule})",
        test="Probe: So sieht ein Alarm aus. Alles ist in Ordnung.",
        gateway="Dies ist das Mail-Gateway {}.",
        raised="ALARM",
        over="VORBEI",
        since="es war so seit {}",
        said="Die Antwort dazu:",
        more="Und {} weitere derselben Art.",
        operator="`gatepost alerts` zeigt, was gerade nicht in Ordnung ist, und `gatepost alerts history`, was es war.",
        contact="Sie lesen dies, weil Ihre Adresse der Kontakt außerhalb von {} ist, für das, was deren eigene Mail Ihnen nicht"
        " sagen könnte.",
    ),
}  # fmt: skip


def letter(notices: Sequence[Notice], *, hostname: str) -> Letter:
    """`notices`: of one rule, to one address, at least one."""
    way = notices[0].way
    words = WORDS.get(way.language, WORDS[FALLBACK])
    lines = [words.gateway.format(hostname), ""]
    for notice in notices[:NAMED]:
        lines += [*_told(notice, words, way.language), ""]
    if len(notices) > NAMED:
        lines += [words.more.format(len(notices) - NAMED), ""]
    if way.way == CONTACT:
        domains = ", ".join(list(dict.fromkeys(notice.domain for notice in notices))[:NAMED])
        lines += textwrap.wrap(words.contact.format(domains), WIDTH)
    else:
        lines += textwrap.wrap(words.operator, WIDTH)
    return Letter(
        to=way.to, subject=_subject(notices, words, way.language), text="\n".join(lines), language=way.language
    )


def _subject(notices: Sequence[Notice], words: Words, language: str) -> str:
    if len(notices) == 1:
        (notice,) = notices
        first = _sentence(notice, words, language).partition(". ")[0].removesuffix(".")
        return (words.one_over if notice.over else words.one_raised).format(first)
    over = sum(notice.over for notice in notices)
    return words.many.format(raised=len(notices) - over, over=over, rule=notices[0].rule)


def _told(notice: Notice, words: Words, language: str) -> list[str]:
    """When, what, and what was heard."""
    head = f"{_written(notice.at)}  {words.over if notice.over else words.raised}"
    if notice.over and notice.since:
        head += f" ({words.since.format(_written(notice.since))})"
    lines = [
        head,
        *textwrap.wrap(_sentence(notice, words, language), WIDTH, initial_indent="  ", subsequent_indent="  "),
    ]
    if notice.detail and not notice.over:
        lines += textwrap.wrap(f"{words.said} {notice.detail}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines


def _sentence(notice: Notice, words: Words, language: str) -> str:
    if notice.test:
        return words.test
    return sentence(
        notice.rule, over=notice.over, what=notice.what, value=notice.value, limit=notice.limit, language=language
    )


def _written(at: int) -> str:
    return dt.datetime.fromtimestamp(at // SECOND, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
