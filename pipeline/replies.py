"""Every reply that we send, named.

A reply is for a stranger: it says what the client has to know, never what went wrong inside, and never a byte that the
client sent. The enhanced status code (RFC 3463, RFC 2034) has the class of the code; only replies that are no outcome
(3xx), the greeting and the answers to HELO and EHLO have none. Refusals are written down under their names (`Refused.reason`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


class Reply:
    """Never changed after it was made."""

    __slots__ = ("code", "enhanced", "name", "text", "wire")

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.wire = (
            f"{code} {enhanced} {text}\r\n".encode("ascii") if enhanced else f"{code} {text}\r\n".encode("ascii")
        )
        """The line as it is sent, made once."""
        self.name = ""
        """What it is called here, in lower case; empty for those that are made on the way."""

    def __repr__(self) -> str:
        return f"Reply({self.code}, {self.enhanced!r}, {self.text!r})"


# What went well.
BYE: Final = Reply(221, "2.0.0", "Bye")
OK: Final = Reply(250, "2.0.0", "OK")
SENDER_OK: Final = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient OK")
READY_FOR_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
CANNOT_VERIFY: Final = Reply(252, "2.0.0", "Cannot verify; send the message and see")
HELP: Final = Reply(214, "2.0.0", "HELO EHLO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT")
START_DATA: Final = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

# Our trouble, or our limits: the client keeps the message and comes again.
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Service is going down, try again later")
TOO_MANY_SESSIONS: Final = Reply(421, "4.7.0", "Too many sessions, try again later")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many commands that led to no message, closing the connection")
IDLE: Final = Reply(421, "4.4.2", "Timeout, closing the connection")
TOO_SLOW: Final = Reply(421, "4.4.2", "This has taken too long, closing the connection")
SESSION_OVER: Final = Reply(421, "4.4.2", "This session has lasted long enough: connect again for the next message")
NOT_SMTP: Final = Reply(421, "4.7.0", "This is a mail server and that was HTTP, closing the connection")
FLOODED: Final = Reply(421, "4.7.0", "Too much data, closing the connection")
TROUBLE: Final = Reply(451, "4.3.0", "Temporary trouble here, try again later")
STORE_FULL: Final = Reply(452, "4.3.1", "Out of storage, try again later")
OVERLOADED: Final = Reply(452, "4.3.1", "More mail than can be handled now, try again later")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients")

# Limits of a session, and of a client in a time. An honest postmaster reads what to change.
ENOUGH_MESSAGES: Final = Reply(421, "4.7.0", "Enough messages over this connection: connect again for the next")
ENOUGH_UNKNOWN: Final = Reply(
    421, "4.7.0", "Too many unknown recipients in this session: remove them from your list, then connect again"
)
TOO_MANY_CONNECTIONS: Final = Reply(
    421, "4.7.0", "Too many connections from your address at once: open fewer, and close those you do not use"
)
CONNECTING_TOO_FAST: Final = Reply(
    421, "4.7.0", "Too many connections from your address in a minute: send several messages over each"
)
WASTED_TOO_MUCH: Final = Reply(
    421,
    "4.7.0",
    "Too many commands from your address led to no message: look at what is sent there, and try again later",
)
UNKNOWN_TOO_OFTEN: Final = Reply(
    421, "4.7.0", "Too many unknown recipients from your address: remove them from your list, and try again later"
)
MESSAGES_TOO_FAST: Final = Reply(
    451, "4.7.1", "Too many messages from your address in a minute: send more slowly, and try this one again later"
)
RECIPIENTS_TOO_FAST: Final = Reply(
    451, "4.7.1", "Too many recipients from your address in a minute: send more slowly, and try this one again later"
)

# Come again: a program that sends spam does not.
GREYLISTED: Final = Reply(451, "4.7.1", "Not known here yet, try again in some minutes (greylisting)")

# The client's mistakes.
BAD_SYNTAX: Final = Reply(500, "5.5.2", "Syntax error")
BAD_LINE_END: Final = Reply(500, "5.5.2", "Lines must end with CR LF")
LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Command line too long")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.2", "Command not recognised")
NO_ARGUMENT_ALLOWED: Final = Reply(501, "5.5.4", "No argument allowed")
HELO_SYNTAX: Final = Reply(501, "5.5.4", "Syntax: HELO or EHLO, and a host name or address literal")
MAIL_SYNTAX: Final = Reply(501, "5.5.2", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX: Final = Reply(501, "5.5.2", "Syntax: RCPT TO:<address>")
BAD_SENDER: Final = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT: Final = Reply(501, "5.1.3", "Bad recipient address syntax")
BAD_PARAMETER: Final = Reply(501, "5.5.4", "Bad parameter value")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
HELO_FIRST: Final = Reply(503, "5.5.1", "Send HELO or EHLO first")
MAIL_FIRST: Final = Reply(503, "5.5.1", "Send MAIL first")
RCPT_FIRST: Final = Reply(503, "5.5.1", "Send RCPT first")
NESTED_MAIL: Final = Reply(503, "5.5.1", "Sender already given")
TLS_ALREADY: Final = Reply(503, "5.5.1", "TLS is already active")
NEEDS_SMTPUTF8: Final = Reply(553, "5.6.7", "Non-ASCII address without SMTPUTF8")
NO_VALID_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", "Parameter not recognised or not implemented")

# What we refuse for good.
NO_SUCH_USER: Final = Reply(550, "5.1.1", "No such mailbox here")
RELAY_DENIED: Final = Reply(550, "5.7.1", "Relaying denied: not a domain we accept mail for")
BARE_NEWLINE: Final = Reply(550, "5.6.0", "Message contains bare CR, bare LF or NUL")
TOO_BIG: Final = Reply(552, "5.3.4", "Message size exceeds the limit")
NO_SMTPUTF8: Final = Reply(550, "5.6.7", "The server of this domain takes no internationalised mail (SMTPUTF8)")
MAIL_LOOP: Final = Reply(554, "5.4.6", "Mail loop: this message was here three times for the same recipient")
HOPS_EXCEEDED: Final = Reply(554, "5.4.6", "Mail loop: too many Received lines")
SPOKE_EARLY: Final = Reply(
    554, "5.5.1", "You spoke before our greeting, which a mail server waits for (RFC 5321 4.3.1)"
)


def greeting(hostname: str) -> Reply:
    return Reply(220, "", f"{hostname} ESMTP Gatepost")


def hello(hostname: str) -> Reply:
    return Reply(250, "", hostname)


def accepted(ids: Sequence[str]) -> Reply:
    """The one reply that makes a message ours."""
    return Reply(250, "2.0.0", f"accepted as {', '.join(ids)}")


def _give_names() -> None:
    for name, reply in globals().items():
        if isinstance(reply, Reply):
            reply.name = name.lower()


_give_names()

_NO_MAIL: Final = frozenset({
    BAD_SYNTAX, BAD_LINE_END, LINE_TOO_LONG, UNKNOWN_COMMAND, NO_ARGUMENT_ALLOWED, HELO_SYNTAX, MAIL_SYNTAX, RCPT_SYNTAX, BAD_PARAMETER,
    NOT_IMPLEMENTED, HELO_FIRST, MAIL_FIRST, RCPT_FIRST, NESTED_MAIL, TLS_ALREADY, NO_VALID_RECIPIENTS,
    NOT_SMTP,
})  # fmt: skip
"""What is said to commands that no mail server sends, and to what follows from another refusal."""
_ENDINGS: Final = frozenset({SHUTTING_DOWN, IDLE, TOO_SLOW, SESSION_OVER})
"""Ends of a session: they turn mail away only when some was under way."""


def turns_away(reply: Reply, *, under_way: bool) -> bool:
    """Whether mail did not get in by this reply. `under_way`: MAIL was accepted."""
    return reply.code >= 400 and reply not in _NO_MAIL and (under_way or reply not in _ENDINGS)
