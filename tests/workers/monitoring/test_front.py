"""Where the processes of one gateway answer."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

from pipeline.units import EngineAddress
from workers.monitoring.front import NAME_ROOM, Front, run_folder
from workers.supervisor import Worker
from workers.wiring import SOCKET_LIMIT


def test_the_folder_of_the_sockets_is_private_and_holds_none_of_an_earlier_run(tmp_path: Path):
    (tmp_path / "run").mkdir(mode=0o755)
    (tmp_path / "run" / "receiver-1.7.sock").touch()
    folder = run_folder(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_a_data_directory_with_a_long_path_has_its_sockets_elsewhere(tmp_path: Path):
    data = tmp_path / ("x" * 100)
    data.mkdir()
    folder = run_folder(data)
    try:
        assert len(str(folder / ("n" * NAME_ROOM))) <= SOCKET_LIMIT + 1
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert run_folder(data) == folder
    finally:
        folder.rmdir()


def test_each_process_in_a_place_answers_under_a_name_of_its_own(tmp_path: Path):
    front = Front(EngineAddress(f"unix:{tmp_path / 'm.sock'}"), tmp_path, list)
    try:
        worker = Worker("receiver", "receiver-2")
        worker.socket = front.socket_for(worker)
        Path(worker.socket).touch()
        first, worker.socket = worker.socket, front.socket_for(worker)
        assert first != worker.socket
        assert Path(first).name.startswith("receiver-2.")
        assert not Path(first).exists(), "it was a dead one's"
    finally:
        asyncio.run(front.close())


async def test_before_there_are_processes_nothing_is_well(tmp_path: Path):
    front = Front(EngineAddress(f"unix:{tmp_path / 'm.sock'}"), tmp_path, list)
    try:
        assert (await front.page("/healthz", "")).status == 503
        assert (await front.page("/readyz/receiver-1", "")).status == 404
        assert (await front.page("/", "")).status == 404
        assert (await front.page("/metrics", "")).status == 200
    finally:
        await front.close()


async def test_a_place_that_has_nothing_to_do_is_idle_and_no_fault(tmp_path: Path):
    syncer, scanner = Worker("syncer", "syncer-1"), Worker("scanner", "scanner-1")
    front = Front(EngineAddress(f"unix:{tmp_path / 'm.sock'}"), tmp_path, lambda: [syncer, scanner])
    try:
        answer = await front.page("/healthz", "")
        assert answer.status == 503
        assert '"syncer-1": "idle", "scanner-1": "not running"' in answer.body
        assert (await front.page("/healthz/syncer-1", "")).status == 200
        shown = (await front.page("/metrics", "")).body
        assert 'gatepost_process_up{process="scanner-1",role="scanner"} 0.0' in shown
        assert "syncer-1" not in shown
    finally:
        await front.close()
