"""Segments of bodies: written together, read by the right message only, let go of by whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys

import pytest

from pipeline.bodies import segments
from pipeline.bodies.segments import MAGIC, Writer, closed, listed, path_of, pointer, read, unfinished
from pipeline.faults import CorruptError, StoreFullError
from pipeline.ids import new_id

IDS = [new_id(1_795_428_000_000_000_000 + number, 3) for number in range(300)]


async def put(writer, number, size=100):
    async with writer.kept([IDS[number]], [bytes([number % 256]) * size], size) as found:
        return pointer(found)


async def test_bodies_that_come_together_are_written_together_and_each_is_read_again(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    writer = Writer(tmp_path)
    found = await asyncio.gather(*(put(writer, number) for number in range(300)))
    assert len(synced) < 5
    (path,) = tmp_path.iterdir()
    assert {path_of(tmp_path, one.segment) for one in found} == {path}
    for number, where in enumerate(found):
        assert read(tmp_path, where, IDS[number]) == bytes([number % 256]) * 100
    assert list(listed(path)) == [[one] for one in IDS]
    writer.retire()


async def test_bodies_of_more_pieces_than_the_system_takes_at_once_are_whole(tmp_path):
    writer = Writer(tmp_path)
    pieces = [bytes([number % 256]) for number in range(900)]

    async def of_pieces(number: int) -> bytes:
        async with writer.kept([IDS[number]], pieces, len(pieces)) as found:
            return read(tmp_path, pointer(found), IDS[number])

    assert await asyncio.gather(*map(of_pieces, range(5))) == [b"".join(pieces)] * 5
    writer.retire()


async def test_a_pointer_is_believed_only_where_the_record_says_the_same(tmp_path):
    writer = Writer(tmp_path)
    first, second = await put(writer, 0), await put(writer, 1)
    for where, message_id in [
        (first, IDS[1]),
        (first._replace(offset=first.offset + 1), IDS[0]),
        (first._replace(size=99), IDS[0]),
        (first._replace(messages=2), IDS[0]),
        (first._replace(segment=b"another!"), IDS[0]),
        (second._replace(offset=1 << 40), IDS[1]),
    ]:
        with pytest.raises(CorruptError):
            read(tmp_path, where, message_id)
    os.truncate(path_of(tmp_path, second.segment), second.offset + second.head + 99)
    with pytest.raises(CorruptError):
        read(tmp_path, second, IDS[1])
    assert read(tmp_path, first, IDS[0]) == b"\0" * 100
    assert pointer(first.encode()) == first
    assert pointer(b"Subject: x\r\n\r\n") is None
    far, large = first._replace(offset=1 << 63), first._replace(messages=(1 << 32) - 1)
    for odd in (MAGIC, first.encode() + b"x", far.encode(), large.encode()):
        with pytest.raises(CorruptError):
            pointer(odd)
    writer.retire()


async def test_a_torn_or_spoilt_record_hides_no_other(tmp_path):
    writer = Writer(tmp_path)
    found = [await put(writer, number) for number in range(4)]
    path = path_of(tmp_path, found[0].segment)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"\xff" * 8, found[1].offset + 8)
        file.truncate(found[3].offset + 20)
    assert list(listed(path)) == [[IDS[0]], [IDS[2]]]
    os.truncate(path, 0)
    assert list(listed(path)) == []
    writer.retire()


async def test_a_full_segment_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SIZE", 1000)
    writer = Writer(tmp_path)
    found = [await put(writer, number) for number in range(20)]
    names = [one.segment for one in found]
    assert 2 < len(set(names)) < 5
    writer.retire()
    assert {path for path, _ in closed(tmp_path)} == {path_of(tmp_path, one) for one in names}


async def test_a_session_that_is_cut_off_holds_no_segment(tmp_path):
    writer = Writer(tmp_path)
    for turns in range(8):
        task = asyncio.create_task(put(writer, turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await put(writer, 9)
    writer.retire()
    assert len(closed(tmp_path)) == len(list(tmp_path.iterdir())) >= 1


async def test_a_full_disk_is_said_and_what_comes_after_is_whole(tmp_path):
    writer = Writer(tmp_path)
    first = await put(writer, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        with pytest.raises(StoreFullError):
            await put(writer, 1, 300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    second = await put(writer, 2)
    assert second.segment != first.segment
    assert read(tmp_path, first, IDS[0]) == b"\0" * 100
    assert read(tmp_path, second, IDS[2]) == b"\2" * 100
    writer.retire()
    assert len(closed(tmp_path)) == 2


DYING = """
import asyncio, os, pathlib, signal, sys
from pipeline.bodies.segments import Writer
async def main():
    async with Writer(pathlib.Path(sys.argv[1])).kept([sys.argv[2]], [b"x" * 1000], 1000):
        print("kept", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
asyncio.run(main())
"""


def test_the_segment_of_a_receiver_that_was_killed_is_closed_and_what_it_promised_is_there(tmp_path):
    (tmp_path / "0123456789abcdef.new").touch()
    (tmp_path / "notes.segment").touch()
    with subprocess.Popen(
        [sys.executable, "-c", DYING, str(tmp_path), IDS[0]], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "kept\n"
        assert closed(tmp_path) == []
        process.kill()
    ((path, _),) = closed(tmp_path)
    assert list(listed(path)) == [[IDS[0]]]
    assert unfinished(tmp_path, 0) == []
    assert unfinished(tmp_path, 2**40) == [tmp_path / "0123456789abcdef.new"]
