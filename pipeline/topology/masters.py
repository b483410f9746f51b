"""Which server Sentinels have made the master: a function of what each of them says.

A master that was lost and is started again begins as a master, and for some moments all is as it was: Sentinels name it until the
failover has come to its end, and a replica that nobody has led to the new one yet still follows it. What is written there meanwhile
has a copy, and is thrown away with it. So

- a majority has to answer, and the configuration with the highest epoch counts. It is the newest;
- while one of them is about to promote another, no server is used;
- a server whose process began lately is used when every Sentinel that there is has spoken with this very process, and finds it well. All
  that can happen to it after that begins with its silence. A Sentinel that does not answer may be the one that leads a failover; but
  not for ever, and a process that has been there for longer than that cannot have missed its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from redis.exceptions import ConnectionError  # noqa: A004 - the name is the library's

DECIDED: Final = ("", "none", "reconf_slaves", "update_config")
"""States of a failover: of none, and of one whose outcome is known and named."""
SETTLED: Final = 15.0
"""Seconds, besides `failover-timeout`: what one Sentinel says about a master holds with the others for 5, and an election takes 10 at most."""
_DOWN: Final = frozenset(("s_down", "o_down"))


class Answer(Struct, frozen=True):
    """What a Sentinel says about the master that it watches."""

    place: tuple[str, int]
    epoch: int
    """Of the failover that made it the master."""
    others: int
    """How many more Sentinels it knows."""
    run_id: str = ""
    """Of the process that it spoke to last; a server that is started again has another one. Empty: it spoke to none yet."""
    flags: frozenset[str] = frozenset()
    state: str = ""
    failover_timeout: float = 0.0


def answer_of(place: tuple[str, int], said: Mapping[str, str]) -> Answer:
    """From SENTINEL GET-MASTER-ADDR-BY-NAME and SENTINEL MASTER. Once another one is promoted, it is named by the first of them only."""
    same = (said["ip"], int(said["port"])) == place
    return Answer(
        place,
        int(said["config-epoch"]),
        int(said["num-other-sentinels"]),
        run_id=said.get("runid", "") if same else "",
        flags=frozenset(said["flags"].split(",")) if same else frozenset(),
        state=said.get("failover-state", ""),
        failover_timeout=int(said["failover-timeout"]) / 1000,
    )


def known(answers: Sequence[Answer]) -> int:
    """How many Sentinels there are."""
    return max((answer.others for answer in answers), default=0) + 1


def are_most(answers: Sequence[Answer]) -> bool:
    return len(answers) > known(answers) // 2


def newest(answers: Sequence[Answer]) -> list[Answer]:
    """Those that know of the last failover; they name the same server. Raises ConnectionError when that is not certain."""
    if not are_most(answers):
        raise ConnectionError(
            f"of {known(answers)} Sentinels {len(answers)} answered; redis_url must name most of them"
        )
    if not all(answer.state in DECIDED for answer in answers):
        raise ConnectionError("the Sentinels are about to choose another master")
    epoch = max(answer.epoch for answer in answers)
    found = [answer for answer in answers if answer.epoch == epoch]
    if len({answer.place for answer in found}) > 1:
        raise ConnectionError("the Sentinels do not name the same master")
    if any("o_down" in answer.flags for answer in found):
        raise ConnectionError("the Sentinels have lost the master")
    return found


def vouch(answers: Sequence[Answer], run_id: str, uptime: float) -> None:
    """Raises ConnectionError when the process that was found at the master's place may be one that was given up."""
    sure = sum(answer.run_id == run_id and not answer.flags & _DOWN for answer in newest(answers))
    if sure == known(answers):
        return
    if uptime < SETTLED + max(answer.failover_timeout for answer in answers):
        host, port = newest(answers)[0].place
        raise ConnectionError(
            f"{host}:{port} was started {uptime:.0f} s ago, and of {known(answers)} Sentinels {sure} have found it well since"
        )
