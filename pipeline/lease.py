"""Rights that one process has at a time, for a while: whoever dies with one loses it without anybody's help."""

from __future__ import annotations

from pipeline.store import Client, Script, faults

_lease = Script.named("lease")
_lease_beyond_memory = Script.named("lease", beyond_memory=True)


async def hold(redis: Client, key: str, token: str, seconds: float, *, beyond_memory: bool = False) -> bool:
    """Take or keep the right; False when another has it. `beyond_memory`: with Redis full as well, for what frees memory."""
    script = _lease_beyond_memory if beyond_memory else _lease
    with faults():
        return bool(await script(redis, [key], [token, int(seconds * 1000)]))


async def release(redis: Client, key: str, token: str) -> None:
    """Another may have it at once."""
    with faults():
        await _lease(redis, [key], [token, 0])
