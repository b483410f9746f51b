"""Messages as they must not be, and as they arrive all the same: name -> octets, and what becomes of them."""

from __future__ import annotations

import base64
import encodings.aliases
import quopri

from tests.support import files
from tests.support.mail import EICAR, HEAD, PROGRAM, attachment, multipart, part, with_parts

OPEN = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def nested(levels: int) -> bytes:
    return b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(levels)
    )


def named(parameter: bytes) -> bytes:
    """An attachment with this Content-Disposition parameter for its name."""
    return with_parts(b"Content-Disposition: attachment; " + parameter + b"\r\n\r\ndata\r\n")


def within(body: bytes, *fields: str) -> bytes:
    return with_parts(part("text/plain", body, *fields))


SIMPLE: dict[str, tuple[bytes, str]] = {
    "no headers": (b"hello\r\n", "clean"),
    "8-bit headers": (HEAD.replace(b"hello", b"h\xe4ll\xc3\xb6") + b"\r\nbody\r\n", "clean"),
    "long lines": (HEAD + b"X-Long: " + b"x" * 5000 + b"\r\n\r\n" + b"y" * 100_000 + b"\r\n", "clean"),
    "10,000 headers": (b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + HEAD + b"\r\nbody\r\n", "spam"),
    "1,000 nested parts": (HEAD + nested(1000), "content"),
    "1,000 nested messages": (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 1000, "content"),
    "100,000 parts": (HEAD + OPEN + b"--b\r\n\r\nx\r\n" * 100_000, "content"),
    "unterminated boundary": (HEAD + OPEN + b"--b\r\n\r\nx\r\n", "clean"),
    "no boundary in the body": (HEAD + OPEN + b"nothing\r\n", "clean"),
    "a boundary that begins another": (with_parts(multipart([part("text/plain", b"x")], "=_bb")), "clean"),
    "empty boundary": (HEAD + b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n----\r\n', "clean"),
    "unknown encoding": (within(b"x", "Content-Transfer-Encoding: x-rot13"), "clean"),
    "unknown charset": (HEAD.replace(b"hello", b"=?undefined?q?x?= =?zlib_codec?b?eJw=?=") + b"\r\n", "clean"),
    "a cut archive": (with_parts(attachment(b"PK\x03\x04" + b"\xff" * 1000, "a.zip")), "clean"),
    "a header in the body's place": (HEAD + OPEN + b"--b\r\n" + HEAD * 50, "clean"),
    "a virus all the same": (HEAD + nested(90) + b"\r\n" + EICAR, "virus"),
    # Structure
    "no empty line": (HEAD + b"body without an empty line\r\n", "clean"),
    "no empty line at all": (HEAD[:-2], "clean"),
    "an empty line with a space": (HEAD + b" \r\nbody\r\n", "clean"),
    "nothing but a header": (HEAD + b"\r\n", "clean"),
    "nothing but fields that are none": (b"this\r\nis\r\nno header\r\n\r\nbody\r\n", "clean"),
    "a field without a name": (HEAD + b": no name\r\n\r\nbody\r\n", "clean"),
    "a field with a space before the colon": (HEAD + b"X-Odd : y\r\n\r\nbody\r\n", "clean"),
    "a field of tabs": (HEAD + b"X-Tabs:\t\t\t\r\n\t\t\r\n\r\nbody\r\n", "clean"),
    "every field twice": (HEAD + HEAD + b"\r\nbody\r\n", "spam"),
    "5,000 nested parts": (HEAD + nested(5000), "content"),
    "5,000 nested messages": (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 5000, "content"),
    "the same boundary twice": (HEAD + b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n", "spam"),
    "two content types": (HEAD + OPEN[:-2] + b"Content-Type: text/plain\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "spam"),
    "the outer boundary within": (HEAD + OPEN + b"--b\r\n" + OPEN + b"--b\r\n\r\nx\r\n--b--\r\n--b--\r\n", "clean"),
    "a boundary that is another's prefix": (HEAD + b"Content-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--ab--\r\n", "clean"),
    "a boundary of a thousand letters": (HEAD + b"Content-Type: multipart/mixed; boundary=" + b"b" * 900 + b"\r\n\r\n--" + b"b" * 900 + b"\r\n\r\nx\r\n", "clean"),
    "a boundary with spaces at its end": (HEAD + b'Content-Type: multipart/mixed; boundary="b "\r\n\r\n--b \r\n\r\nx\r\n--b --\r\n', "clean"),
    "a boundary in an encoded word": (HEAD + b'Content-Type: multipart/mixed; boundary="=?utf-8?q?b?="\r\n\r\n--b\r\n\r\nx\r\n', "clean"),
    "a boundary in pieces": (HEAD + b"Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--\r\n", "clean"),
    "a multipart without a boundary": (HEAD + b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n", "clean"),
    "a multipart closed before it opens": (HEAD + OPEN + b"--b--\r\n--b\r\n\r\nx\r\n", "clean"),
    "a part behind the end": (HEAD + OPEN + b"--b\r\n\r\nx\r\n--b--\r\n--b\r\n" + attachment(b"x", "a.exe") + b"\r\n--b--\r\n", "content"),
    "a preamble of a megabyte": (HEAD + OPEN + b"pre\r\n" * 200_000 + b"--b\r\n\r\nx\r\n--b--\r\n", "clean"),
    "an encoded multipart": (HEAD + b"Content-Transfer-Encoding: base64\r\n" + OPEN + base64.b64encode(b"--b\r\n\r\nx\r\n--b--\r\n") + b"\r\n", "clean"),
    "a message in base64": (with_parts(attachment(with_parts(attachment(b"x", "a.exe")), content_type="message/rfc822")), "content"),
    "a message in quoted-printable": (within(b"").replace(b"text/plain\r\n\r\n\r\n", b"message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + quopri.encodestring(b"Subject: x\n\ny\n").replace(b"\n", b"\r\n")), "clean"),
    "a delivery report of nothing": (HEAD + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\r\n\r\n--b--\r\n", "clean"),
    "a partial message": (HEAD + b"Content-Type: message/partial; id=a; number=1; total=2\r\n\r\n" + HEAD + b"\r\nx\r\n", "clean"),
    "an external body": (HEAD + b'Content-Type: message/external-body; access-type=local-file; name="/etc/passwd"\r\n\r\nContent-Type: text/plain\r\n\r\n', "clean"),
    # Types, encodings, charsets
    "a type without a slash": (HEAD + b"Content-Type: text\r\n\r\nbody\r\n", "clean"),
    "a type of nothing": (HEAD + b"Content-Type:\r\n\r\nbody\r\n", "clean"),
    "a type with comments": (HEAD + b"Content-Type: (a(b)c) text (x) / (y) plain (z); (q) charset=(w) utf-8\r\n\r\nbody\r\n", "clean"),
    "a type of a thousand parameters": (HEAD + b"Content-Type: text/plain" + b"; a=b" * 1000 + b"\r\n\r\nbody\r\n", "clean"),
    "a parameter of 100 KiB": (HEAD + b'Content-Type: text/plain; charset="' + b"x" * 100_000 + b'"\r\n\r\nbody\r\n', "clean"),
    "an unclosed quote": (HEAD + b'Content-Type: multipart/mixed; boundary="b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n', "clean"),
    "8bit that says 7bit": (within(b"gr\xfc\xdfe\r\n", "Content-Transfer-Encoding: 7bit"), "clean"),
    "base64 that is none": (within(b"this is plain text, is it not?\r\n", "Content-Transfer-Encoding: base64"), "clean"),
    "base64 of one letter": (within(b"A", "Content-Transfer-Encoding: base64"), "clean"),
    "base64 in the middle of padding": (within(b"aGVs=bG8=\r\n====\r\n" * 500, "Content-Transfer-Encoding: base64"), "clean"),
    "two encodings": (within(b"aGVsbG8=", "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: 8bit"), "spam"),
    "quoted-printable cut in an escape": (within(b"=\r\n=4\r\n=4", "Content-Transfer-Encoding: quoted-printable"), "clean"),
    "UTF-16 as it is": (HEAD + b"Content-Type: text/plain; charset=utf-16\r\n\r\n" + "hello\u2028".encode("utf-16-le") .replace(b"\0", b" ") + b"\r\n", "clean"),
    "UTF-7": (HEAD + b"Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-script+AD4-alert(1)+ADw-/script+AD4-\r\n", "clean"),
    "UTF-8 that is too long": (within(b"\xc0\xae\xc0\xae/\xf8\x88\x80\x80\x80\xff\xfe\r\n"), "clean"),
    "ISO-2022-JP cut in a letter": (HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$3\x1b$\r\n", "clean"),
    "a charset of control characters": (HEAD + b'Content-Type: text/plain; charset="a\x1b[2Jb"\r\n\r\nbody\r\n', "clean"),
    # Names
    "a name in pieces out of order": (named(b"filename*1=xe; filename*0=a.e"), "content"),
    "a name in pieces with a gap": (named(b"filename*0=a.; filename*7=exe"), "content"),
    "a name twice": (named(b"filename=a.txt; filename=a.exe"), "content"),
    "a name in a charset of nobody": (named(b"filename*=x-none''a%2Eexe"), "content"),
    "a name with a broken percent": (named(b"filename*=utf-8''a%2%Eex%"), "clean"),
    "a name in an encoded word in quotes": (named(b'filename="=?utf-8?q?a=2Eexe?="'), "content"),
    "a name with escaped letters": (named(b'filename="a\\.e\\x\\e"'), "content"),
    "a name with a newline": (named(b'filename="a.e\r\n xe"'), "clean"),
    "a name of 64 KiB": (named(b'filename="' + b"x" * 65_536 + b'.exe"'), "content"),
    "a name in the type only": (with_parts(part("application/octet-stream; name=a.exe", b"x")), "content"),
    "a name without quotes and with spaces": (named(b"filename=my file.exe"), "content"),
    "a name that is a path": (named(b'filename="../../../etc/passwd"'), "clean"),
    "names for one part in four ways": (named(b"filename=a.txt; filename*=utf-8''b.txt; filename*0=c; filename*1=.exe"), "content"),
    # What is not MIME
    "uuencode": (HEAD + b"\r\nbegin 644 a.exe\r\n#86)C\r\n`\r\nend\r\n", "content"),
    "uuencode without an end": (HEAD + b"\r\nbegin 644 a.txt\r\n" + b"M" + b"x" * 60 + b"\r\n", "clean"),
    "yEnc": (HEAD + b"\r\n=ybegin line=128 size=3 name=a.exe\r\n\x8b\x8c\x8d\r\n=yend size=3\r\n", "content"),
    "winmail.dat": (with_parts(attachment(files.tnef(("a.exe", b"x")), "winmail.dat", "application/ms-tnef")), "content"),
    "winmail.dat cut": (with_parts(attachment(files.tnef(("a.txt", b"x" * 500))[:100], "winmail.dat", "application/ms-tnef")), "clean"),
    "BinHex": (HEAD + b"\r\n(This file must be converted with BinHex 4.0)\r\n\r\n:abc:\r\n", "clean"),
    "a program as the body": (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PROGRAM).replace(b"\n", b"\r\n"), "content"),
    "a body of dots": (HEAD + b"\r\n" + b".\r\n..\r\n...\r\n" * 100, "clean"),
    "a body of empty lines": (HEAD + b"\r\n" + b"\r\n" * 100_000, "clean"),
    "a line of dashes": (HEAD + OPEN + b"-" * 100_000 + b"\r\n" + b"--\r\n" * 1000 + b"--b--\r\n", "clean"),
    # Addresses and words
    "a sender of nothing": (HEAD.replace(b"Some One <some.one@a.example>", b"<>") + b"\r\nbody\r\n", "clean"),
    "a sender of brackets": (HEAD.replace(b"Some One <some.one@a.example>", b"<" * 5000) + b"\r\nbody\r\n", "clean"),
    "a sender of comments": (HEAD.replace(b"Some One <some.one@a.example>", b"(" * 5000) + b"\r\nbody\r\n", "clean"),
    "a group as the sender": (HEAD.replace(b"Some One <some.one@a.example>", b"friends: a@a.example, b@b.example;") + b"\r\nbody\r\n", "clean"),
    "ten thousand recipients": (HEAD.replace(b"x@example.test", b", ".join(b"a%d@a.example" % n for n in range(10_000))) + b"\r\nbody\r\n", "clean"),
    "an encoded word in pieces": (HEAD.replace(b"hello", b"=?utf-8?b?w?=\r\n =?utf-8?b?6Q==?= =?utf-8?q?=C3") + b"\r\nbody\r\n", "clean"),
    "a thousand encoded words": (HEAD.replace(b"hello", b"=?utf-8?q?a?=\r\n " * 1000 + b"b") + b"\r\nbody\r\n", "clean"),
    "a date of nonsense": (HEAD.replace(b"Mon, 23 Nov 2026 09:58:00 +0000", b"99 Foo 99999 99:99:99 +9999") + b"\r\nbody\r\n", "clean"),
    "escape sequences": (HEAD.replace(b"hello", b"\x1b]0;title\x07\x1b[2J\x9b31m") + b"\r\n\x1b[2J\r\n", "clean"),
    # Archives and documents
    "a bomb": (with_parts(attachment(files.overlapping(), "a.zip")), "content"),
    "a document that loops": (with_parts(attachment(files.doc(files.WAITS)[:512] + bytes(4) * 5000, "a.doc")), "clean"),
    "a PDF of nothing": (with_parts(attachment(b"%PDF-1.7\n" + b"<<" * 10_000, "a.pdf")), "clean"),
    "an RTF of braces": (with_parts(attachment(b"{\\rtf1" + b"{" * 100_000, "a.rtf")), "clean"),
    "a page of tags": (with_parts(part("text/html", b"<div>" * 100_000)), "clean"),
}  # fmt: skip
"""With CRLF and without NUL: what the front door lets in."""

REFUSED: dict[str, tuple[bytes, str]] = {
    "NUL octets": (HEAD + b"Subject\0: a\0b\r\n\r\nbody\0\r\n", "clean"),
    "bare line feeds": (HEAD.replace(b"\r\n", b"\n") + b"\nbody\n", "clean"),
    "bare carriage returns": (HEAD.replace(b"\r\n", b"\r") + b"\rbody\r", "clean"),
    "base64 garbage": (with_parts(part("image/png", b"!\xff=A=\0==\r\n" * 1000, "Content-Transfer-Encoding: base64")), "clean"),
    "quoted-printable garbage": (with_parts(part("text/plain", b"=\xff=zz==\r\n=" * 1000 + b"\n", "Content-Transfer-Encoding: quoted-printable")), "clean"),
    "line ends of all kinds": (HEAD + b"\r\na\rb\nc\n\rd\r\r\n", "clean"),
    "a boundary behind a bare line feed": (HEAD + OPEN + b"x\n--b\n\nx\n--b--\n", "clean"),
    "UTF-16": (HEAD + b"Content-Type: text/plain; charset=utf-16\r\n\r\n" + "hello\r\n".encode("utf-16"), "clean"),
    "a NUL in a name": (named(b'filename="a.exe\0.txt"'), "content"),
}  # fmt: skip
"""What the front door refuses or changes; quarantined mail of older days, files and encoded messages have it all the same."""

CHARSETS = sorted(
    {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "undefined", "idna", "punycode", "mbcs", "oem"}
)
"""Every name under which Python knows a codec: a message may name any of them."""


def in_charset(name: str) -> bytes:
    word = f"=?{name}?b?{base64.b64encode(bytes(range(256))).decode()}?="
    body = part(
        f"text/plain; charset={name}",
        bytes(range(14, 256)),
        f"Content-Disposition: inline; filename*={name}''%00%FF.txt",
    )
    return HEAD.replace(b"hello", word.encode()) + multipart([body])
