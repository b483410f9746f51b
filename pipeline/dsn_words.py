"""What a report says to a person: the same in each language, and the words of servers as they are in all of them.

It is written to somebody who did nothing wrong and is no expert: who did not get what, what the server said, what that means, and
what can be done by the one person who can do something, the recipient's postmaster. The subjects are ASCII in every language, so
that no mail program of any age shows something else.
"""

from __future__ import annotations

from typing import Final

import msgspec

FALLBACK: Final = "en"


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """`{}` is filled in. Plain text: it is wrapped where it is used."""

    preamble: str
    """For a mail program that knows no MIME: ASCII."""
    subject_failed: str
    subject_delayed: str
    subject_relayed: str
    gateway: str
    failed_one: str
    failed_all: str
    failed_some: str
    delayed: str
    relayed: str
    received: str
    subject: str
    refused: str
    expired: str
    returned: str
    waits: str
    passed_on: str
    no_server: str
    said: str
    happened: str
    means: str
    remedy: str
    closing: str


WORDS: Final = {
    "en": Words(
        preamble="This is a report about a message that you sent, in MIME format.",
        subject_failed="Undelivered mail: returned to sender",
        subject_delayed="Delayed mail: not delivered yet, you need not send it again",
        subject_relayed="Mail relayed: there will be no report of its delivery",
        gateway="This is the mail gateway {}.",
        failed_one="The message that you sent could not be delivered to the recipient below. It will not be tried again.",
        failed_all="The message that you sent could not be delivered to the {} recipients below. It will not be tried again.",
        failed_some="The message that you sent could not be delivered to {} of the recipients below. It will not be tried again.",
        delayed="The message that you sent could not be delivered yet. You need not send it again: we go on trying until {}.",
        relayed="You asked to be told when the message that you sent was delivered. This is all that can be said of it.",
        received="Received by us:",
        subject="Subject:",
        refused="was refused by the server that is responsible for it.",
        expired="could not be delivered in the time we try, and we have given up.",
        returned="was returned by the postmaster.",
        waits="has not got it yet; it waits here.",
        passed_on="was accepted by the next server, which does not send reports: you will not hear whether it arrived.",
        no_server="No server could be chosen for it:",
        said="The server {} said:",
        happened="The server {} was tried last, and this happened:",
        means="What this means: {}.",
        remedy="For the postmaster of {}: {}",
        closing="If this does not tell you what to do, please show this report to the postmaster of the recipient's domain. It shows"
        " what happened at their mail server.",
    ),
    "de": Words(
        preamble="Dies ist ein Bericht ueber eine Nachricht von Ihnen, im MIME-Format.",
        subject_failed="Nicht zugestellt: Ihre Nachricht kam nicht an",
        subject_delayed="Noch nicht zugestellt: bitte nicht noch einmal senden",
        subject_relayed="Weitergegeben: ob Ihre Nachricht ankommt, wird nicht gemeldet",
        gateway="Dies ist das Mail-Gateway {}.",
        failed_one="Ihre Nachricht konnte dem Empfänger unten nicht zugestellt werden. Es wird nicht weiter versucht.",
        failed_all="Ihre Nachricht konnte den {} Empfängern unten nicht zugestellt werden. Es wird nicht weiter versucht.",
        failed_some="Ihre Nachricht konnte {} der Empfänger unten nicht zugestellt werden. Es wird nicht weiter versucht.",
        delayed="Ihre Nachricht konnte noch nicht zugestellt werden. Bitte senden Sie sie nicht noch einmal: Wir versuchen es weiter bis"
        " {}.",
        relayed="Sie wollten wissen, wann Ihre Nachricht zugestellt ist. Mehr als das Folgende lässt sich darüber nicht sagen.",
        received="Bei uns seit:",
        subject="Betreff:",
        refused="wurde von dem Server abgewiesen, der für ihn zuständig ist.",
        expired="konnte in der Zeit, in der wir es versuchen, nicht erreicht werden; wir haben aufgegeben.",
        returned="wurde vom Postmaster zurückgegeben.",
        waits="hat sie noch nicht erhalten; sie wartet hier.",
        passed_on="wurde vom nächsten Server angenommen, der keine Berichte verschickt: Ob sie ankam, werden Sie nicht erfahren.",
        no_server="Für diese Adresse ließ sich kein Server finden:",
        said="Der Server {} antwortete:",
        happened="Zuletzt wurde der Server {} versucht, dabei geschah dies:",
        means="Das heißt: {}.",
        remedy="Für den Postmaster von {}: {}",
        closing="Wenn Ihnen das nicht weiterhilft, zeigen Sie diesen Bericht bitte dem Postmaster der Domain des Empfängers. Er zeigt,"
        " was bei seinem Mailserver geschah.",
    ),
}  # fmt: skip


def words_in(language: str) -> Words:
    return WORDS.get(language, WORDS[FALLBACK])
