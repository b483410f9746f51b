"""What a process works as, and that the roles of one process end together."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from workers.roles import BACKGROUND, ROLES, TOGETHER, _as, _together, roles_of
from workers.supervisor import plan, usual_receivers


def test_a_process_is_of_one_role_or_of_those_that_are_together_and_of_nothing_else():
    assert all(roles_of(role, Settings()) == (role,) for role in ROLES)
    assert roles_of(BACKGROUND, Settings()) == TOGETHER[BACKGROUND]
    assert roles_of(BACKGROUND, Settings(archive=False)) == ("projector", "janitor", "watcher")
    with pytest.raises(ConfigurationError) as caught:
        roles_of("nobody", Settings())
    assert BACKGROUND in caught.value.remedy


def test_every_role_is_in_one_process_of_a_gateway():
    names = plan(Settings(receivers=2, scanners=3))
    assert [names.count(name) for name in ("receiver", "scanner", "deliverer", BACKGROUND)] == [2, 3, 1, 1]
    assert sorted(role for name in set(names) for role in roles_of(name, Settings())) == sorted(ROLES)


def test_there_is_a_receiver_for_each_processor_but_one_alone_on_two():
    assert [usual_receivers(processors) for processors in (1, 2, 3, 8, 64)] == [1, 1, 3, 8, 8]


async def test_what_ends_one_role_of_a_process_ends_all_of_them_and_is_what_is_told():
    ended: list[str] = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("works")

    async def fails() -> None:
        raise ConfigurationError("wrong")

    with pytest.raises(ConfigurationError, match="wrong"):
        await _together([works(), fails(), works()])
    assert ended == ["works", "works"]


async def test_lines_in_the_log_name_the_role_and_not_the_process():
    named: list[object] = []

    async def work() -> None:
        await asyncio.sleep(0)
        named.append(structlog.contextvars.get_contextvars()["process"])

    with structlog.contextvars.bound_contextvars(process=BACKGROUND):
        await _together(_as(role, work()) for role in ("janitor", "watcher"))
        assert structlog.contextvars.get_contextvars()["process"] == BACKGROUND
    assert named == ["janitor", "watcher"]
