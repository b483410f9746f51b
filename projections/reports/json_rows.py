"""A report as one JSON document, or as a line of JSON for each row. ASCII, so that no text of a stranger does anything to a terminal."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec

from projections.reports.model import Heading, Row
from projections.reports.totals import Totals, totals_form
from projections.reports.writing import exact, named


def row_form(row: Row, zone: dt.tzinfo) -> dict[str, Any]:
    """The field names are promises."""
    return {
        "at": exact(row.at, zone),
        "domain": row.domain,
        "status": row.status,
        "id": row.message or None,
        "sender": row.sender,
        "recipients": row.recipients,
        "size": row.size,
        "attempt": row.tries,
        "server": row.server,
        "address": row.address,
        "tls": row.tls,
        "stage": row.stage,
        "code": row.code or None,
        "enhanced": row.enhanced,
        "class": row.about or None,
        "reason": row.reason or None,
        "reply": row.reply,
        "seconds_in_queue": round(row.waited / 1e9, 6),
        "possible_duplicate": row.duplicate,
    }


def heading_form(heading: Heading) -> dict[str, Any]:
    zone = heading.zone
    return {
        "domains": heading.domains,
        "from": exact(heading.start, zone),
        "before": exact(heading.end, zone),
        "zone": named(zone),
        "made": exact(heading.made, zone),
        "only": dict(heading.wanted.words()),
    }


def dumped(form: Any) -> str:
    try:
        text = msgspec.json.encode(form)
    except UnicodeEncodeError:  # a surrogate
        return json.dumps(form)
    return text.decode() if text.isascii() else json.dumps(form)


class JsonWriter:
    """{"report": ..., "rows": [...], "totals": ...}, a row to a line."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._separator = "\n"

    def head(self) -> str:
        return f'{{"report": {dumped(heading_form(self._heading))},\n"rows": ['

    def row(self, row: Row) -> str:
        text = self._separator + dumped(row_form(row, self._heading.zone))
        self._separator = ",\n"
        return text

    def tail(self, totals: Totals) -> str:
        return f'\n],\n"totals": {dumped(totals_form(totals))}}}\n'


class JsonLinesWriter:
    """Each line says what it is: `type` report (the first), attempt, totals (the last)."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading

    def head(self) -> str:
        return dumped({"type": "report", **heading_form(self._heading)}) + "\n"

    def row(self, row: Row) -> str:
        return dumped({"type": "attempt", **row_form(row, self._heading.zone)}) + "\n"

    def tail(self, totals: Totals) -> str:
        return dumped({"type": "totals", **totals_form(totals)}) + "\n"
