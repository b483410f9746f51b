"""Sockets that outlive the receivers that listen on them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.units import Endpoint
from workers.listeners import Listeners
from workers.nursery import LISTENER
from workers.starting import _spawned
from workers.supervisor import reserve

ACCEPTS = f"import os, socket; socket.socket(fileno=int(os.environ['{LISTENER}'])).accept()[0].sendall(b'here')"


@pytest.fixture
def place() -> Iterator[tuple[Listeners, int]]:
    reserved, endpoint = reserve(Endpoint("127.0.0.1:0"))
    with reserved:
        yield (listeners := Listeners(reserved)), endpoint.port
        listeners.keep(())


def connected(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
        return True
    return False


def test_a_port_listens_while_there_is_a_receiver_for_it_and_no_longer(place):
    listeners, port = place
    assert not connected(port)
    assert listeners.of("receiver-1") is listeners.of("receiver-1")
    assert listeners.of("receiver-2") is not listeners.of("receiver-1")
    listeners.keep(["receiver-2"])
    assert connected(port)
    listeners.keep([])
    assert not connected(port)


def test_a_program_takes_connections_where_it_is_told_to_and_its_end_closes_nothing(place, monkeypatch):
    listeners, port = place
    monkeypatch.setattr("workers.starting.PROGRAM", (sys.executable, "-S", "-c", ACCEPTS))
    for _ in range(2):
        listener = listeners.of("receiver-1")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            process = _spawned(["worker", "receiver"], {}, listener)
            assert client.recv(10) == b"here"
        assert isinstance(process, subprocess.Popen)
        assert process.wait(10) == 0
    assert connected(port)
