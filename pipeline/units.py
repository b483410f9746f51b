"""Times, sizes, places and networks: how they are written for people, and what they are inside."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SECOND: Final = 1_000_000_000
"""ns; all times inside are integers of nanoseconds."""
_UNITS: Final = {"ms": SECOND // 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}
_SIZES: Final = {"": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30}


class Duration(int):
    """Nanoseconds; written `15m`, `7d`, `1.5h`, `200ms`, or a number of seconds."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*(ms|s|m|h|d)?", str(value).strip().lower())
        if match is None or isinstance(value, bool):
            raise ValueError("expected a time such as 15m, 7d, 1.5h, or a number of seconds")
        return cls(round(float(match[1]) * _UNITS[match[2] or "s"]))

    @property
    def seconds(self) -> float:
        return self / SECOND

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s", "ms"):
            if self and self % _UNITS[unit] == 0:
                return f"{int(self) // _UNITS[unit]}{unit}"
        return f"{self.seconds:g}s"


class Size(int):
    """Octets; written `256 KiB`, `1GiB`, or a number of octets."""

    @classmethod
    def parse(cls, value: object) -> Size:
        match = re.fullmatch(r"(\d+)\s*([kmg]?(?:ib)?)b?", str(value).strip().lower())
        if match is None or match[2] not in _SIZES or isinstance(value, bool):
            raise ValueError("expected a size such as 256KiB, 1GiB, or a number of octets")
        return cls(int(match[1]) * _SIZES[match[2]])

    def __str__(self) -> str:
        for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if self and self % factor == 0:
                return f"{int(self) // factor}{unit}"
        return str(int(self))


class Endpoint(str):
    """HOST:PORT, [IPv6]:PORT, or for listening also :PORT."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Endpoint:
        text = str(value).strip()
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]*):(\d{1,5})", text)
        if match is None or int(match[2]) > 65535:
            raise ValueError("expected HOST:PORT, such as mail.example.com:25 or [2001:db8::1]:25")
        return cls(text)

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


class EngineAddress(str):
    """Where a program beside us listens: HOST:PORT, [IPv6]:PORT, or unix:/PATH. Empty: there is none."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> EngineAddress:
        text = str(value).strip()
        if not text:
            return cls()
        if text.startswith("unix:"):
            if not re.fullmatch(r"unix:/[^\x00-\x1f\x7f]{1,106}", text):
                raise ValueError("expected unix:/PATH with at most 107 characters of path")
            return cls(text)
        endpoint = Endpoint.parse(text)
        if not endpoint.host or not endpoint.port:
            raise ValueError("expected HOST:PORT, such as 127.0.0.1:3310, or unix:/run/clamav/clamd.ctl")
        return cls(text)

    @property
    def path(self) -> str:
        """Of a unix socket; else empty."""
        return self.removeprefix("unix:") if self.startswith("unix:") else ""

    @property
    def host(self) -> str:
        return "" if self.path else Endpoint(self).host

    @property
    def port(self) -> int:
        return 0 if self.path else Endpoint(self).port


class SourceAddress(str):
    """ADDRESS, or ADDRESS NAME: an IP address of this machine, and how it introduces itself in EHLO."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> SourceAddress:
        address, _, name = " ".join(str(value).split()).partition(" ")
        try:
            found = ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise ValueError("expected an IP address, such as 192.0.2.1, or 192.0.2.1 mail2.example.com") from None
        if found.is_unspecified or found.is_multicast or getattr(found, "scope_id", None):
            raise ValueError(f"{found} is not an address to send from")
        if name and re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,253}", name) is None:
            raise ValueError(f"{name!a} cannot be said in EHLO")
        return cls(f"{found} {name}".strip())

    @property
    def address(self) -> str:
        # str: without a name behind it, partition gives the object itself, which no event can hold.
        return str(self.partition(" ")[0])

    @property
    def name(self) -> str:
        """Empty: the setting hostname."""
        return self.partition(" ")[2]
