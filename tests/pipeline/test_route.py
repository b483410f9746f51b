import ipaddress

import pytest

from pipeline.faults import ConfigurationError, RefusedError
from pipeline.outcome import Kind, classify
from pipeline.route import (
    MAX_TARGETS,
    LookupFailed,
    Resolver,
    RouteError,
    check_route,
    check_routes,
    forbidden,
    resolve,
)
from tests.support.dns import Names

PUBLIC = "9.9.9.9"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def as_listed() -> float:
    return 0.0


async def targets(names: Names, route=(), name="example.org", allowed=()) -> list[str]:
    found = await resolve(route, name, Resolver(f"127.0.0.1:{names.port}", lifetime=0.5), allowed, as_listed)
    return [f"{target.server} {target.address} {target.port}" for target in found]


async def failure(names: Names, route=(), name="example.org", allowed=()) -> tuple[str, str, Kind]:
    with pytest.raises(RouteError) as caught:
        await targets(names, route, name, allowed)
    attempt = caught.value.attempt
    assert attempt.stage == "route"
    return attempt.enhanced, attempt.reply, classify(attempt)


async def test_a_configured_route_is_dialled_in_its_order_with_all_addresses_ipv4_first():
    records = {
        ("one.example", "A"): ["9.9.9.9", "9.9.9.10"], ("one.example", "AAAA"): ["2620:fe::9"], ("two.example", "A"): ["8.8.8.8"],
    }  # fmt: skip
    async with Names(records) as names:
        assert await targets(names, ["one.example:2525", "two.example:25", "[2620:fe::fe]:26", "8.8.4.4:27"]) == [
            "one.example:2525 9.9.9.9 2525",
            "one.example:2525 2620:fe::9 2525",
            "one.example:2525 9.9.9.10 2525",
            "two.example:25 8.8.8.8 25",
            "[2620:fe::fe]:26 2620:fe::fe 26",
            "8.8.4.4:27 8.8.4.4 27",
        ]


async def test_a_moved_server_is_followed():
    async with Names({("one.example", "A"): [PUBLIC]}) as names:
        assert await targets(names, ["one.example:25"]) == ["one.example:25 9.9.9.9 25"]
        names.records["one.example", "A"] = ["8.8.8.8"]
        assert await targets(names, ["one.example:25"]) == ["one.example:25 8.8.8.8 25"]


async def test_a_foreign_domain_is_reached_by_its_mx_in_order_of_preference():
    records = {
        ("example.org", "MX"): ["20 b.example.", "10 a.example.", "20 c.example."],
        ("a.example", "A"): ["9.9.9.1"], ("b.example", "A"): ["9.9.9.2"], ("c.example", "A"): ["9.9.9.3"],
    }  # fmt: skip
    async with Names(records) as names:
        assert await targets(names) == ["a.example:25 9.9.9.1 25", "b.example:25 9.9.9.2 25", "c.example:25 9.9.9.3 25"]
        resolver = Resolver(f"127.0.0.1:{names.port}")
        turned = await resolve((), "example.org", resolver, (), lambda: 0.99)
        assert [target.host for target in turned] == ["a.example", "c.example", "b.example"]


async def test_a_domain_without_mx_is_its_own_server():
    async with Names({("example.org", "A"): [PUBLIC]}) as names:
        assert await targets(names) == ["example.org:25 9.9.9.9 25"]


async def test_an_mx_that_is_an_alias_is_followed():
    records = {
        ("example.org", "MX"): ["10 a.example."],
        ("a.example", "CNAME"): ["b.example"],
        ("b.example", "A"): [PUBLIC],
    }
    async with Names(records) as names:
        assert await targets(names) == ["a.example:25 9.9.9.9 25"]


MX = {
    ("shop.example", "MX"): ["20 b.example.", "10 a.example."],
    ("a.example", "A"): ["9.9.9.1"], ("b.example", "A"): ["9.9.9.2"], ("c.example", "A"): ["9.9.9.3"],
}  # fmt: skip


async def test_the_mx_of_a_name_are_looked_up_each_time_and_stand_where_the_route_has_them():
    async with Names(MX) as names:
        route = ["30 c.example:25", "20 mx:shop.example:2525"]
        expected = ["a.example:2525 9.9.9.1 2525", "b.example:2525 9.9.9.2 2525", "c.example:25 9.9.9.3 25"]
        assert await targets(names, route) == expected
        names.records["shop.example", "MX"] = ["5 c.example."]
        assert await targets(names, ["mx:shop.example"]) == ["c.example:25 9.9.9.3 25"]
        resolver = Resolver(f"127.0.0.1:{names.port}")
        found = await resolve(["mx:shop.example", "b.example:25"], "", resolver, ())
        assert [target.via for target in found] == ["mx:shop.example", ""]


async def test_a_name_without_mx_is_its_own_exchanger():
    async with Names({("shop.example", "A"): [PUBLIC]}) as names:
        assert await targets(names, ["mx:shop.example"]) == ["shop.example:25 9.9.9.9 25"]


@pytest.mark.parametrize(
    ("records", "enhanced", "words"),
    [
        ({("shop.example", "MX"): ["0 ."]}, "4.1.10", "null MX"),
        ({}, "4.1.2", "does not exist"),
        ({("shop.example", "MX"): ["1 in.example."], ("in.example", "A"): ["10.0.0.1"]}, "4.4.4", "allow_networks"),
        ({("shop.example", "MX"): ["1 us.example."], ("us.example", "A"): [PUBLIC]}, "4.4.6", "leads back here: us.example is us"),
    ],
)  # fmt: skip
async def test_a_configured_mx_that_leads_nowhere_is_temporary_because_it_can_be_mended(records, enhanced, words):
    async with Names(records) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=0.5)
        with pytest.raises(RouteError) as caught:
            await resolve(["mx:shop.example"], "", resolver, (), ours=are_we)
        assert caught.value.attempt.enhanced == enhanced
        assert words in caught.value.attempt.reply
        assert caught.value.attempt.server == "in.example:25" if "allow" in words else "mx:shop.example"


def are_we(host: str, port: int, addresses: object) -> str:
    return f"{host} is us" if host == "us.example" else ""


async def test_our_own_mx_and_all_behind_it_are_left_out():
    records = {
        ("example.org", "MX"): ["10 a.example.", "20 us.example.", "20 b.example.", "30 c.example."],
        ("a.example", "A"): ["9.9.9.1"], ("b.example", "A"): ["9.9.9.2"], ("c.example", "A"): ["9.9.9.3"], ("us.example", "A"): ["9.9.9.4"],
    }  # fmt: skip
    async with Names(records) as names:
        found = await resolve((), "example.org", Resolver(f"127.0.0.1:{names.port}"), (), ours=are_we)
        assert [target.host for target in found] == ["a.example"]


async def test_a_foreign_domain_whose_mx_are_only_we_gets_no_mail():
    async with Names({("example.org", "MX"): ["1 us.example."], ("us.example", "A"): [PUBLIC]}) as names:
        with pytest.raises(RouteError) as caught:
            await resolve((), "example.org", Resolver(f"127.0.0.1:{names.port}"), (), ours=are_we)
        assert classify(caught.value.attempt) is Kind.REFUSED


async def test_a_server_of_a_route_that_has_moved_to_us_is_not_dialled_and_does_not_hide_the_next():
    async with Names({("us.example", "A"): [PUBLIC], ("a.example", "A"): ["9.9.9.1"]}) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}")
        found = await resolve(["us.example:25", "a.example:25"], "", resolver, (), ours=are_we)
        assert [target.host for target in found] == ["a.example"]


async def test_a_null_mx_is_permanent():
    async with Names({("example.org", "MX"): ["0 ."], ("example.org", "A"): [PUBLIC]}) as names:
        assert (await failure(names))[::2] == ("5.1.10", Kind.REFUSED)


async def test_a_foreign_domain_that_does_not_exist_is_permanent():
    async with Names({}) as names:
        assert await failure(names) == ("5.1.2", "the name example.org does not exist", Kind.REFUSED)


async def test_a_foreign_domain_without_any_address_is_permanent():
    async with Names({("example.org", "TXT"): ['"x"']}) as names:
        assert await failure(names) == ("5.4.4", "example.org has no address", Kind.REFUSED)


async def test_a_configured_name_that_does_not_exist_is_temporary_because_it_can_be_mended():
    async with Names({}) as names:
        assert await failure(names, ["gone.example:25"]) == (
            "4.1.2",
            "the name gone.example does not exist",
            Kind.DEFERRED,
        )


@pytest.mark.parametrize("trouble", ["failing", "silent"])
async def test_a_dns_in_trouble_is_temporary(trouble):
    async with Names({("example.org", "A"): [PUBLIC]}, **{trouble: ["example.org"]}) as names:
        assert (await failure(names))[::2] == ("4.4.3", Kind.DEFERRED)


async def test_one_family_in_trouble_does_not_hide_the_other():
    async with Names({("one.example", "A"): [PUBLIC]}, failing=["one.example AAAA"]) as names:
        assert await targets(names, ["one.example:25"]) == ["one.example:25 9.9.9.9 25"]
    async with Names({("one.example", "TXT"): ['"x"']}, failing=["one.example AAAA"]) as names:
        assert (await failure(names, ["one.example:25"]))[0] == "4.4.3"


async def test_one_server_that_may_come_back_makes_the_failure_temporary():
    records = {("example.org", "MX"): ["10 gone.example.", "20 down.example."]}
    async with Names(records, failing=["down.example"]) as names:
        assert (await failure(names))[::2] == ("4.4.3", Kind.DEFERRED)


async def test_one_server_that_cannot_be_found_does_not_hide_the_next():
    async with Names({("two.example", "A"): [PUBLIC]}) as names:
        assert await targets(names, ["gone.example:25", "two.example:25"]) == ["two.example:25 9.9.9.9 25"]


async def test_a_name_that_leads_into_a_private_network_is_not_dialled_and_the_reason_names_the_setting():
    records = {
        ("one.example", "A"): ["10.1.2.3", PUBLIC],
        ("in.example", "A"): ["192.168.1.1"],
        ("in.example", "AAAA"): ["::ffff:7f00:1"],
    }
    async with Names(records) as names:
        assert await targets(names, ["one.example:25"]) == ["one.example:25 9.9.9.9 25"]
        enhanced, words, kind = await failure(names, ["in.example:25"])
        assert (enhanced, kind) == ("4.4.4", Kind.DEFERRED)
        assert "192.168.1.1 is a private address" in words
        assert "allow_networks" in words
        allowed = [ipaddress.ip_network("192.168.0.0/16")]
        assert await targets(names, ["in.example:25"], allowed=allowed) == ["in.example:25 192.168.1.1 25"]


async def test_a_foreign_mx_in_our_own_network_is_permanent():
    async with Names({("example.org", "MX"): ["10 a.example."], ("a.example", "A"): ["127.0.0.1"]}) as names:
        assert (await failure(names))[::2] == ("5.4.4", Kind.REFUSED)


async def test_localhost_is_not_looked_up_and_needs_permission():
    async with Names({}) as names:
        assert (await failure(names, ["localhost:25"]))[0] == "4.4.4"
        assert await targets(names, ["localhost:25"], allowed=LOOPBACK) == [
            "localhost:25 127.0.0.1 25",
            "localhost:25 ::1 25",
        ]
        assert names.asked == []


async def test_a_name_with_a_thousand_addresses_is_tried_at_a_few():
    records = {("example.org", "MX"): [f"{n} m{n}.example." for n in range(25)]}
    records |= {(f"m{n}.example", "A"): [f"9.9.{n}.{k}" for k in range(1, 5)] for n in range(25)}  # type: ignore[misc]
    async with Names(records) as names:
        assert len(await targets(names)) == MAX_TARGETS
        assert len({name for name, kind in names.asked if kind == "A"}) == 10


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "x..example", "\x00\x1b[2J", "." * 300, "a." * 200 + "x"])
async def test_a_name_that_is_none_is_a_failure_in_printable_words(name):
    async with Names({}) as names:
        _, words, kind = await failure(names, [], name)
        assert words.isprintable()
        assert kind is Kind.REFUSED


async def test_answers_are_cached_for_their_time_to_live():
    async with Names({("one.example", "A"): [PUBLIC]}) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}")
        for _ in range(3):
            assert await resolver.addresses("one.example") == (PUBLIC,)
        assert names.asked.count(("one.example", "A")) == 1


async def test_a_lookup_tells_no_from_not_now():
    async with Names({}, failing=["down.example"]) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=0.5)
        for name, permanent in (("gone.example", True), ("down.example", False)):
            with pytest.raises(LookupFailed) as caught:
                await resolver.mx(name)
            assert caught.value.permanent is permanent


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353", ""])
def test_the_resolver_is_an_address_with_or_without_port(server):
    Resolver(server)


@pytest.mark.parametrize(
    "server", ["dns.example", "dns.example:53", "127.0.0.1:x", "127.0.0.1:", "1.2.3", "127.0.0.1:0", "127.0.0.1:65536"]
)
def test_a_resolver_that_is_none_is_a_configuration_error(server):
    with pytest.raises(ConfigurationError):
        Resolver(server)


FORBIDDEN = [
    "0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.2.1",
    "198.18.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001:0:1::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_not_global_unicast_is_forbidden_in_every_form(address):
    assert forbidden(ipaddress.ip_address(address), ()) != ""
    everything = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    assert forbidden(ipaddress.ip_address(address), everything) == ""


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "1.1.1.1", "2620:fe::9", "::ffff:9.9.9.9", "64:ff9b::909:909", "2a00:1450::1"]
)
def test_a_global_address_is_not_forbidden(address):
    assert forbidden(ipaddress.ip_address(address), ()) == ""


def test_allowing_a_network_allows_its_addresses_in_mapped_form_and_no_others():
    allowed = (ipaddress.ip_network("10.1.0.0/16"),)
    assert forbidden(ipaddress.ip_address("::ffff:10.1.2.3"), allowed) == ""
    assert forbidden(ipaddress.ip_address("10.2.0.1"), allowed) == "10.2.0.1 is a private address"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("mail.example.com:25", "mail.example.com:25"),
        (" Mail.Example.COM:2525 ", "mail.example.com:2525"),
        ("9.9.9.9:25", "9.9.9.9:25"),
        ("[2620:FE::9]:25", "[2620:fe::9]:25"),
        ("xn--mller-kva.example:25", "xn--mller-kva.example:25"),
        ("mail:25", "mail:25"),
        ("10/5 Mail.Example.com:25", "10/5 mail.example.com:25"),
        ("mx:Example.com", "mx:example.com"),
    ],
)
def test_a_good_route_is_stored_in_lower_case(text, stored):
    assert check_route(text, ()) == stored


@pytest.mark.parametrize(
    "text",
    ["", "mail.example.com", "mail.example.com:", ":25", "mail.example.com:0", "mail.example.com:65536", "mail example.com:25",
     "-x.example:25", "x-.example:25", "a..b:25", "1.2.3:25", "1.2.3.4.5:25", "127.1:25", "2130706433:25", "::1:25", "[zz]:25", "[]:25",
     "m\u00fcller.example:25", "x\x1b[2J:25", "a" * 64 + ".example:25", "smtp://mail.example.com:25",
     "70000 mail.example.com:25", "mx:9.9.9.9", "mx:[2620:fe::9]:25", "mx:mail.example.com:0", "mx:x\x1b[2J", "10 20 mail.example.com:25"],
)  # fmt: skip
def test_a_route_that_is_none_is_refused_in_printable_words(text):
    with pytest.raises(ConfigurationError) as caught:
        check_route(text, LOOPBACK)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:25",
        "[::1]:25",
        "localhost:25",
        "mail.localhost.:25",
        "10.0.0.1:25",
        "[::ffff:10.0.0.1]:25",
        "[fe80::1]:25",
    ],
)
def test_a_route_into_a_closed_network_is_refused_at_once_with_the_setting_that_opens_it(text):
    with pytest.raises(RefusedError) as caught:
        check_route(text, ())
    assert "allow_networks" in caught.value.remedy


def test_a_route_into_an_allowed_network_is_good():
    for text in ("127.0.0.1:2525", "localhost:2525", "[::1]:2525"):
        assert check_route(text, LOOPBACK) == text


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (["10 a.example:25", "b.example:25"], "some have none"),
        (["10 a.example:25", "20 a.example:25"], "twice"),
        (["mx:a.example", "10 mx:a.example:25"], "some have none"),
        ([f"h{n}.example:25" for n in range(11)], "11 servers"),
    ],
)
def test_servers_that_do_not_go_together_are_refused_with_what_to_do(route, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        check_routes(route, ())
    assert caught.value.remedy


def test_a_server_that_is_named_twice_in_the_same_way_is_in_the_route_once():
    assert check_routes(["a.example:25", "A.example:25"], ()) == ("a.example:25",)
