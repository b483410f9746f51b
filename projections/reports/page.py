"""A report as a page: one file with everything in it, no script, for a light and a dark screen and for paper.

The rows come first and the totals behind them, because rows are written as they are read; a link at the top leads to the totals.
Text of strangers is neutralised, then escaped. The policy in its head lets nothing be loaded or run, whatever the text contains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from pipeline.amounts import age, size
from projections.reports.chart import PARTS, bars
from projections.reports.model import STATUSES, Heading, Row
from projections.reports.svg import svg
from projections.reports.totals import Totals
from projections.reports.words import Words, words_in
from projections.reports.writing import named, one_line, shown, span, whole

CSP: Final = "default-src 'none'; style-src 'unsafe-inline'"
STYLE: Final = """\
:root{color-scheme:light dark;--ink:#1a1c1f;--dim:#5a6068;--line:#d5d9de;--paper:#fff;--band:#f4f6f8;
--delivered:#2a7f4f;--deferred:#b07908;--failed:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#a0a7af;--line:#3a4047;--paper:#15181b;--band:#1f2429;
--delivered:#5cc08a;--deferred:#e0ac3c;--failed:#f2857c}}
body{margin:2rem auto;max-width:90rem;padding:0 1rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}
p{margin:.25rem 0}.dim{color:var(--dim)}a{color:inherit}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--dim)}.n{text-align:right;white-space:nowrap}
td.reply{white-space:pre-wrap;overflow-wrap:anywhere;min-width:18rem;font:13px/1.45 ui-monospace,Menlo,Consolas,monospace}
td.time,td.id{white-space:nowrap}
.s-delivered{color:var(--delivered)}.s-deferred,.s-no_server{color:var(--deferred)}.s-failed,.s-undeliverable{color:var(--failed)}
svg{width:100%;max-width:60rem;height:auto}svg text{fill:var(--dim);font-size:12px}svg .grid{stroke:var(--line)}
svg .delivered{fill:var(--delivered)}svg .deferred{fill:var(--deferred)}svg .failed{fill:var(--failed)}
.key span::before{content:"";display:inline-block;width:.7em;height:.7em;margin:0 .4em 0 1em;background:currentColor}
.sides{display:flex;flex-wrap:wrap;gap:0 3rem}
@media print{:root{--ink:#000;--dim:#333;--line:#999;--paper:#fff}body{margin:0;max-width:none;font-size:9pt}
.jump{display:none}thead{display:table-header-group}tr,svg{break-inside:avoid}td.reply{min-width:0;font-size:8pt}}
"""


class PageWriter:
    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._words = words_in(heading.language)
        self._several = len(heading.domains) != 1

    def head(self) -> str:
        words, heading = self._words, self._heading
        title = escape(words.title.format(whose(heading, words)))
        columns = [name for name in words.columns if self._several or name != words.columns[1]]
        return (
            f'<!doctype html>\n<html lang="{escape(heading.language)}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{CSP}">\n'
            '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
            f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
            f'<p class="dim">{" · ".join(escape(line) for line in about(heading, words))}</p>\n'
            f'<p class="jump"><a href="#totals">{escape(words.jump)}</a></p>\n</header>\n<main>\n'
            f'<h2 id="attempts">{escape(words.attempts)}</h2>\n<div class="wide" tabindex="0" role="region" aria-labelledby="attempts">\n'
            f"<table>\n<thead><tr>{''.join(_head(name) for name in columns)}</tr></thead>\n<tbody>\n"
        )

    def row(self, row: Row) -> str:
        words = self._words
        status = words.statuses[row.status] + (f", {words.duplicate}" if row.duplicate else "")
        domain = f"<td>{_text(row.domain)}</td>" if self._several else ""
        sender = _text(row.sender) or ("&lt;&gt;" if row.message else "")
        lines = [_text(row.server), f"[{_text(row.address)}]" if row.address else "", _text(row.tls)]
        return (
            f'<tr><td class="time">{shown(row.at, self._heading.zone)}</td>{domain}'
            f'<td class="s-{row.status}">{escape(status)}</td><td>{sender}</td>'
            f"<td>{'<br>'.join(map(_text, row.recipients))}</td>"
            f'<td class="reply">{escape(whole(row.reply))}</td><td>{_text(row.about)}</td>'
            f"<td>{'<br>'.join(filter(None, lines))}</td>"
            f'<td class="n">{size(row.size) if row.message else ""}</td><td class="n">{row.tries or ""}</td>'
            f'<td class="n">{age(row.waited)}</td><td class="id">{_text(row.message)}</td></tr>\n'
        )

    def tail(self, totals: Totals) -> str:
        return (
            "</tbody>\n</table>\n</div>\n" + summary(self._heading, totals, self._words) + "</main>\n</body>\n</html>\n"
        )


def whose(heading: Heading, words: Words) -> str:
    return words.every if heading.every else one_line(", ".join(heading.domains))


def about(heading: Heading, words: Words) -> list[str]:
    """The period, the zone, what was asked for, when it was made."""
    lines = [words.period.format(*span(heading)), words.zone.format(named(heading.zone))]
    lines += [words.only.format(f"{name}: {one_line(text)}") for name, text in heading.wanted.words()]
    return [*lines, words.made.format(shown(heading.made, heading.zone))]


def summary(heading: Heading, totals: Totals, words: Words) -> str:
    """Totals and chart."""
    parts = [f'<h2 id="totals">{escape(words.totals)}</h2>\n']
    if not totals.rows:
        return parts[0] + f"<p>{escape(words.none)}</p>\n"
    parts += [f"<p>{escape(line)}</p>\n" for line in sentences(totals, words)]
    found = bars(heading, totals)
    key = "".join(f'<span class="s-{part}">{escape(words.statuses[part])}</span>' for part in PARTS)
    parts += [f'<h3>{escape(words.chart)}</h3>\n<p class="key">{key}</p>\n', svg(found, words), '<div class="sides">\n']
    parts.append(_counted(words.by_status, by_status(totals, words), words))
    parts.append(_counted(words.by_class, by_class(heading, totals), words))
    times = [(name, age(value)) for name, value in totals.percentiles()]
    if times:
        note = f'<p class="dim">{escape(words.times_note)}</p>\n'
        parts.append(f"<div>{_table(words.times, ('', ''), times, rights=(1,))}{note}</div>\n")
    rows = [(bar.label, *(f"{count:,}" for count in bar.counts)) for bar in found]
    columns = (words.day, *(words.statuses[part] for part in PARTS))
    return "".join(parts) + f"</div>\n{_table(words.by_day, columns, rows, rights=(1, 2, 3))}"


def sentences(totals: Totals, words: Words) -> list[str]:
    lines = [words.delivered.format(f"{totals.times.count:,}", f"{totals.recipients:,}", size(totals.bytes))]
    return lines + ([words.duplicates.format(f"{totals.duplicates:,}")] if totals.duplicates else [])


def by_status(totals: Totals, words: Words) -> list[tuple[str, int]]:
    return [(words.statuses[status], totals.statuses[status]) for status in STATUSES if totals.statuses[status]]


def by_class(heading: Heading, totals: Totals) -> list[tuple[str, int]]:
    """Each with its title: `There is no such recipient (recipient)`."""
    return [
        (f"{heading.titles[name]} ({name})" if name in heading.titles else name, count)
        for name, count in totals.classes.most_common()
    ]


def percent(part: int, whole_: int) -> str:
    return f"{100 * part / whole_:.1f} %"


def _counted(title: str, pairs: Sequence[tuple[str, int]], words: Words) -> str:
    total = sum(count for _, count in pairs)
    rows = [(one_line(name), f"{count:,}", percent(count, total)) for name, count in pairs]
    return f"<div>{_table(title, ('', words.count, words.share), rows, rights=(1, 2))}</div>\n" if rows else ""


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, rights: Sequence[int] = ()) -> str:
    heads = "".join(_head(name, right=place in rights) for place, name in enumerate(columns))
    lines = [f"<h3>{escape(title)}</h3>\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"]
    for first, *others in rows:
        cells = "".join(
            f"<td{' class=n' if place in rights else ''}>{escape(cell)}</td>" for place, cell in enumerate(others, 1)
        )
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n')
    return "".join([*lines, "</tbody>\n</table>\n"])


def _head(name: str, *, right: bool = False) -> str:
    return f'<th scope="col"{" class=n" if right else ""}>{escape(name)}</th>' if name else "<td></td>"


def _text(text: str) -> str:
    return escape(one_line(text))
