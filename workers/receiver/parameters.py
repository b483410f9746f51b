"""The parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY and ORCPT
(RFC 3461). Pure: text in, options or the reply that refuses it out.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pipeline import replies
from pipeline.replies import Reply

_XTEXT: Final = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_ENVID: Final = re.compile(rf"{_XTEXT}{{1,100}}")
# SMTPUTF8 clients may write the address in UTF-8 (RFC 6533 3); the characters that could break a line stay out.
_ORCPT: Final = re.compile(rf"[A-Za-z0-9-]{{1,20}};(?:{_XTEXT}|[\u00a0-\u2027\u2030-\u2065\u2070-\U0010ffff]){{1,480}}")
_SIZE: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_NOTIFY: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class MailOptions(msgspec.Struct, frozen=True, kw_only=True):
    size: int = 0
    """Octets the client means to send; 0 when it did not say."""
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


class RcptOptions(msgspec.Struct, frozen=True, kw_only=True):
    notify: str = ""
    orcpt: str = ""


_NO_MAIL_OPTIONS: Final = MailOptions()
_NO_RCPT_OPTIONS: Final = RcptOptions()
_MAIL_KEYWORDS: Final = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"})
_RCPT_KEYWORDS: Final = frozenset({"NOTIFY", "ORCPT"})


def _split(text: str, known: frozenset[str]) -> dict[str, str] | Reply:
    """Keyword to value; a keyword twice is a mistake, an unknown one a parameter we did not announce."""
    parameters: dict[str, str] = {}
    for word in text.split(" "):
        keyword, _, value = word.partition("=")
        keyword = keyword.upper()
        if not keyword and not value:
            continue
        if keyword not in known:
            return replies.UNKNOWN_PARAMETER
        if keyword in parameters:
            return replies.BAD_PARAMETER
        parameters[keyword] = value
    return parameters


def mail_options(text: str) -> MailOptions | Reply:
    """What follows the reverse path."""
    if not text:
        return _NO_MAIL_OPTIONS
    given = _split(text, _MAIL_KEYWORDS)
    if isinstance(given, Reply):
        return given
    size = given.get("SIZE", "0")
    body = given.get("BODY", "7BIT").upper()
    ret = given.get("RET", "FULL").upper()
    envid = given.get("ENVID", "none")
    if (
        _SIZE.fullmatch(size) is None
        or body not in ("7BIT", "8BITMIME")
        or given.get("SMTPUTF8")
        or ret not in ("FULL", "HDRS")
        or _ENVID.fullmatch(envid) is None
    ):
        return replies.BAD_PARAMETER
    return MailOptions(
        size=int(size),
        eight_bit=body == "8BITMIME",
        smtputf8="SMTPUTF8" in given,
        ret=ret if "RET" in given else "",
        envid=given.get("ENVID", ""),
    )


def rcpt_options(text: str) -> RcptOptions | Reply:
    """What follows the forward path."""
    if not text:
        return _NO_RCPT_OPTIONS
    given = _split(text, _RCPT_KEYWORDS)
    if isinstance(given, Reply):
        return given
    notify = given.get("NOTIFY", "NEVER").upper()
    orcpt = given.get("ORCPT", "rfc822;none")
    if not (notify == "NEVER" or _NOTIFY.issuperset(notify.split(","))) or _ORCPT.fullmatch(orcpt) is None:
        return replies.BAD_PARAMETER
    return RcptOptions(notify=notify if "NOTIFY" in given else "", orcpt=given.get("ORCPT", ""))
