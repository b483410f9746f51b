"""Walking through a sorted set of any size, some members at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pipeline.store import Client, faults


async def by_score(
    redis: Client, name: str, after: int, until: int, count: int
) -> AsyncIterator[list[tuple[str, int]]]:
    """Members behind the score `after` and up to `until`, with their scores, `count` of them at most at a time.

    Where to go on is found anew from the score each time. What leaves meanwhile moves the places of all that is behind it; and the place
    of a score is found at once, while the server counts its way to a later page of a range of scores member by member. Nothing hides a member with a later score.
    """
    last, seen = after, 0
    """Where it is: the score, and how many that have it were seen; 0 at the beginning: all of them."""
    while True:
        with faults():
            pipe = redis.pipeline(transaction=False)
            pipe.zcount(name, "-inf", f"({last}" if seen else last)
            pipe.zcount(name, last, last)
            before, alike = await pipe.execute()
            first = before + min(seen, alike)
            found = await redis.zrange(name, first, first + count - 1, withscores=True)
        rows = [(member.decode(), int(score)) for member, score in found if score <= until]
        if not rows:
            return
        seen = sum(score == rows[-1][1] for _, score in rows) + (seen if rows[-1][1] == last else 0)
        last = rows[-1][1]
        yield rows
