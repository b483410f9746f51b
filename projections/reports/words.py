"""What a report says to people, on a page and in a mail; a terminal and the names of fields are English."""

from __future__ import annotations

from typing import Final

import msgspec

from projections.reports.model import DEFERRED, DELIVERED, FAILED, NO_SERVER, UNDELIVERABLE

FALLBACK: Final = "en"


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """`{}` is filled in."""

    title: str
    period: str
    """From the first day to the last."""
    zone: str
    made: str
    every: str
    only: str
    totals: str
    attempts: str
    none: str
    by_status: str
    by_class: str
    by_day: str
    times: str
    times_note: str
    delivered: str
    """Messages, copies, octets."""
    duplicates: str
    chart: str
    chart_described: str
    columns: tuple[str, ...]
    """Of the rows, in order; the second is left out where there is one domain."""
    statuses: dict[str, str]
    duplicate: str
    no_reply: str
    count: str
    share: str
    day: str
    subject: str
    attached: str
    cut: str
    closing: str
    jump: str


WORDS: Final = {
    "en": Words(
        title="Outbound mail of {}",
        period="{} to {}",
        zone="time zone {}",
        made="made {}",
        every="all domains",
        only="only {}",
        totals="Totals",
        attempts="Attempts",
        none="Nothing was tried in this time.",
        by_status="By status",
        by_class="What the answers were about",
        by_day="By day",
        times="Time from received to delivered",
        times_note="Percentiles are exact to 1 %.",
        delivered="Delivered: messages {}, recipients {}, {}",
        duplicates="Perhaps delivered although no answer came, so that they may come twice: {}",
        chart="Attempts over time",
        chart_described="Bars from {} to {}: delivered, deferred, failed. The highest is {}. The table below has the same numbers.",
        columns=("time", "domain", "status", "from", "to", "answer", "class", "server, TLS", "size", "try", "in the queue", "id"),
        statuses={
            DELIVERED: "delivered", DEFERRED: "deferred", NO_SERVER: "no server", FAILED: "failed",
            UNDELIVERABLE: "undeliverable",
        },
        duplicate="may come twice",
        no_reply="no answer",
        count="number",
        share="share",
        day="day",
        subject="Outbound mail of {}, {}",
        attached="Each attempt is a row of the attached file.",
        cut="The attached file has the first {} of {} rows: more would be too large for a mail."
        " All of them: gatepost report outbound --domain {} --from {} --to {}",
        closing="This report was asked for by who runs {}. `gatepost report schedule list` shows all such reports.",
        jump="To the totals",
    ),
    "de": Words(
        title="Ausgehende Mail von {}",
        period="{} bis {}",
        zone="Zeitzone {}",
        made="erstellt {}",
        every="allen Domains",
        only="nur {}",
        totals="Summen",
        attempts="Versuche",
        none="In dieser Zeit wurde nichts versucht.",
        by_status="Nach Ergebnis",
        by_class="Worum es in den Antworten ging",
        by_day="Nach Tagen",
        times="Zeit vom Empfang bis zur Zustellung",
        times_note="Die Perzentile sind auf 1 % genau.",
        delivered="Zugestellt: Nachrichten {}, Empfänger {}, {}",
        duplicates="Vielleicht zugestellt, obwohl keine Antwort kam, sodass sie doppelt ankommen können: {}",
        chart="Versuche im Lauf der Zeit",
        chart_described="Balken von {} bis {}: zugestellt, aufgeschoben, gescheitert. Der höchste ist {}. Die Tabelle darunter hat dieselben Zahlen.",
        columns=(
            "Zeit", "Domain", "Ergebnis", "von", "an", "Antwort", "Klasse", "Server, TLS", "Größe", "Versuch", "Wartezeit", "Id",
        ),
        statuses={
            DELIVERED: "zugestellt", DEFERRED: "aufgeschoben", NO_SERVER: "kein Server", FAILED: "gescheitert",
            UNDELIVERABLE: "unzustellbar",
        },
        duplicate="kommt vielleicht doppelt",
        no_reply="keine Antwort",
        count="Anzahl",
        share="Anteil",
        day="Tag",
        subject="Ausgehende Mail von {}, {}",
        attached="Jeder Versuch ist eine Zeile der angehängten Datei.",
        cut="Die angehängte Datei hat die ersten {} von {} Zeilen: Mehr wäre für eine Mail zu groß."
        " Alle: gatepost report outbound --domain {} --from {} --to {}",
        closing="Um diesen Bericht hat gebeten, wer {} betreibt. `gatepost report schedule list` zeigt alle solchen Berichte.",
        jump="Zu den Summen",
    ),
}  # fmt: skip


def words_in(language: str) -> Words:
    return WORDS.get(language, WORDS[FALLBACK])
