"""Where receivers take connections: a socket for each of them, which the supervisor keeps while its processes come and go.

A socket that ends with its process takes with it who had connected and was not heard yet. Who connects to this one while a receiver
is replaced, or has died, waits a moment for the next.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from workers.receiver.server import BACKLOG


class Listeners:
    """`reserved`: a socket that has the port and does not listen."""

    def __init__(self, reserved: socket.socket) -> None:
        self._reserved = reserved
        self._sockets: dict[str, socket.socket] = {}

    def of(self, name: str) -> socket.socket:
        """The one of the receiver of that name; it listens from now on."""
        if name not in self._sockets:
            self._sockets[name] = made = socket.socket(self._reserved.family, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(self._reserved.getsockname())
            made.listen(BACKLOG)
        return self._sockets[name]

    def keep(self, names: Iterable[str]) -> None:
        """Close all others: only processes that have one of those still listen on it."""
        for name in self._sockets.keys() - set(names):
            self._sockets.pop(name).close()
