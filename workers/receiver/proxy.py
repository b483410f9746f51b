"""The PROXY protocol, versions 1 and 2: whom a load balancer speaks for (HAProxy's proxy-protocol.txt). Pure.

Not aiosmtpd's: that one awaits a StreamReader, and here there are chunks; it takes `1_0` for a port, waits for a line as long
as the reader's limit, and verifies no checksum.

Decisions where the specification leaves one:

- A checksum that is there is verified (2.2.3). All other additions (TLVs) are passed over, but they have to fit.
- UDP is no transport of SMTP: refused. A unix socket has no address to go by: the connection's own peer stays the client, as
  for UNKNOWN, UNSPEC and LOCAL, which is what health checks use.
- A header of version 2 has at most MAX_LENGTH octets behind its first 16. Balancers send some hundred.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

MAX_LINE: Final = 107
"""Octets of version 1 with its CRLF (2.1)."""
MAX_LENGTH: Final = 4096

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_START: Final = b"PROXY "
_FIXED: Final = 16
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_ADDRESS: Final = re.compile(rb"[0-9A-Fa-f.:]{2,39}")
_TCP4, _TCP6, _UNIX, _UNSPEC = 0x11, 0x21, 0x31, 0x00
_LENGTHS: Final = {_TCP4: 12, _TCP6: 36, _UNIX: 216}
_CRC32C: Final = 0x03


class Header(NamedTuple):
    size: int
    """Octets that it took of the connection."""
    source: tuple[str, int] | None
    """Address and port of the client; None when it is the connection's own peer."""


def parse(data: bytes) -> Header | str | None:
    """The header at the start of `data`, None while it is not complete, or in words why there is none."""
    if data.startswith(_START):
        return _version_1(data)
    if data.startswith(_SIGNATURE):
        return _version_2(data)
    if _START.startswith(data) or _SIGNATURE.startswith(data):
        return None
    return "no PROXY header"


def _version_1(data: bytes) -> Header | str | None:
    end = data.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        return None if len(data) < MAX_LINE else "a line that does not end"
    kind, *rest = data[len(_START) : end].split(b" ")
    size = end + 2
    if kind == b"UNKNOWN":
        return Header(size, None)
    if kind not in (b"TCP4", b"TCP6") or len(rest) != 4:
        return "neither TCP4, TCP6 nor UNKNOWN"
    addresses = [_address(word) for word in rest[:2]]
    if any(address is None or address.version != int(kind[3:]) for address in addresses):
        return "an address that is none"
    if any(_PORT.fullmatch(port) is None or int(port) > 65535 for port in rest[2:]):
        return "a port that is none"
    source = addresses[0]
    assert source is not None
    return Header(size, (_written(source), int(rest[2])))


def _version_2(data: bytes) -> Header | str | None:
    if len(data) < _FIXED:
        return None
    version, command, family = data[12] >> 4, data[12] & 0x0F, data[13]
    length = int.from_bytes(data[14:_FIXED], "big")
    if version != 2 or command > 1:
        return "neither PROXY nor LOCAL of version 2"
    if length > MAX_LENGTH:
        return "too long"
    size = _FIXED + length
    if len(data) < size:
        return None
    if command == 0 or family == _UNSPEC:
        return Header(size, None)
    if family not in _LENGTHS:
        return "neither TCP nor a unix socket"
    start = _FIXED + _LENGTHS[family]
    if start > size:
        return "too short for its addresses"
    wrong = _wrong_additions(data[:size], start)
    if wrong:
        return wrong
    if family == _UNIX:
        return Header(size, None)
    width = 4 if family == _TCP4 else 16
    source = ipaddress.ip_address(data[_FIXED : _FIXED + width])
    port = _FIXED + 2 * width
    return Header(size, (_written(source), int.from_bytes(data[port : port + 2], "big")))


def _wrong_additions(header: bytes, at: int) -> str:
    """What is wrong with the TLVs of a header of version 2, which begin at `at`; empty when nothing is."""
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if value > len(header) or end > len(header):
            return "an addition that does not fit"
        if header[at] == _CRC32C:
            blanked = header[:value] + bytes(end - value) + header[end:]
            if end - value != 4 or crc32c(blanked) != int.from_bytes(header[value:end], "big"):
                return "a wrong checksum"
        at = end
    return ""


def _address(word: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(word.decode("ascii")) if _ADDRESS.fullmatch(word) else None
    except ValueError:
        return None


def _written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


def crc32c(data: bytes) -> int:
    """RFC 3720 appendix B.4, an octet at a time: 0.3 ms for the longest header."""
    register = 0xFFFFFFFF
    for octet in data:
        register = _TABLE[(register ^ octet) & 0xFF] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def _row(octet: int) -> int:
    for _ in range(8):
        octet = (octet >> 1) ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_TABLE: Final = tuple(map(_row, range(256)))
