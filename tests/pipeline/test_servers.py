from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.servers import Server, by_priority, names, ordered, parse, parsed
from pipeline.units import Endpoint


def named(servers: list[Server]) -> list[str]:
    return [server.name for server in servers]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mail.example.com:25", "mail.example.com:25"),
        (" 10  mail.example.com:2525 ", "10 mail.example.com:2525"),
        ("10/5 [2620:fe::9]:25", "10/5 [2620:fe::9]:25"),
        ("010/1\tmail.example.com:25", "10 mail.example.com:25"),
        ("0/0 a:25", "0/0 a:25"),
        ("mx:example.com", "mx:example.com"),
        ("MX:example.com:25", "mx:example.com"),
        ("20 mx:example.com:2525", "20 mx:example.com:2525"),
    ],
)
def test_a_server_is_stored_in_one_form_however_it_was_written(text, line):
    assert parse(text).line == line
    assert parse(line) == parse(text)


def test_a_host_that_is_called_mx_is_a_host_as_it_always_was():
    assert parse("mx:25") == Server(Endpoint("mx:25"))
    assert parse("mx:25").line == "mx:25"


@pytest.mark.parametrize(
    "text",
    ["", "10", "10 ", "mail.example.com", "x mail:25", "-1 mail:25", "10/ mail:25", "/5 mail:25", "10/5/2 mail:25", "65536 mail:25",
     "1/65536 mail:25", "mx:", "mx: example.com", "10 20 mail:25", "1" * 100_000, " " * 100_000 + "x", "1/1" * 50_000],
)  # fmt: skip
def test_what_is_no_server_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|go up to"):
        parse(text)


def test_what_another_release_stored_and_this_one_cannot_read_is_left_out():
    assert named(parsed(["a:25", "carrier pigeon", "b:25"])) == ["a:25", "b:25"]


def test_servers_without_priorities_are_asked_as_they_are_listed():
    route = parsed(["c:25", "a:25", "b:25"])
    assert named(ordered(route, Random(1).random)) == ["c:25", "a:25", "b:25"]


def test_the_lowest_number_comes_first():
    route = parsed(["20 c:25", "0 a:25", "5 b:25"])
    assert named(ordered(route, Random(1).random)) == ["a:25", "b:25", "c:25"]
    assert [named(group) for group in by_priority(parsed(["20 c:25", "5 a:25", "20 b:25"]))] == [
        ["a:25"],
        ["c:25", "b:25"],
    ]


def test_among_equals_each_is_first_as_often_as_its_weight_says():
    route = parsed(["10/6 a:25", "10/3 b:25", "10 c:25", "10/0 d:25"])
    chance = Random(7)
    first = Counter(ordered(route, chance.random)[0].name for _ in range(10_000))
    assert first["a:25"] == pytest.approx(6000, abs=200)
    assert first["b:25"] == pytest.approx(3000, abs=200)
    assert first["c:25"] == pytest.approx(1000, abs=200)
    assert first["d:25"] == 0


def test_equals_without_any_weight_are_first_equally_often():
    chance = Random(7)
    first = Counter(ordered(parsed(["1/0 a:25", "1/0 b:25"]), chance.random)[0].name for _ in range(10_000))
    assert first["a:25"] == pytest.approx(5000, abs=200)


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.integers(0, 3)), max_size=8),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
)
def test_every_server_is_asked_once_and_none_before_one_with_a_lower_number(rows, chances):
    servers = [Server(Endpoint(f"h{n}:25"), priority, weight) for n, (priority, weight) in enumerate(rows)]
    drawn = iter(chances)
    found = ordered(servers, lambda: next(drawn))
    assert sorted(named(found)) == sorted(named(servers))
    numbers = [server.priority for server in found if server.priority is not None]
    assert numbers == sorted(numbers)
    unnumbered = [server for server in servers if server.priority is None]
    assert found[len(numbers) :] == unnumbered


def test_the_names_of_a_route_stand_in_the_order_of_its_priorities():
    assert names(["20 mx:c.example", "10/2 b.example:26"]) == ["b.example:26", "mx:c.example"]
