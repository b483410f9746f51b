"""Whether replicas have what was written, so that a failover does not lose it (WAIT).

WAIT tells of what was written over its own connection, and of nothing else: on a connection that wrote nothing it says at once how many
replicas there are. So it goes out together with the write; and whoever asks about an earlier write makes one more, and makes sure in the
same breath that the earlier one is on this server, which may have become the master only just now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import AskError, ConnectionError, MovedError, TimeoutError  # noqa: A004

from pipeline import keys
from pipeline.topology.cluster import FOLLOWED
from pipeline.topology.connections import Client
from pipeline.topology.routing import key_of
from pipeline.topology.spread import is_spread, master_of

WAIT_MS: Final = 1_000
"""How long replicas may take; well under the socket's timeout."""
MARK_MS: Final = 60_000


class TooFewReplicasError(ConnectionError):
    """It is written, and a failover may lose it."""


async def written(redis: Client, words: Sequence[Any], replicas: int) -> Any:
    """Do a command that writes; its answer, once so many replicas have what it wrote. Raises TooFewReplicasError."""
    for _ in range(FOLLOWED):
        node = await master_of(redis, str(key_of(words)))
        pipe = node.pipeline(transaction=False)
        pipe.execute_command(*words)
        pipe.execute_command("WAIT", replicas, WAIT_MS)
        answer, count = await _sent(redis, node, pipe)
        if isinstance(answer, MovedError):
            redis.moved(answer)
            continue
        if isinstance(answer, AskError):
            raise ConnectionError("a slot is on its way to another node")
        if isinstance(answer, Exception):
            raise answer
        _judge(count, replicas)
        return answer
    raise ConnectionError("a slot keeps moving")


async def still_there(redis: Client, log: str, entry: bytes, replicas: int) -> None:
    """Make sure that a stream has an entry, and so many replicas all of it up to there. Raises ConnectionError when that is not so."""
    node = await master_of(redis, log)
    pipe = node.pipeline(transaction=False)
    pipe.set(keys.replicated(log), b"", px=MARK_MS)
    pipe.xrange(log, min=entry, max=entry)
    pipe.execute_command("WAIT", replicas, WAIT_MS)
    mark, found, count = await _sent(redis, node, pipe)
    if isinstance(mark, Exception) or isinstance(found, Exception) or not found:
        raise ConnectionError("another server has become the master")
    _judge(count, replicas)


async def _sent(redis: Client, node: Client, pipe: Any) -> Any:
    try:
        return await pipe.execute(raise_on_error=False)
    except (ConnectionError, TimeoutError, OSError):
        if is_spread(redis):
            redis.lost(node)
        raise


def _judge(count: Any, replicas: int) -> None:
    if isinstance(count, Exception):
        raise TooFewReplicasError(f"WAIT: {count}")
    if count < replicas:
        raise TooFewReplicasError(f"{count} of {replicas} replicas have what was written")
