"""How the commands say what they will do, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.steering.selecting import Preview, Tally


def preview_lines(found: Preview, now: int) -> list[str]:
    """What is meant: how much, of whom, since when, and the first of them."""
    from cli.render import age, clean, count, size
    from cli.steering.selecting import NAMED
    from cli.words import path, people

    domains = ", ".join(f"{clean(name)} {number:,}" for name, number in found.domains.most_common(NAMED))
    if len(found.domains) > NAMED:
        domains += f" and {len(found.domains) - NAMED:,} more"
    lines = [
        f"{count(found.messages, 'message')}, {count(found.recipients, 'recipient')}, {size(found.bytes)}: {domains}",
        f"  the oldest was received {age(now - found.oldest)} ago",
    ]
    lines += [
        f"  {one.id}  {path(one.sender)} to {people([recipient.address for recipient in one.recipients])}"
        for one in found.examples
    ]
    if found.messages > len(found.examples):
        lines.append(f"  and {found.messages - len(found.examples):,} more")
    return lines


def preview_form(found: Preview) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "messages": found.messages,
        "recipients": found.recipients,
        "bytes": found.bytes,
        "oldest_at": rfc3339(found.oldest),
        "without_sender": found.without_sender,
        "domains": dict(found.domains.most_common()),
        "examples": [one.id for one in found.examples],
    }


def tally_form(tally: Tally) -> dict[str, Any]:
    return {
        "done": tally.done,
        "already": tally.already,
        "gone": tally.gone,
        "refused": tally.refused,
        "refusals": [{"id": name, "reason": reason} for name, reason in tally.told],
    }


def tell(screen: Screen, tally: Tally, done: str, already: str) -> None:
    """`done` and `already` go on behind a number of messages."""
    from cli.render import complain, count

    if tally.done:
        screen.say(f"{count(tally.done, 'message')} {done}")
    if tally.already:
        screen.say((f"{count(tally.already, 'message')} {already}", "dim"))
    if tally.gone:
        screen.say((f"{count(tally.gone, 'message')} left meanwhile", "dim"))
    if not (tally.done or tally.already or tally.gone or tally.refused):
        screen.say(("Nothing waits that is meant.", "green"))
    complain(*(f"gatepost: {reason}" for _, reason in tally.told))
    if tally.refused > len(tally.told):
        complain(f"gatepost: and {tally.refused - len(tally.told):,} more were refused")


def code(tally: Tally) -> int:
    """4, as for any refusal, when something was refused."""
    from pipeline.faults import RefusedError

    return RefusedError.exit_code if tally.refused else 0
