"""`gatepost check` on DNS lists: which of them answer as lists do."""

from __future__ import annotations

from cli.check.lists import about_lists
from pipeline.dnslist import DnsList
from pipeline.settings import Settings
from tests.support.dns import Names

RECORDS = {
    ("2.0.0.127.good.example", "A"): ["127.0.0.2"],
    ("2.0.0.127.all.example", "A"): ["127.0.0.2"],
    ("1.0.0.127.all.example", "A"): ["127.0.0.2"],
    ("2.0.0.127.blocked.example", "A"): ["127.255.255.254"],
    ("test.dbl.example", "A"): ["127.0.1.2"],
}


async def test_each_list_is_asked_what_every_list_lists_and_what_none_may():
    async with Names(RECORDS, failing=["2.0.0.127.broken.example"]) as names:
        settings = Settings(
            resolver=f"127.0.0.1:{names.port}",
            address_lists=tuple(
                DnsList.parse(f"{name}.example=1") for name in ("good", "all", "blocked", "gone", "broken")
            ),
            domain_lists=(DnsList.parse("dbl.example=1"),),
        )
        found = await about_lists(settings)
    assert [finding.weight for finding in found] == ["good", "warning", "warning", "warning", "warning", "good"]
    for finding, words in zip(
        found,
        [
            "answers as a list does",
            "yes to everything",
            "refuses our questions",
            "does not list",
            "does not answer",
            "dbl.example answers",
        ],
        strict=True,
    ):
        assert words in finding.found
        assert finding.remedy or finding.weight == "good"


async def test_without_lists_nothing_is_said():
    assert await about_lists(Settings()) == []
