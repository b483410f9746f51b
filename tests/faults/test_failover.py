"""A part of Redis is lost while mail flows: a master, whose replica takes its place, or a node of a Cluster, which comes back.

Exact accounts, as in test_kill.py. `GATEPOST_TEST_MESSAGES` sets the length.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import redis

from pipeline import keys
from pipeline.ids import partition_for
from tests.faults.accounts import Fault, Senders, killed, wait_settled
from tests.faults.test_kill import account, message
from tests.support import topologies
from tests.support.customer import Customer, customer
from tests.support.gateway import DOMAIN, Gateway, gateway
from tests.support.moving import Move
from tests.support.nodes import Node
from tests.support.servers import free_port, wait_until
from tests.support.topologies import RedisCluster, WatchedRedis

MESSAGES = int(os.environ.get("GATEPOST_TEST_MESSAGES", "150"))
SECOND = "d2.test"
MAIL = b"Subject: x\r\n\r\nhello\r\n"
SETTINGS = {"lease": "3s", "retry_interval": "1s", "receivers": 1}


def for_two(number: int) -> tuple[bytes, str]:
    """One in five is for a domain of another node."""
    content, recipient = message(number)
    return content, f"anna@{SECOND}" if number % 5 == 1 else recipient


def sending(running: Gateway, server: Customer, make: Callable[[int], tuple[bytes, str]] = message) -> Senders:
    server.refuse["gone@example.test"] = "550 5.1.1 no such user"
    running.add(server.route, "anna@example.test", "gone@example.test")
    running.add(server.route, "sender@elsewhere.test", domain="elsewhere.test")
    running.add(server.route, f"anna@{SECOND}", domain=SECOND)
    senders = Senders(running.port, MESSAGES, make)
    senders.start()
    return senders


def finish(running: Gateway, server: Customer, senders: Senders, lost: list[Fault]) -> None:
    wait_until(lambda: senders.done, within=120, what="all messages accepted")
    wait_settled(running, within=60)
    account(running, server, senders, lost)


def masters_of(outside: WatchedRedis | RedisCluster) -> tuple[Node, list[Node]]:
    """The one that has the mail, and those that may take its place."""
    if isinstance(outside, WatchedRedis):
        first = outside.master()
        return first, [node for node in outside.nodes if node is not first]
    first = outside.master_of(log_of(DOMAIN))
    return first, [outside.nodes[outside.nodes.index(first) + outside.masters]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "options", "returns"),
    [(WatchedRedis, {}, False), (WatchedRedis, {}, True), (RedisCluster, {"replicas": 1}, True)],
)
def test_a_master_that_is_lost_takes_nothing_with_it_that_was_acknowledged(kind, options, returns):
    with (
        topologies.started(kind, guarded=True, **options) as outside,
        customer() as server,
        gateway(**outside.settings, redis_replicas=1, **SETTINGS) as running,
    ):
        first, others = masters_of(outside)
        senders = sending(running, server, for_two)
        wait_until(lambda: len(senders.acknowledged) > MESSAGES // 3, within=60, what="mail")
        first.kill()
        lost = [killed("redis")]
        wait_until(lambda: any(node.is_master() for node in others), within=30, what="a replica in its place")
        if returns:
            # Behind Sentinels it begins as a master that they name, with a replica, and is given up only then. In the Cluster there is none
            # that could have a copy until it is the other's replica, and new mail waits.
            first.start()
        finish(running, server, senders, lost)
        assert [node.is_master() for node in others].count(True) == 1
        assert outside.refused() == {b"*0\r\n"}


@pytest.mark.timeout(300)
def test_a_node_of_a_cluster_may_be_away_and_come_back():
    with (
        topologies.started(RedisCluster) as outside,
        customer() as server,
        gateway(redis_url=outside.url, **SETTINGS) as running,
    ):
        first, second = (outside.master_of(f"gp:{{{partition_for(name, 8)}}}:log") for name in ("example.test", SECOND))
        assert first is not second
        senders = sending(running, server, for_two)
        wait_until(lambda: len(senders.acknowledged) > MESSAGES // 4, within=60, what="mail")
        second.kill()
        lost = [killed("redis")]
        before = len(senders.acknowledged)
        wait_until(lambda: len(senders.acknowledged) > before + 10, within=60, what="mail through the other nodes")
        second.start()
        wait_until(lambda: len(senders.acknowledged) > MESSAGES // 2, within=60, what="mail")
        first.kill()
        lost.append(killed("redis"))
        first.start()
        finish(running, server, senders, lost)
        assert outside.refused() == {b"*0\r\n"}


@pytest.mark.timeout(300)
def test_slots_may_be_moved_to_other_nodes_while_mail_flows():
    with (
        topologies.started(RedisCluster) as outside,
        customer() as server,
        gateway(redis_url=outside.url, **SETTINGS) as running,
    ):
        senders = sending(running, server, for_two)
        for name in ("example.test", SECOND):
            before = len(senders.acknowledged)
            wait_until(lambda before=before: len(senders.acknowledged) > before + 20, within=60, what="mail")
            with Move(outside, f"gp:{{{partition_for(name, 8)}}}:log") as move:
                move.begin()
                move.carry(*move.left()[::2])
                # Half is here and half is there: its mail waits for its 250, and that for the other domain goes on.
                before = len(senders.acknowledged)
                if name == SECOND:
                    wait_until(lambda before=before: len(senders.acknowledged) > before + 10, within=60, what="mail")
                move.end()
        finish(running, server, senders, [])
        assert outside.refused() == {b"*0\r\n"}


def log_of(domain: str) -> str:
    return f"gp:{{{partition_for(domain, 8)}}}:log"


@pytest.mark.timeout(300)
def test_a_node_that_hangs_holds_up_its_own_part_and_no_other():
    with (
        topologies.started(RedisCluster) as outside,
        # What is shared about the customer's server is at one of the nodes as well.
        customer(port_at(outside, keys.DIRECTORY_LOG)) as server,
        gateway(redis_url=outside.url, **SETTINGS) as running,
    ):
        others = {outside.master_of(name) for name in (log_of(DOMAIN), keys.DIRECTORY_LOG)}
        second = next(f"d{n}.test" for n in range(100) if outside.master_of(log_of(f"d{n}.test")) not in others)
        running.add(server.route)
        running.add(server.route, domain=second)
        for domain in (DOMAIN, second):
            running.send(MAIL, f"anna@{domain}")
        server.wait(2)
        with outside.master_of(log_of(second)).paused():
            for count in range(3, 8):
                running.send(MAIL)
                server.wait(count)
            wait_until(lambda: folded(outside, DOMAIN), what="the views of the other nodes' partitions")
        running.send(MAIL, f"anna@{second}")
        server.wait(8)
        wait_settled(running, within=60)


def port_at(cluster: RedisCluster, key: str) -> int:
    """A free port that is at the same node as a key, with what is shared about a server there."""
    while cluster.master_of(keys.server(f"127.0.0.1:{(port := free_port())}")) is not cluster.master_of(key):
        pass
    return port


def folded(cluster: RedisCluster, domain: str) -> bool:
    """Whether the books have seen the last event of a domain's partition."""
    partition = partition_for(domain, 8)
    with redis.Redis(port=cluster.master_of(log_of(domain)).port) as node:
        ((last, _),) = node.xrevrange(log_of(domain), count=1)
        live = node.hget(keys.builds(partition), "live:books")
        return bool(live and node.get(keys.view(partition, "books", int(live.split()[0])) + "checkpoint") == last)
