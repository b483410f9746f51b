"""SPF, by the public test suite of RFC 7208: each case of rfc7208-tests.yml, see README.md beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.authentication.spf import spf
from tests.support.zone import TROUBLE, Zone

SUITE = Path(__file__).with_name("rfc7208-tests.yml")
KINDS = ("A", "AAAA", "MX", "PTR", "TXT")


def zone(data: dict[str, list[Any]]) -> Zone:
    return Zone({name: list(records(found)) for name, found in data.items()})


def records(found: list[Any]) -> Iterator[tuple[str, Any]]:
    """The suite's SPF records (type 99, now gone) are TXT records too, unless the name has TXT records of its own.

    A TIMEOUT is for the kinds that are not listed.
    """
    listed = [pair for record in found if record != "TIMEOUT" for pair in record.items()]
    own = any(kind == "TXT" for kind, _ in listed)
    answers = [
        ("TXT" if kind == "SPF" else kind, value)
        for kind, value in listed
        if value != "NONE" and not (kind == "SPF" and own)
    ]
    for kind, value in answers:
        if kind == "TXT":
            strings = [value] if isinstance(value, str) else value
            yield kind, "".join(strings).encode("utf-8")
        elif kind == "MX":
            yield kind, tuple(value)
        else:
            yield kind, value
    if "TIMEOUT" in found:
        yield from ((kind, TROUBLE) for kind in KINDS if kind not in dict(answers))


def cases() -> Iterator[Any]:
    for scenario in yaml.safe_load_all(SUITE.read_bytes()):
        for name, case in scenario["tests"].items():
            yield pytest.param(scenario["zonedata"], case, id=name)


@pytest.mark.parametrize(("data", "case"), list(cases()))
async def test_the_public_suite_is_met(data, case):
    result, scope = await spf(case["host"], case["helo"], case["mailfrom"], zone(data))
    expected = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert result.result in expected, (result, case.get("description"))
    assert scope == ("mailfrom" if case["mailfrom"] else "helo")
    if "explanation" in case:
        assert result.explanation == case["explanation"].replace("DEFAULT", "")
    assert bool(result.problem) == (result.result in {"permerror", "temperror"})
    assert bool(result.mechanism) == (result.result not in {"permerror", "temperror", "none"})


def test_the_whole_suite_is_there():
    assert len(list(cases())) == 203
