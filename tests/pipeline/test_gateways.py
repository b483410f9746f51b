import pytest

from pipeline.gateways import Gateway, Ours, leads_back
from pipeline.resolver import Resolver
from tests.support.dns import Names

GATEWAYS = [Gateway("gw.example", 2525)]
RECORDS = {
    ("gw.example", "A"): ["9.9.9.9"],
    ("alias.example", "A"): ["9.9.9.9"],
    ("other.example", "A"): ["9.9.9.10"],
    ("shop.example", "MX"): ["10 other.example.", "20 alias.example."],
    ("good.example", "MX"): ["10 other.example."],
}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gw.example:25", "gw.example:25 is this gateway"),
        ("10/2 GW.example:2525", "gw.example:2525 is this gateway"),
        ("gw.example:26", ""),
        ("alias.example:25", "alias.example:25 leads to 9.9.9.9, which is this gateway (gw.example)"),
        ("other.example:25", ""),
        ("mx:shop.example", "mx:shop.example: alias.example:25 leads to 9.9.9.9, which is this gateway (gw.example)"),
        ("mx:good.example", ""),
        ("mx:gw.example", "mx:gw.example: gw.example:25 is this gateway"),
        ("127.0.0.1:2525", "127.0.0.1:2525 leads to 127.0.0.1, where this gateway listens"),
        ("127.0.0.1:25", ""),
    ],
)
async def test_a_route_that_leads_back_here_is_found_in_every_form(line, words):
    async with Names(RECORDS) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}")
        assert await leads_back(["9.9.9.10:25", line], GATEWAYS, resolver) == words


async def test_a_gateway_that_the_dns_does_not_know_is_known_by_its_name():
    async with Names({}) as names:
        ours = await Ours.of(GATEWAYS, Resolver(f"127.0.0.1:{names.port}"))
        assert ours.why("gw.example.", 25, ["9.9.9.9"])
        assert not ours.why("other.example", 25, ["9.9.9.9"])
