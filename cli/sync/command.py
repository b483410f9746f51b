"""The commands: list, show, preview, run, approve, reject, history, pause, resume, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun
from cli.sync.add import app as adding

if TYPE_CHECKING:
    from pipeline.events import SyncRan
    from pipeline.syncing.model import Staged, State, Sync
    from pipeline.syncing.runs import Outcome

app = noun(
    "sync",
    """Keep a domain's addresses as its source has them: LDAP, cPanel, or a list.

A run is shown as a difference, and applied in one step or not at all. One that
would take away too much waits until somebody approves it. An address that is
not listed any more is accepted for a time of grace. Addresses that were
entered by hand are never touched.

For example:

  gatepost sync add ldap office --server ldaps://dc1.example.com --profile active-directory \\
      --base dc=example,dc=com --bind-dn sync@example.com --secret-file /etc/gatepost/office --every 1h
  gatepost sync preview office
  gatepost sync run office
  gatepost sync list
""",
)
app.command(adding, name="add")

NAME = Parameter(help="The sync.")


@app.command(name="list")
async def list_(*, common: Common = DEFAULT) -> int:
    """List the syncs, with their last run and their next.

    For example:

      gatepost sync list
    """
    from cli.render import Screen, document
    from cli.session import session
    from cli.sync.common import sync_form, syncing

    async with session(common) as opened:
        memory = syncing(opened).memory
        syncs = list((await memory.syncs()).values())
        known = [(sync, await memory.state(sync.name), await memory.staged(sync.name)) for sync in syncs]
        now = opened.now()
    if common.json:
        document({"syncs": [sync_form(*one) for one in known]})
        return 0
    screen = Screen()
    if not syncs:
        screen.say("No sync yet. Set one up: gatepost sync add --help")
        return 0
    screen.table(["sync", "source", "last run", "next"], [_row(*one, now) for one in known])
    return 0


def _row(sync: Sync, state: State, staged: Staged | None, now: int) -> list[Any]:
    from cli.render import clean, relative
    from cli.sync.common import where

    if staged is not None:
        last: tuple[str, str] = (f"waits for approval: gatepost sync approve {sync.name}", "yellow")
    elif state.result == "failed":
        times = f" {state.failures} times" if state.failures > 1 else ""
        last = (f"failed{times}, {relative(state.started, now)}: {clean(state.words)[:80]}", "red")
    elif state.result:
        last = (f"{state.result}, {relative(state.started, now)}", "green")
    else:
        last = ("none yet", "dim")
    following = "paused" if sync.paused else relative(state.next, now) if sync.every else "by hand"
    return [(sync.name, "bold"), clean(where(sync.source)), last, following]


@app.command
async def show(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Show one sync: its source, its terms, and what it came to last.

    For example:

      gatepost sync show office
    """
    import msgspec

    from cli.render import Screen, age, clean, document, local
    from cli.session import session
    from cli.sync.common import sync_form, syncing, where

    async with session(common) as opened:
        memory = syncing(opened).memory
        sync = await memory.sync(name)
        state, staged = await memory.state(name), await memory.staged(name)
    if common.json:
        document(sync_form(sync, state, staged))
        return 0
    screen = Screen()
    screen.heading(sync.name)
    details = msgspec.to_builtins(sync.source)
    screen.facts([
        ("source", clean(where(sync.source))),
        *((field.replace("_", " "), clean(str(value))) for field, value in details.items() if field not in ("type", "servers", "profile", "url", "path")),
        ("domains", ", ".join(sync.domains) or "all that are here"),
        ("runs", ("paused", "yellow") if sync.paused else f"every {age(sync.every)}" if sync.every else "by hand"),
        ("asks", f"when more than {sync.limit} % would go"),
        ("grace", age(sync.grace) if sync.grace else "none"),
        ("last run", f"{state.run}, {local(state.started)}: {state.result}" if state.result else "none yet"),
        ("why", clean(state.words)),
        ("waits", (f"run {staged.run}: {staged.words}; gatepost sync approve {name}", "yellow") if staged else ""),
        ("addresses in", ", ".join(state.domains[:20])),
    ])  # fmt: skip
    return 0


@app.command
async def preview(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Ask the source now, and show what a run would change. Nothing is changed.

    For example:

      gatepost sync preview office
    """
    from cli.progress import Progress
    from cli.render import Screen, document
    from cli.session import session
    from cli.sync.common import outcome_form, show_outcome, syncing

    async with session(common) as opened:
        with Progress("reading addresses", None) as bar:
            outcome = await syncing(opened).preview(name, progress=_advancing(bar))
    if common.json:
        document(outcome_form(outcome))
        return 0
    screen = Screen()
    show_outcome(screen, outcome)
    if outcome.words:
        screen.say(("It would wait for approval: ", "yellow"), outcome.words)
    elif outcome.result == "unchanged":
        screen.say(("Nothing would change.", "green"))
    return 0


def _advancing(bar: Any) -> Any:
    """A source tells how many it has; a bar wants to know how many more."""
    seen = 0

    def progress(count: int) -> None:
        nonlocal seen
        bar.advance(count - seen)
        seen = count

    return progress


@app.command
async def run(
    name: Annotated[str, NAME],
    /,
    *,
    full: Annotated[
        bool, Parameter(help="Read everything, also when the source says that nothing has changed.")
    ] = False,
    common: Common = DEFAULT,
) -> int:
    """Run a sync now. Exit code 1 when it failed or waits for approval.

    For example:

      gatepost sync run office
    """
    from cli.progress import Progress
    from cli.session import actor, session
    from cli.sync.common import syncing

    async with session(common) as opened:
        with Progress("reading addresses", None) as bar:
            outcome = await syncing(opened).run(name, by=actor(), full=full, progress=_advancing(bar))
    return _tell(name, outcome, common)


def _tell(name: str, outcome: Outcome, common: Common) -> int:
    from cli.render import Screen, complain, document
    from cli.sync.common import outcome_form, show_outcome

    good = outcome.result in ("applied", "unchanged", "rejected")
    if common.json:
        document(outcome_form(outcome))
        return 0 if good else 1
    screen = Screen()
    show_outcome(screen, outcome)
    if outcome.result == "failed":
        complain(f"{name} failed: {outcome.words}", "  The list in force stays as it was.")
    elif not good:
        screen.say((f"{name} waits for approval: ", "yellow"), outcome.words)
        screen.say(f"  gatepost sync approve {name}   or   gatepost sync reject {name}")
    else:
        screen.say((name, "bold"), ": ", (outcome.result, "green"))
    return 0 if good else 1


@app.command
async def approve(
    name: Annotated[str, NAME],
    /,
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Let a run that waits for approval change what it found.

    For example:

      gatepost sync approve office
    """
    from cli.names import confirm
    from cli.render import count
    from cli.session import actor, session
    from cli.sync.common import syncing
    from pipeline.faults import RefusedError

    async with session(common) as opened:
        await syncing(opened).memory.sync(name)
        staged = await syncing(opened).memory.staged(name)
    if staged is None:
        raise RefusedError(f"no run of {name} waits for approval", remedy=f"See `gatepost sync history {name}`.")
    gone = count(staged.removed, "address", "addresses")
    if not yes and not await confirm(f"Run {staged.run} of {name} would take away {gone}. Let it?"):
        return 1
    async with session(common) as opened:
        outcome = await syncing(opened).approve(name, by=actor())
    return _tell(name, outcome, common)


@app.command
async def reject(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Forget what a run that waits for approval found.

    For example:

      gatepost sync reject office
    """
    from cli.session import actor, session
    from cli.sync.common import syncing

    async with session(common) as opened:
        outcome = await syncing(opened).reject(name, by=actor())
    return _tell(name, outcome, common)


@app.command
async def history(
    name: Annotated[str, NAME],
    /,
    *,
    limit: Annotated[int, Parameter(help="How many runs at most, the newest first.")] = 20,
    common: Common = DEFAULT,
) -> int:
    """What the runs came to, the newest first; runs that came to the same are one.

    What a run changed can be taken back: `gatepost directory revert CHANGE`.

    For example:

      gatepost sync history office
    """
    from cli.forms import event_form
    from cli.render import Screen, document
    from cli.session import session
    from cli.sync.common import syncing
    from pipeline.directory.history import changes
    from pipeline.events import SyncRan

    found: list[tuple[int, SyncRan]] = []
    async with session(common) as opened:
        await syncing(opened).memory.sync(name)
        async for past in changes(opened.wiring.store):
            found += [(past.number, one) for one in past.events if isinstance(one, SyncRan) and one.name == name]
            if len(found) >= limit:
                break
    found = found[:limit]
    if common.json:
        document({"name": name, "runs": [event_form(event) for _, event in found]})
        return 0
    screen = Screen()
    if not found:
        screen.say(f"{name} has not run yet.")
    for number, event in found:
        _run(screen, number, event)
    return 0


def _run(screen: Any, number: int, event: SyncRan) -> None:
    from cli.changes import told
    from cli.render import clean, local

    _, more = told(event)
    style = {"failed": "red", "waiting for approval": "yellow"}.get(event.result, "green")
    screen.say(
        f"{local(event.at)}  run {event.run:<5} ",
        (event.result, style),
        (f"  by {clean(event.by)}, change {number}", "dim"),
    )
    for text in more:
        screen.say("    ", (text, "dim"))


@app.command
async def pause(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Stop its schedule; it can still be run by hand.

    For example:

      gatepost sync pause office
    """
    return await _set_paused(name, common, paused=True)


@app.command
async def resume(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Let its schedule run again.

    For example:

      gatepost sync resume office
    """
    return await _set_paused(name, common, paused=False)


async def _set_paused(name: str, common: Common, *, paused: bool) -> int:
    import msgspec

    from cli.render import Screen, document
    from cli.session import actor, session
    from cli.sync.common import syncing

    async with session(common) as opened:
        runs = syncing(opened)
        sync = await runs.memory.sync(name)
        await runs.set(msgspec.structs.replace(sync, paused=paused), by=actor())
    if common.json:
        document({"name": name, "paused": paused})
    else:
        Screen().say((name, "bold"), " is paused" if paused else " runs on its schedule again")
    return 0


@app.command
async def remove(
    name: Annotated[str, NAME],
    /,
    *,
    addresses: Annotated[
        bool, Parameter(help="Its addresses go with it, at once. Otherwise they stay, as if entered by hand.")
    ] = False,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Remove a sync.

    For example:

      gatepost sync remove office
      gatepost sync remove office --addresses
    """
    from cli.names import confirm
    from cli.render import Screen, count, document
    from cli.session import actor, session
    from cli.sync.common import syncing

    async with session(common) as opened:
        await syncing(opened).memory.sync(name)
    what = f"{name} and its addresses" if addresses else f"{name}, and keep its addresses"
    if not yes and not await confirm(f"Remove {what}?"):
        return 1
    async with session(common) as opened:
        number = await syncing(opened).remove(name, by=actor(), addresses=addresses)
    if common.json:
        document({"name": name, "removed": True, "addresses": number, "kept": not addresses})
    else:
        done = "went with it" if addresses else "stay, as if entered by hand"
        Screen().say((name, "bold"), f" removed; {count(number, 'address', 'addresses')} {done}")
    return 0
