"""PROXY headers: what is understood, what is refused, and how little is believed."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.receiver.proxy import MAX_LENGTH, MAX_LINE, Header, crc32c, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def tcp(source: str, port: int, additions: bytes = b"", target: str | None = None) -> bytes:
    version = ipaddress.ip_address(source).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    target = target or ("192.0.2.25" if version == 4 else "2001:db8::25")
    body = socket.inet_pton(family, source) + socket.inet_pton(family, target) + struct.pack("!HH", port, 25)
    return v2(0x21, 0x11 if version == 4 else 0x21, body + additions)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def checksummed(source: str, before: bytes = b"", after: bytes = b"", *, off_by: int = 0) -> bytes:
    blank = tcp(source, 4711, before + tlv(3, bytes(4)) + after)
    at = len(tcp(source, 4711, before)) + 3
    return blank[:at] + struct.pack("!I", crc32c(blank) ^ off_by) + blank[at + 4 :]


GOOD = {
    "v1 TCP4": (b"PROXY TCP4 198.51.100.7 192.0.2.25 4711 25\r\n", ("198.51.100.7", 4711)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:DB8::25 65535 25\r\n", ("2001:db8::7", 65535)),
    "v1 mapped": (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 0 25\r\n", ("198.51.100.7", 0)),
    "v1 longest TCP6": (
        b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN with what it does not know": (b"PROXY UNKNOWN ffff::1 x y \x00 z\r\n", None),
    "v1 UNKNOWN of 107 octets": (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    "v2 TCP4": (tcp("198.51.100.7", 4711), ("198.51.100.7", 4711)),
    "v2 TCP6": (tcp("2001:db8::7", 4711), ("2001:db8::7", 4711)),
    "v2 mapped": (tcp("::ffff:198.51.100.7", 4711), ("198.51.100.7", 4711)),
    "v2 with additions": (tcp("198.51.100.7", 1, tlv(1, b"smtp") + tlv(4, bytes(90)) + tlv(0xE0, b"")), ("198.51.100.7", 1)),
    "v2 with a checksum": (checksummed("198.51.100.7"), ("198.51.100.7", 4711)),
    "v2 with a checksum among additions": (checksummed("2001:db8::7", tlv(5, b"abc"), tlv(2, b"x")), ("2001:db8::7", 4711)),
    "v2 LOCAL": (v2(0x20, 0x00, b""), None),
    "v2 LOCAL with addresses": (v2(0x20, 0x11, bytes(12)), None),
    "v2 LOCAL with anything": (v2(0x20, 0xFF, b"\x03\xff\xff"), None),
    "v2 UNSPEC": (v2(0x21, 0x00, b""), None),
    "v2 UNSPEC with anything": (v2(0x21, 0x00, b"anything"), None),
    "v2 unix": (v2(0x21, 0x31, bytes(216)), None),
    "v2 of the greatest length": (tcp("198.51.100.7", 1, tlv(4, bytes(MAX_LENGTH - 15))), ("198.51.100.7", 1)),
}  # fmt: skip

BAD = {
    "SMTP": b"EHLO client.example\r\n",
    "nothing of the kind": b"\x16\x03\x01",
    "lower case": b"proxy TCP4 198.51.100.7 192.0.2.25 4711 25\r\n",
    "no space": b"PROXYTCP4 198.51.100.7 192.0.2.25 4711 25\r\n",
    "v1 nothing": b"PROXY \r\n",
    "v1 other protocol": b"PROXY UDP4 198.51.100.7 192.0.2.25 4711 25\r\n",
    "v1 no addresses": b"PROXY TCP4\r\n",
    "v1 one address": b"PROXY TCP4 198.51.100.7\r\n",
    "v1 no ports": b"PROXY TCP4 198.51.100.7 192.0.2.25\r\n",
    "v1 one port": b"PROXY TCP4 198.51.100.7 192.0.2.25 1\r\n",
    "v1 more": b"PROXY TCP4 198.51.100.7 192.0.2.25 1 2 3\r\n",
    "v1 two spaces": b"PROXY TCP4  198.51.100.7 192.0.2.25 1 2\r\n",
    "v1 tab": b"PROXY\tTCP4 198.51.100.7 192.0.2.25 1 2\r\n",
    "v1 a name": b"PROXY TCP4 localhost 192.0.2.25 1 2\r\n",
    "v1 leading zeros": b"PROXY TCP4 198.051.100.007 192.0.2.25 1 2\r\n",
    "v1 short form": b"PROXY TCP4 10.1 192.0.2.25 1 2\r\n",
    "v1 a scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1 families mixed": b"PROXY TCP4 198.51.100.7 ::1 1 2\r\n",
    "v1 the other family": b"PROXY TCP6 198.51.100.7 192.0.2.25 1 2\r\n",
    "v1 port too large": b"PROXY TCP4 198.51.100.7 192.0.2.25 65536 25\r\n",
    "v1 target port too large": b"PROXY TCP4 198.51.100.7 192.0.2.25 25 99999\r\n",
    "v1 negative port": b"PROXY TCP4 198.51.100.7 192.0.2.25 -1 25\r\n",
    "v1 port with a sign": b"PROXY TCP4 198.51.100.7 192.0.2.25 +1 25\r\n",
    "v1 port as Python takes it": b"PROXY TCP4 198.51.100.7 192.0.2.25 1_0 25\r\n",
    "v1 port with a zero": b"PROXY TCP4 198.51.100.7 192.0.2.25 025 25\r\n",
    "v1 no CR": b"PROXY TCP4 198.51.100.7 192.0.2.25 1 2\nEHLO x\r\n",
    "v1 octets": b"PROXY TCP4 \xff\xfe 192.0.2.25 1 2\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1 endless": b"PROXY UNKNOWN " + b"x" * 1000,
    "v2 version 1": v2(0x11, 0x11, bytes(12)),
    "v2 version 3": v2(0x31, 0x11, bytes(12)),
    "v2 other command": v2(0x22, 0x11, bytes(12)),
    "v2 UDP": v2(0x21, 0x12, bytes(12)),
    "v2 other family": v2(0x21, 0x41, bytes(12)),
    "v2 too short for IPv4": v2(0x21, 0x11, bytes(11)),
    "v2 too short for IPv6": v2(0x21, 0x21, bytes(35)),
    "v2 too short for a unix socket": v2(0x21, 0x31, bytes(215)),
    "v2 half an addition": tcp("198.51.100.7", 1, b"\x04\x00"),
    "v2 an addition that is longer than the header": tcp("198.51.100.7", 1, b"\x04\x00\x05abcd"),
    "v2 wrong checksum": checksummed("198.51.100.7", off_by=1),
    "v2 short checksum": tcp("198.51.100.7", 1, tlv(3, b"abc")),
    "v2 too long": v2(0x21, 0x11, b"", MAX_LENGTH + 1),
    "v2 far too long": v2(0x20, 0x00, b"", 0xFFFF),
}  # fmt: skip


@pytest.mark.parametrize(("header", "source"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("rest", [b"", b"EHLO client.example\r\n", SIGNATURE])
def test_the_client_is_the_one_that_is_named_and_what_follows_is_not_touched(header, source, rest):
    assert parse(header + rest) == Header(len(header), source)


@pytest.mark.parametrize("header", [header for header, _ in GOOD.values()], ids=GOOD)
def test_a_header_in_pieces_is_waited_for(header):
    assert {parse(header[:length]) for length in range(len(header))} == {None}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused_in_plain_words(header):
    found = parse(header)
    assert isinstance(found, str)
    assert found.isascii()
    assert found.isprintable()


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
def test_how_it_is_cut_makes_no_difference_to_the_refusal(header):
    found = [parse(header[:length]) for length in range(len(header) + 1)]
    first = next(index for index, answer in enumerate(found) if answer is not None)
    assert all(isinstance(answer, str) for answer in found[first:])


@given(st.binary(max_size=300))
def test_any_octets_get_an_answer(data):
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"):
        answer = parse(start + data)
        assert answer is None or isinstance(answer, str | Header)
        if isinstance(answer, Header):
            assert answer.size <= len(start + data)


@given(st.binary(max_size=200), st.integers(0, 7), st.integers(0, 200))
def test_a_bit_that_was_flipped_is_noticed_by_the_checksum(value, bit, place):
    header = bytearray(checksummed("198.51.100.7", tlv(5, value)))
    place = 16 + place % 12
    header[place] ^= 1 << bit
    assert parse(bytes(header)) == "a wrong checksum"


def test_nobody_is_waited_for_longer_than_the_longest_header():
    assert parse(b"PROXY " + b"x" * (MAX_LINE - 6)) == "a line that does not end"
    assert parse(b"PROXY " + b"x" * (MAX_LINE - 7)) is None
    assert parse(v2(0x21, 0x11, bytes(MAX_LENGTH - 1), MAX_LENGTH)) is None


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)  # fmt: skip
def test_the_checksum_is_that_of_rfc_3720(data, checksum):
    assert crc32c(data) == checksum
