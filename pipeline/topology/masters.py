"""Which server Sentinels have made the master: a function of what each of them says.

A master that was lost and is started again begins as a master, and for some moments all is as it was: Sentinels name it until the
failover has come to its end, and a replica that nobody has led to the new one yet still follows it. What is written there meanwhile
has a copy, and is thrown away with it. So

- a majority has to answer, and the configuration with the highest epoch counts. It is the newest;
- while one of them is about to promote another, no server is used;
- a server whose process began lately is used when every Sentinel that there is has heard of this very process, and finds it well. All
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
SETTLED: Final = 20.0
"""Seconds, besides `failover-timeout` for telling the new master and again for hearing that it is one: what a Sentinel says about a master
holds with the others for 5, an election takes 11 at most, and all have heard of its outcome after 2."""
_UNWELL: Final = frozenset(("s_down", "o_down", "disconnected"))


class Answer(Struct, frozen=True):
    """What a Sentinel says about the master that it watches."""

    place: tuple[str, int]
    epoch: int
    """Of the failover that made it the master."""
    others: int
    """How many more Sentinels it knows."""
    run_id: str = ""
    """Of the process, as it last looked, which it does every 10 s. Empty: it has not looked yet."""
    heard: float = float("inf")
    """Seconds since the server's last answer to a PING, or since this Sentinel began to wait for one: from then on silence is counted."""
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
        heard=int(said["last-ok-ping-reply"]) / 1000 if same else float("inf"),
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


def vouch(answers: Sequence[Answer], run_id: str, age: float) -> None:
    """Raises ConnectionError when the process that was found at the master's place may be one that was given up.

    `age`: seconds for which it had certainly been there when the Sentinels were asked.
    """
    found = newest(answers)
    sure = sum((answer.run_id == run_id or answer.heard < age) and not answer.flags & _UNWELL for answer in found)
    if sure < known(answers) and age < SETTLED + 2 * max(answer.failover_timeout for answer in answers):
        host, port = found[0].place
        raise ConnectionError(
            f"{host}:{port} was started only just now, and of {known(answers)} Sentinels {sure} have heard of it since"
        )
