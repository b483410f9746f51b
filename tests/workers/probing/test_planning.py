"""What is to be looked at follows from the directory and the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pipeline import configuration
from pipeline.address import parse
from pipeline.directory import Address, Domain
from pipeline.directory.model import Kind
from pipeline.directory.options import RouteOptions, Tls
from pipeline.faults import ConfigurationError
from pipeline.probing.model import Login, Source
from pipeline.units import SourceAddress
from tests.support.servers import RedisServer
from workers.probing.planning import login_for, plan_for
from workers.wiring import Wiring

ROUTE = ("mail.example.test:25",)


@pytest.fixture
async def wiring(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Wiring]:
    settings = configuration.load(
        environ={"GATEPOST_DATA": str(tmp_path), "GATEPOST_REDIS_URL": redis_server.url, "GATEPOST_HOSTNAME": "gw.test"}
    )
    made = await Wiring.connect(settings)
    yield made
    await made.close()


async def add(wiring: Wiring, *addresses: Address, **fields) -> None:
    usual = {"name": "example.test", "route": ROUTE}
    await wiring.directory.set_domain(Domain(**{**usual, **fields}), by="test", now=1)
    await wiring.directory.set_addresses({fields.get("name", "example.test"): addresses}, by="test", now=1)


async def test_a_domain_of_ours_is_tested_at_its_route_with_a_listed_mailbox(wiring):
    await add(wiring, Address(local="all", kind=Kind.GROUP), Address(local="ben"), Address(local="anna"))
    plan = await plan_for(wiring, "example.test", token="t0ken")
    assert (plan.route, plan.known, plan.listed) == (ROUTE, "anna@example.test", True)
    assert (plan.random, plan.hostname, plan.size) == ("gatepost-test-t0ken@example.test", "gw.test", 35_883_008)
    assert (plan.send, plan.catch_all, plan.quick) == ("", False, False)


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [Address(local="gone", gone=1)],
        [Address(local="two words")],
        [Address(local="ännä")],
    ],
)
async def test_postmaster_is_asked_for_when_no_address_can_be_told_plainly(wiring, addresses):
    await add(wiring, *addresses)
    plan = await plan_for(wiring, "example.test", token="t")
    assert (plan.known, plan.listed) == ("postmaster@example.test", False)


async def test_a_group_will_do_where_there_is_no_mailbox(wiring):
    await add(wiring, Address(local="all", kind=Kind.GROUP))
    assert (await plan_for(wiring, "example.test", token="t")).known == "all@example.test"


async def test_an_alias_is_tested_as_its_home(wiring):
    await add(wiring, Address(local="anna"))
    await wiring.directory.set_domain(Domain(name="alias.test", alias_of="example.test"), by="test", now=1)
    plan = await plan_for(wiring, "alias.test", token="t", to=parse("ben@alias.test"))
    assert (plan.domain, plan.route, plan.known) == ("example.test", ROUTE, "ben@example.test")


async def test_a_child_has_the_route_of_its_parent_and_limits_of_its_own(wiring):
    await add(wiring)
    await wiring.directory.set_domain(
        Domain(name="shop.example.test", parent="example.test", max_message_size=1000, catch_all=True), by="test", now=1
    )
    plan = await plan_for(wiring, "shop.example.test", token="t", send=True)
    assert (plan.route, plan.size, plan.catch_all, plan.send) == (ROUTE, 1000, True, "t")


async def test_a_foreign_domain_is_tested_by_its_mx(wiring):
    plan = await plan_for(wiring, "elsewhere.test", token="t")
    assert (plan.domain, plan.route, plan.known, plan.listed) == (
        "elsewhere.test",
        (),
        "postmaster@elsewhere.test",
        False,
    )


async def test_a_recipient_of_another_domain_is_refused(wiring):
    await add(wiring)
    with pytest.raises(ConfigurationError, match=r"is not of example\.test"):
        await plan_for(wiring, "example.test", token="t", to=parse("anna@elsewhere.test"))


# How the route is to be spoken to


async def with_sources(wiring: Wiring, *sources: str) -> Wiring:
    wiring.settings = msgspec.structs.replace(wiring.settings, source_addresses=tuple(map(SourceAddress, sources)))
    return wiring


THREE = ("127.0.0.2 two.example", "127.0.0.3", "::1 six.example")


async def test_servers_are_visited_in_the_order_of_their_priorities(wiring):
    await add(wiring, route=("20 b.example.test:25", "10 a.example.test:25", "mx:c.example.test"))
    plan = await plan_for(wiring, "example.test", token="t")
    assert plan.route == ("10 a.example.test:25", "20 b.example.test:25", "mx:c.example.test")


async def test_without_source_addresses_the_system_chooses(wiring):
    await add(wiring)
    assert (await plan_for(wiring, "example.test", token="t")).sources == (Source(),)
    with pytest.raises(ConfigurationError, match="no source address"):
        await plan_for(wiring, "example.test", token="t", each_source=True)


async def test_the_first_source_of_each_family_is_taken_or_each_one(wiring):
    await with_sources(wiring, *THREE)
    await add(wiring)
    first = await plan_for(wiring, "example.test", token="t")
    assert set(first.sources) == {Source("127.0.0.2", "two.example"), Source("::1", "six.example")}
    each = await plan_for(wiring, "example.test", token="t", each_source=True)
    assert each.sources == (Source("127.0.0.2", "two.example"), Source("127.0.0.3"), Source("::1", "six.example"))


async def test_a_route_may_choose_among_the_sources_and_have_a_name_of_its_own(wiring):
    await with_sources(wiring, *THREE)
    await add(wiring, route_options=RouteOptions(sources=("127.0.0.3", "127.0.0.2"), ehlo="own.example"))
    plan = await plan_for(wiring, "example.test", token="t", each_source=True)
    assert plan.sources == (Source("127.0.0.3", "own.example"), Source("127.0.0.2", "own.example"))
    assert (await plan_for(wiring, "example.test", token="t")).sources == (Source("127.0.0.3", "own.example"),)


@pytest.mark.parametrize(
    ("tls", "wanted"),
    [
        (Tls.NEVER, (True, False, False)),
        (Tls.OFFERED, (False, False, False)),
        (Tls.ALWAYS, (False, True, False)),
        (Tls.VERIFIED, (False, False, True)),
    ],
)
async def test_the_policy_of_the_route_is_that_of_the_test(wiring, tls, wanted):
    await add(wiring, route_options=RouteOptions(tls=tls))
    plan = await plan_for(wiring, "example.test", token="t")
    assert (plan.plain, plan.encrypted, plan.verified) == wanted


async def test_the_password_is_read_where_the_route_says(wiring, tmp_path):
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    assert login_for(wiring, "example.test") is None
    await add(wiring, route_options=RouteOptions(auth_user="gate", auth_secret_file=str(file)))
    await wiring.directory.refresh()
    assert login_for(wiring, "example.test") == Login("gate", "s3cret")
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot log in"):
        login_for(wiring, "example.test")
