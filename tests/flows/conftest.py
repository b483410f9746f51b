"""One gateway for all tests of a module, a customer's server for each test, and domains of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support.customer import Customer, customer
from tests.support.gateway import Gateway, gateway

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway(retry_interval="1s", queue_lifetime="60s", keep_connection="500ms") as started:
        yield started


@pytest.fixture
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture
def domain(running: Gateway, server: Customer) -> str:
    """A domain of this test, with anna and ben, whose server is `server`."""
    name = f"d{next(_numbers)}.example.test"
    running.add(server.route, f"anna@{name}", f"ben@{name}", domain=name)
    return name
