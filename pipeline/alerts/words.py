"""What an alert says, in each language: a sentence when it is raised, and one when it is over.

`{what}` is the domain, engine, view or stream, `{value}` what was measured, `{limit}` what it may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FALLBACK: Final = "en"

Sentences = Mapping[str, tuple[str, str]]

WORDS: Final[Mapping[str, Sentences]] = {
    "en": {
        "waiting": (
            "{value} messages wait for {what}, more than {limit}.",
            "Few messages wait for {what} now.",
        ),
        "oldest": (
            "A message for {what} has waited for {value}, longer than {limit}.",
            "No message for {what} has waited for long now.",
        ),
        "down": (
            "No server of {what} can be reached or takes mail, for {value} now. Its mail is kept here and tried again.",
            "A server of {what} takes mail again, or none waits for it any more.",
        ),
        "held": (
            "Nothing is sent to {what} for {value} now, because of what its server answers. Its mail is kept here.",
            "Mail for {what} is sent again.",
        ),
        "engine": (
            "{what} has not looked at any message for {value}: it does not answer.",
            "{what} looks at messages again.",
        ),
        "lag": (
            "The view {what} is {value} behind what happens; what is shown is older than it should be.",
            "The view {what} has caught up.",
        ),
        "work": (
            "Work in the stream {what} has waited for {value}: nobody does it, or too slowly.",
            "Work in the stream {what} is done in time again.",
        ),
        "disk": (
            "Only {value} of the disk is free on {what}, less than {limit}. When it is full no new mail is taken.",
            "Enough of the disk is free on {what} again.",
        ),
        "memory": (
            "Redis uses {value} of its memory, more than {limit}. At 90 % no new mail is taken.",
            "Redis has enough memory again.",
        ),
        "parked": (
            "{value} pieces of work are set aside because they failed again and again, for a reason of our own.",
            "Nothing is set aside any more.",
        ),
        "receiver": (
            "No receiver has been heard of for {value}: perhaps no mail is taken.",
            "A receiver was heard of again.",
        ),
        "certificate": (
            "The TLS certificate of {what} ends in {value}.",
            "The TLS certificate of {what} was renewed.",
        ),
        "books": (
            "The books of {what} are wrong: {value}. A message may be lost, or counted twice.",
            "The books of {what} balance again.",
        ),
        "difference": (
            "The view {what} is not what the events say: {value}.",
            "The view {what} is what the events say again.",
        ),
        "archive": (
            "The archive has been behind for {value}, and the log in Redis grows.",
            "The archive has caught up.",
        ),
    },
    "de": {
        "waiting": (
            "Für {what} warten {value} Nachrichten, mehr als {limit}.",
            "Für {what} warten nur noch wenige Nachrichten.",
        ),
        "oldest": (
            "Eine Nachricht für {what} wartet seit {value}, länger als {limit}.",
            "Keine Nachricht für {what} wartet mehr seit langem.",
        ),
        "down": (
            "Kein Server von {what} ist erreichbar oder nimmt Mail an, seit {value}. Die Mail bleibt hier und wird weiter versucht.",
            "Ein Server von {what} nimmt wieder Mail an, oder es wartet keine mehr.",
        ),
        "held": (
            "An {what} wird seit {value} nichts gesendet, wegen der Antworten des Servers. Die Mail bleibt hier.",
            "An {what} wird wieder Mail gesendet.",
        ),
        "engine": (
            "{what} hat seit {value} keine Nachricht geprüft: es antwortet nicht.",
            "{what} prüft wieder Nachrichten.",
        ),
        "lag": (
            "Die Ansicht {what} ist {value} hinter dem Geschehen zurück.",
            "Die Ansicht {what} ist wieder auf dem Stand.",
        ),
        "work": (
            "Arbeit im Strom {what} wartet seit {value}: niemand erledigt sie, oder zu langsam.",
            "Arbeit im Strom {what} wird wieder rechtzeitig erledigt.",
        ),
        "disk": (
            "Auf {what} sind nur noch {value} der Platte frei, weniger als {limit}. Ist sie voll, wird keine Mail angenommen.",
            "Auf {what} ist wieder genug von der Platte frei.",
        ),
        "memory": (
            "Redis belegt {value} seines Speichers, mehr als {limit}. Ab 90 % wird keine Mail angenommen.",
            "Redis hat wieder genug Speicher.",
        ),
        "parked": (
            "{value} Arbeiten sind beiseitegelegt, weil sie immer wieder aus einem eigenen Grund misslangen.",
            "Nichts ist mehr beiseitegelegt.",
        ),
        "receiver": (
            "Von keinem Empfänger wurde seit {value} gehört: vielleicht wird keine Mail angenommen.",
            "Von einem Empfänger wurde wieder gehört.",
        ),
        "certificate": (
            "Das TLS-Zertifikat von {what} endet in {value}.",
            "Das TLS-Zertifikat von {what} wurde erneuert.",
        ),
        "books": (
            "Die Bücher von {what} stimmen nicht: {value}. Eine Nachricht könnte verloren oder doppelt gezählt sein.",
            "Die Bücher von {what} stimmen wieder.",
        ),
        "difference": (
            "Die Ansicht {what} ist nicht das, was die Ereignisse sagen: {value}.",
            "Die Ansicht {what} stimmt wieder mit den Ereignissen überein.",
        ),
        "archive": (
            "Das Archiv ist seit {value} im Rückstand, und das Log in Redis wächst.",
            "Das Archiv ist wieder auf dem Stand.",
        ),
    },
}


def sentence(rule: str, *, over: bool, what: str, value: str = "", limit: str = "", language: str = FALLBACK) -> str:
    """The sentence of a rule; of one that an older or newer version has, its name."""
    sentences = WORDS.get(language, WORDS[FALLBACK]).get(rule)
    if sentences is None:
        return f"{rule} {what} {value}".strip()
    return sentences[over].format(what=what, value=value, limit=limit)
