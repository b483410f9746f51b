"""A Redis that takes nobody without TLS and lets us do no more than docs/redis.md says that we need: of each kind that there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.faults import GatepostError, UnsafeStoreError
from pipeline.store import Script, dangers, open_client, refuse_unsafe
from tests.support import topologies
from tests.support.customer import Customer, customer
from tests.support.gateway import DOMAIN, Gateway, gateway
from tests.support.nodes import PASSWORD
from tests.support.servers import free_port, wait_until
from tests.support.topologies import Outside, RedisAlone, RedisCluster, WatchedRedis
from workers.wiring import Wiring

MAIL = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def closed() -> Iterator[RedisAlone]:
    with topologies.started(RedisAlone, guarded=True) as started:
        yield started


@pytest.fixture
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.mark.parametrize("kind", [RedisAlone, WatchedRedis, RedisCluster])
def test_mail_goes_through_and_nothing_is_tried_that_the_page_does_not_name(kind: type[Outside], server: Customer):
    with (
        topologies.started(kind, guarded=True) as redis,
        gateway(**redis.settings, archive="true", metrics=f"127.0.0.1:{free_port()}") as running,
    ):
        running.add(server.route)
        message_id = running.send(MAIL)
        (arrived,) = server.wait(1)
        assert (arrived.id, arrived.original) == (message_id, MAIL)
        running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
        looks(running, message_id)
        assert redis.refused() == {b"*0\r\n"}


def looks(running: Gateway, message_id: str) -> None:
    """What commands read and change."""

    def caught_up() -> bool:
        return not any(one["events_behind"] for one in running.json("views", ok=False)["views"])

    wait_until(caught_up, what="all views to have seen everything")
    assert running.json("queue")["waiting"]["messages"] == 0
    assert [(one["domain"], one["received"], one["delivered"]) for one in running.json("books")["domains"]] == [
        (DOMAIN, 1, 1)
    ]
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
async def test_what_is_wrong_is_named_and_the_password_is_not(closed: RedisAlone, tmp_path: Path, change, says):
    settings = Gateway(tmp_path / "data", **{**closed.settings, **change}).settings()
    with pytest.raises(GatepostError) as raised:
        await Wiring.connect(settings)
    said = f"{raised.value} {raised.value.remedy}"
    assert says in said
    assert PASSWORD not in said


async def test_a_redis_that_would_forget_what_scripts_wrote_when_it_starts_is_refused(closed: RedisAlone):
    """Redis 7.0 reads its file back as the user `default`, and leaves out what that one may not do."""
    (node,) = closed.nodes
    client = open_client(closed.address)
    try:
        await refuse_unsafe(client)
        node.command("ACL", "SETUSER", "default", "-@all")
        with pytest.raises(UnsafeStoreError, match="`default`, who reads it back, may not write"):
            await refuse_unsafe(client)
        node.command("ACL", "SETUSER", "gatepost", "-acl|dryrun")
        assert [one.fatal for one in await dangers(client) if "ACL DRYRUN" in one.found] == [False]
    finally:
        node.command("ACL", "LOAD")
        node.command("ACL", "LOG", "RESET")
        await client.aclose()


async def test_what_scripts_wrote_is_there_when_a_closed_redis_starts_again(closed: RedisAlone):
    (node,) = closed.nodes
    written = Script("redis.call('SET', KEYS[1], '1') redis.call('SET', KEYS[2], '2')")
    client = open_client(closed.address)
    await written(client, ["gp:one", "gp:two"], [])
    await client.aclose()
    node.kill()
    node.start()
    client = open_client(closed.address)
    assert await client.mget("gp:one", "gp:two") == [b"1", b"2"]
    await client.aclose()
