"""A Redis that takes nobody without TLS and lets us do no more than docs/redis.md says that we need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from pipeline.faults import GatepostError
from tests.support.customer import Customer, customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import free_port, listens, need
from tests.support.topologies import WRITING, Node, documented_user
from workers.wiring import Wiring

MAIL = b"Subject: x\r\n\r\nhello\r\n"
PASSWORD = "pass/word@1"


class Closed:
    """One server: TLS only, its clients need a certificate, and there is one user with a password, besides the operator."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        for name in ("server", "client"):
            made = authority.issue_cert("127.0.0.1", "localhost")
            made.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
            made.private_key_pem.write_to_path(directory / f"{name}.key")
        (directory / "password").write_text(PASSWORD + "\n")
        (directory / "users.acl").write_text(
            f"user default off\nuser operator on >operator ~* &* +@all\n{documented_user(PASSWORD)}\n"
        )
        self.port = free_port()
        options = {
            **WRITING,
            "tls-port": str(self.port),
            "tls-auth-clients": "yes",
            "aclfile": str(directory / "users.acl"),
        }
        options |= {"tls-cert-file": str(directory / "server.pem"), "tls-key-file": str(directory / "server.key")}
        self.node = Node(
            directory / "data", {**options, "tls-ca-cert-file": str(directory / "ca.pem")}, binary=need("redis-server")
        )  # ours has no TLS
        self.node.options["port"] = "0"
        self.settings = {
            "redis_url": f"rediss://gatepost@127.0.0.1:{self.port}/0",
            "redis_password_file": directory / "password",
            "redis_tls_ca": directory / "ca.pem",
            "redis_tls_cert": directory / "client.pem",
            "redis_tls_key": directory / "client.key",
        }
        self._operator = redis.Redis(
            host="127.0.0.1", port=self.port, username="operator", password="operator", ssl=True,
            ssl_ca_certs=str(directory / "ca.pem"), ssl_certfile=str(directory / "client.pem"),
            ssl_keyfile=str(directory / "client.key"),
        )  # fmt: skip

    def start(self) -> None:
        self.node.spawn()
        assert self.node.process
        self.node.process.wait_ready(lambda: listens(self.port))

    def refused(self) -> list[str]:
        """What we tried and may not do."""
        rows = self._operator.execute_command("ACL LOG")
        return [" ".join(str(row[name]) for name in ("reason", "object")) for row in rows]

    def stop(self) -> None:
        self._operator.close()
        self.node.stop()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    server = Closed(tmp_path_factory.mktemp("closed"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


def test_mail_goes_through_and_nothing_is_tried_that_the_page_does_not_name(closed: Closed, server: Customer):
    with gateway(**closed.settings, archive="true", metrics=f"127.0.0.1:{free_port()}") as running:
        running.add(server.route)
        message_id = running.send(MAIL)
        (arrived,) = server.wait(1)
        assert (arrived.id, arrived.original) == (message_id, MAIL)
        running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
        looks(running, message_id)
    assert closed.refused() == []


def looks(running: Gateway, message_id: str) -> None:
    """What commands read and change."""
    assert "fatal" not in {finding["weight"] for finding in running.json("check", ok=False)["findings"]}
    assert json.loads(running.cli("trace", message_id, "--json").stdout)
    running.cli("audit", "verify", ok=False)
    assert PASSWORD not in running.cli("config", "show").stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"redis_tls_ca": ""}, "certificate verify failed"),
        ({"redis_tls_ca": "/nonexistent"}, "cannot use redis_tls_ca"),
        ({"redis_tls_cert": "", "redis_tls_key": ""}, "cannot be reached"),
        ({"redis_password_file": "/nonexistent"}, "cannot read the secret"),
        ({"redis_user": "somebody"}, "Check user and password"),
    ],
)
async def test_what_is_wrong_is_named_and_the_password_is_not(closed: Closed, tmp_path: Path, change, says):
    settings = Gateway(tmp_path / "data", **{**closed.settings, **change}).settings()
    with pytest.raises(GatepostError) as raised:
        await Wiring.connect(settings)
    said = f"{raised.value} {raised.value.remedy}"
    assert says in said
    assert PASSWORD not in said
