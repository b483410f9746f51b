"""Octets of a header as text: charsets, encoded words (RFC 2047), parameters (RFC 2045, RFC 2231).

Any octets give some text: what cannot be decoded is replaced, never raised. A charset's name is a stranger's choice and is
looked up in the table here; it never reaches Python's codec registry, which also holds `zlib_codec`, `idna` and `undefined`.
UTF-7 and UTF-16 are no charsets for mail (RFC 2781 3, WHATWG Encoding 4.3), and are in the table because programs read them all
the same. All patterns are linear in their input.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple

from pipeline.mime.transfer import base64_octets

_CODECS: Final[dict[bytes, str]] = {
    **{
        name: name.decode()
        for name in (b"utf-8", b"koi8-r", b"koi8-u", b"gbk", b"gb18030", b"big5", b"euc-jp", b"euc-kr")
    },
    **{b"iso-8859-%d" % number: f"iso8859-{number}" for number in (*range(2, 12), 13, 14, 15, 16)},
    **{b"windows-%d" % number: f"cp{number}" for number in range(1250, 1259)},
    **{b"cp%d" % number: f"cp{number}" for number in (437, 850, 852, 855, 866, 874, 932, 949, 950, *range(1250, 1259))},
    # What calls itself ASCII or Latin-1 is Windows-1252 in practice, and a superset of both for what can be printed.
    **dict.fromkeys((b"us-ascii", b"ascii", b"iso-8859-1", b"latin1", b"latin-1", b"ansi_x3.4-1968"), "cp1252"),
    b"utf8": "utf-8",
    b"gb2312": "gb18030",
    b"x-gbk": "gbk",
    b"big5-hkscs": "big5hkscs",
    b"shift_jis": "cp932",
    b"shift-jis": "cp932",
    b"x-sjis": "cp932",
    b"windows-31j": "cp932",
    b"iso-2022-jp": "iso2022_jp",
    b"iso-2022-kr": "iso2022_kr",
    b"ks_c_5601-1987": "cp949",
    b"windows-874": "cp874",
    b"tis-620": "tis_620",
    b"macintosh": "mac_roman",
    **dict.fromkeys((b"utf-7", b"utf7", b"unicode-1-1-utf-7", b"x-unicode-2-0-utf-7"), "utf-7"),
    **dict.fromkeys(
        (b"utf-16", b"utf16", b"utf-16le", b"utf-16be", b"ucs-2", b"iso-10646-ucs-2", b"unicode", b"unicodefeff"),
        "utf-16",
    ),
    **dict.fromkeys((b"utf-32", b"utf-32le", b"utf-32be", b"ucs-4", b"iso-10646-ucs-4"), "utf-32"),
}

_WIDE: Final = {"utf-16": 2, "utf-32": 4}
"""Octets of a character."""
_MARKS: Final = frozenset({b"\xff\xfe", b"\xfe\xff"})
"""U+FEFF in UTF-16: for browsers it has the last word (WHATWG Encoding 6)."""

_ENCODED: Final = re.compile(rb"=\?([!->@-~]{1,60})\?([bBqQ])\?([^?\r\n]*+)\?=")
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_FOLD: Final = re.compile(rb"\r?\n")

_PARAMETER: Final = re.compile(
    rb';[ \t\r\n]*+([^\s=;"]++)[ \t\r\n]*+=[ \t\r\n]*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"?|([^;]*+))', re.DOTALL
)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_EXTENDED: Final = re.compile(rb"([^*]+)(?:\*(\d{1,4}))?(\*)?")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
MAX_PARAMETERS: Final = 200
"""Of one field. A name in 200 pieces is nobody's file name."""


def unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3: a line break before white space is no part of the value."""
    return _FOLD.sub(b"", value) if b"\n" in value else value


def text_of(octets: bytes, charset: bytes = b"") -> str:
    """Decoded by a charset as a message names it; without one, or with one unknown to us, UTF-8, else Windows-1252."""
    codec = _CODECS.get(charset.lower()) if charset else None
    if codec in _WIDE or octets[:2] in _MARKS:
        return _wide(octets, _WIDE.get(codec or "", 2))
    if codec is not None:
        return octets.decode(codec, "replace")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def _wide(octets: bytes, width: int) -> str:
    """Which octet of each character comes first says the mark at the beginning, else the zeros, whatever the charset is called."""
    if width == 4:
        big = octets[:1] == b"\0"
    elif octets[:2] in _MARKS:
        big = octets[:1] == b"\xfe"
    else:
        begin = octets[:512]
        big = begin[::2].count(0) > begin[1::2].count(0)
    return octets.decode(f"utf-{8 * width}-{'be' if big else 'le'}", "replace").removeprefix("\ufeff")


def plain(text: str, limit: int) -> str:
    """At most `limit` characters of it, in one line, without control characters and lone surrogates: fit to be stored and shown."""
    if not text.isprintable():
        text = _UNPRINTABLE.sub(" ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def decode_words(value: bytes) -> str:
    """The text of an unfolded value. Encoded words count wherever they stand, also within quotes, as mail programs read them.

    Neighbours of one charset are joined before they are decoded, because some senders cut within a character.
    """
    if b"=?" not in value:
        return text_of(value)
    out: list[str] = []
    held = bytearray()
    held_charset = b""
    at = 0
    for match in _ENCODED.finditer(value):
        charset = match[1].partition(b"*")[0].lower()
        between = value[at : match.start()]
        if held_charset and (charset != held_charset or between.strip()):
            out.append(text_of(bytes(held), held_charset))
            held.clear()
        if between.strip() or not held_charset:
            out.append(text_of(between))
        held_charset = charset
        held += base64_octets(match[3]) if match[2] in b"bB" else binascii.a2b_qp(match[3], header=True)
        at = match.end()
    if held_charset:
        out.append(text_of(bytes(held), held_charset))
    out.append(text_of(value[at:]))
    return "".join(out)


class Parameter(NamedTuple):
    """`name` in lower case; `octets` without quotes and percent signs; `charset` empty unless RFC 2231 gave one."""

    name: bytes
    octets: bytes
    charset: bytes = b""

    @property
    def text(self) -> str:
        return text_of(self.octets, self.charset) if self.charset else decode_words(self.octets)


def parameters(value: bytes) -> list[Parameter]:
    """All of them, repeated ones too: programs differ in which they believe. Pieces (`name*0*=`, `name*1=`) are put together."""
    found: list[Parameter] = []
    pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for index, match in enumerate(_PARAMETER.finditer(value)):
        if index == MAX_PARAMETERS:
            break
        name, quoted, token = match.groups()
        octets = unfold(token.strip() if quoted is None else quoted)
        if quoted and b"\\" in octets:
            octets = _ESCAPE.sub(rb"\1", octets)
        extended = _EXTENDED.fullmatch(name) if b"*" in name else None
        if extended is None:
            found.append(Parameter(name.lower(), octets))
        else:
            order = int(extended[2] or 0)
            pieces.setdefault(extended[1].lower(), {})[order] = (octets, extended[3] is not None)
    found += [_joined(name, part) for name, part in pieces.items()]
    return found


def _joined(name: bytes, pieces: dict[int, tuple[bytes, bool]]) -> Parameter:
    """RFC 2231 3 and 4.1. Gaps in the numbering are passed over: some programs do, so the name they see is the one judged."""
    charset = b""
    out = b""
    for index, order in enumerate(sorted(pieces)):
        octets, is_extended = pieces[order]
        if is_extended:
            if index == 0 and octets.count(b"'") >= 2:
                charset, _, octets = octets.split(b"'", 2)
            octets = _PERCENT.sub(lambda match: bytes((int(match[1], 16),)), octets)
        out += octets
    return Parameter(name, out, charset)
