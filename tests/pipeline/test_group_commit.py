"""What comes while a write is under way goes together in the next."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from pipeline.group_commit import GroupCommit


class Piece(NamedTuple):
    name: str
    weight: int
    done: asyncio.Future[str]


class Disk:
    """Writes a group when it is told to."""

    def __init__(self, most: int = 3, weight: int = 100) -> None:
        self.groups: list[list[str]] = []
        self.faults: list[BaseException] = []
        self.again: list[str] = []
        self.writing = asyncio.Event()
        self.finish = asyncio.Semaphore(0)
        self.commit = GroupCommit(self.write, most=most, weight=weight, name="disk", failed=self.failed)

    async def write(self, group: list[Piece]) -> None:
        self.groups.append([piece.name for piece in group])
        self.writing.set()
        await self.finish.acquire()
        self.writing.clear()
        if self.faults:
            raise self.faults.pop()
        self.commit.put_back([piece for piece in group if piece.name in self.again])
        for piece in group:
            if piece.name not in self.again:
                piece.done.set_result(piece.name)
        self.again = []

    @staticmethod
    def failed(error: BaseException) -> BaseException:
        return OSError(f"not written: {error}")

    def add(self, name: str, weight: int = 1) -> asyncio.Future[str]:
        done = asyncio.get_running_loop().create_future()
        self.commit.add(Piece(name, weight, done))
        return done

    async def groups_of(self, *weights: int) -> list[list[str]]:
        """How pieces of these weights are grouped that come while another one is written."""
        first = self.add("first")
        await self.writing.wait()
        pieces = [self.add(str(number), weight) for number, weight in enumerate(weights)]
        for _ in range(len(weights) + 1):
            self.finish.release()
        await asyncio.gather(first, *pieces)
        return self.groups[1:]


async def test_who_comes_alone_is_written_alone_and_at_once():
    disk = Disk()
    disk.finish.release()
    assert await disk.add("one") == "one"
    assert disk.groups == [["one"]]


async def test_what_comes_while_a_write_is_under_way_goes_together_in_the_next_in_order():
    assert await Disk().groups_of(1, 1, 1) == [["0", "1", "2"]]


async def test_a_group_has_no_more_items_than_it_may():
    assert await Disk(most=2).groups_of(1, 1, 1) == [["0", "1"], ["2"]]


async def test_a_group_is_no_heavier_than_it_may_be_unless_it_is_a_single_item():
    assert await Disk(weight=10).groups_of(6, 5, 20, 1) == [["0"], ["1"], ["2"], ["3"]]
    assert await Disk(weight=10).groups_of(5, 5, 1) == [["0", "1"], ["2"]]


async def test_those_of_a_write_that_failed_are_told_and_the_next_group_is_written():
    disk = Disk()
    disk.faults.append(RuntimeError("full"))
    one = disk.add("one")
    await disk.writing.wait()
    two = disk.add("two")
    disk.finish.release()
    disk.finish.release()
    with pytest.raises(OSError, match="not written: full"):
        await one
    assert await two == "two"


async def test_what_a_write_puts_back_comes_first_in_the_next_group():
    disk = Disk()
    disk.again = ["lost"]
    lost, kept = disk.add("lost"), disk.add("kept")
    await disk.writing.wait()
    late = disk.add("late")
    disk.finish.release()
    disk.finish.release()
    assert await asyncio.gather(lost, kept, late) == ["lost", "kept", "late"]
    assert disk.groups == [["lost", "kept"], ["lost", "late"]]


async def test_it_is_idle_when_nothing_is_written_and_nothing_waits():
    disk = Disk()
    assert disk.commit.idle
    done = disk.add("one")
    assert not disk.commit.idle
    disk.finish.release()
    await done
    await asyncio.sleep(0)
    assert disk.commit.idle


async def test_when_the_writer_is_cancelled_those_whose_write_is_under_way_are_told():
    disk = Disk()
    disk.faults.append(asyncio.CancelledError("over"))
    one = disk.add("one")
    disk.finish.release()
    with pytest.raises(OSError, match="not written: over"):
        await one
    await asyncio.sleep(0)
    assert disk.commit.idle
