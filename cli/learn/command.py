"""The commands: spam, ham, both, status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun
from cli.render import Screen, clean, count, document, relative, rfc3339, size
from projections.readers import Learnt

if TYPE_CHECKING:
    from cli.learn.teaching import Taught
    from cli.session import Session

app = noun(
    "learn",
    """Teach the classifier what is spam and what is not, and see what it has learnt.

It counts the words of what it is shown, as hashes from which no text can be
read. A message counts once; shown again as the other kind, it is moved.

For example:

  gatepost learn both --spam junk/ --ham inbox/
  gatepost learn spam junk.mbox --domain example.com
  gatepost learn ham newsletter.eml --domain example.com
  gatepost learn status
""",
)

PROBLEMS: Final = 10
"""Files that could not be read, named; more are counted."""
NOTHING: Final = Learnt(domain="", spam=0, ham=0, tokens=0, octets=0, at=0, by="", how="")
FILES: Final = "Messages: files, mailboxes (mbox), folders of them, or - for standard input."
DOMAIN: Final = "Only for the mail of this domain; for all domains when left out."
FORGET: Final = "Take back what was learnt of them."
DOUBTFUL: Final = "Leave out what the classifier knows already: less memory, and fewer mistakes."


@app.command
async def spam(
    paths: Annotated[tuple[str, ...], Parameter(help=FILES, allow_leading_hyphen=True)],
    /,
    *,
    domain: Annotated[str, Parameter(help=DOMAIN)] = "",
    doubtful: Annotated[bool, Parameter(help=DOUBTFUL)] = False,
    forget: Annotated[bool, Parameter(help=FORGET)] = False,
    common: Common = DEFAULT,
) -> int:
    """Learn that messages are spam.

    For example:

      gatepost learn spam junk/ more-junk.mbox
      gatepost learn spam junk.eml --domain example.com
      gatepost learn spam --forget by-mistake.eml
    """
    return await _teach([(True, paths)], domain, common, doubtful=doubtful, forget=forget)


@app.command
async def ham(
    paths: Annotated[tuple[str, ...], Parameter(help=FILES, allow_leading_hyphen=True)],
    /,
    *,
    domain: Annotated[str, Parameter(help=DOMAIN)] = "",
    doubtful: Annotated[bool, Parameter(help=DOUBTFUL)] = False,
    forget: Annotated[bool, Parameter(help=FORGET)] = False,
    common: Common = DEFAULT,
) -> int:
    """Learn that messages are wanted, and no spam.

    For example:

      gatepost learn ham inbox/
      gatepost learn ham - --domain example.com < newsletter.eml
      gatepost learn ham --forget by-mistake.eml
    """
    return await _teach([(False, paths)], domain, common, doubtful=doubtful, forget=forget)


@app.command
async def both(
    *,
    spam: Annotated[tuple[str, ...], Parameter(help="Spam: files, mailboxes, folders; may be said again.")],
    ham: Annotated[tuple[str, ...], Parameter(help="Other mail, likewise.")],
    domain: Annotated[str, Parameter(help=DOMAIN)] = "",
    everything: Annotated[
        bool, Parameter(name="--all", help="Learn all of it, also what the classifier knows already.")
    ] = False,
    common: Common = DEFAULT,
) -> int:
    """Learn from both kinds at once, in turns, and only what the classifier does not know yet.

    This is how to begin: some hundred messages of each kind, as varied as they come.

    For example:

      gatepost learn both --spam junk/ --ham inbox/ --ham lists.mbox
    """
    return await _teach([(True, spam), (False, ham)], domain, common, doubtful=not everything, forget=False)


async def _teach(
    kinds: Iterable[tuple[bool, tuple[str, ...]]], domain: str, common: Common, *, doubtful: bool, forget: bool
) -> int:
    from cli.learn.mail import interleaved
    from cli.learn.teaching import teach
    from cli.progress import Progress
    from cli.session import actor, session
    from workers.learning import Learning

    async with session(common, create=not forget, views=True) as opened:
        table = await _table_of(opened, domain)
        with Progress("learning", None, shown=not common.json) as progress:
            taught = await teach(
                opened.wiring, Learning(opened.wiring, by=actor()), table, interleaved(kinds),
                doubtful=doubtful, forget=forget, told=progress.advance,
            )  # fmt: skip
    if common.json:
        document(_taught_form(taught, table, forget=forget))
    else:
        _tell(Screen(), taught, table, forget=forget)
    return 1 if taught.problems and not taught.seen else 0


async def _table_of(opened: Session, domain: str) -> str:
    """Whose counts: those of a domain, or (empty) of all. Raises NotFoundError."""
    from cli.names import domain_of
    from pipeline.faults import NotFoundError

    if not domain:
        return ""
    home = await opened.wiring.directory.find_home(domain_of(domain))
    if home is None:
        raise NotFoundError(f"no domain {domain}", remedy="See `gatepost domain list`.")
    return home.name


def _tell(screen: Screen, taught: Taught, table: str, *, forget: bool) -> None:
    whose = f"for {clean(table)}" if table else "for all domains"
    if forget:
        screen.say((f"Forgot {count(taught.learned, 'message')} {whose}.", "green"))
    else:
        kinds = f"{taught.spam:,} as spam, {taught.ham:,} as no spam"
        screen.say((f"Learned {count(taught.learned, 'message')} {whose}: {kinds}.", "green"))
    if taught.same:
        what = "nothing was learnt of" if forget else "known before:"
        screen.say((f"{what} {taught.same:,} of {count(taught.seen, 'message')}", "dim"))
    if taught.sure:
        screen.say((f"left out, as the classifier is sure of them: {taught.sure:,}", "dim"))
    for name, problem in taught.problems[:PROBLEMS]:
        screen.say(("passed over ", "yellow"), f"{clean(name)}: {clean(problem)}")
    if len(taught.problems) > PROBLEMS:
        screen.say((f"and {len(taught.problems) - PROBLEMS:,} more", "yellow"))


def _taught_form(taught: Taught, table: str, *, forget: bool) -> dict[str, Any]:
    return {
        "domain": table or None,
        "messages": taught.seen,
        "forgotten" if forget else "learned": taught.learned,
        "spam": taught.spam,
        "ham": taught.ham,
        "known_before": taught.same,
        "left_out": taught.sure,
        "problems": [{"name": name, "problem": problem} for name, problem in taught.problems],
    }


@app.command
async def status(
    *,
    domain: Annotated[str, Parameter(help="Only what was learnt for this domain; else all that there is.")] = "",
    common: Common = DEFAULT,
) -> int:
    """What was learnt, for all domains and for single ones; whether that is enough, and what it takes.

    For example:

      gatepost learn status
      gatepost learn status --domain example.com
      gatepost learn status --json
    """
    from cli.session import session
    from projections.readers import read_learnt

    async with session(common, views=True) as opened:
        table = await _table_of(opened, domain) if domain else None
        store = opened.wiring.store
        (shared,) = await read_learnt(store.redis, store.partitions, "") or (NOTHING,)
        found = await read_learnt(store.redis, store.partitions, table)
        minimum = opened.wiring.settings.learning_minimum
        now = opened.now()
    tables = [shared, *(one for one in found if one.domain)]
    if common.json:
        document({
            "at": rfc3339(now), "minimum": minimum, "tables": [table_form(one, shared, minimum) for one in tables],
        })  # fmt: skip
        return 0
    tell_tables(Screen(), tables, minimum, now)
    return 0


def missing(one: Learnt, shared: Learnt, minimum: int) -> tuple[int, int]:
    """Messages of spam and of other mail that it still takes until something is said of mail for this domain."""
    own = one if one.domain else NOTHING
    return max(minimum - shared.spam - own.spam, 0), max(minimum - shared.ham - own.ham, 0)


def tell_tables(screen: Screen, tables: Sequence[Learnt], minimum: int, now: int) -> None:
    rows: list[list[str | tuple[str, str]]] = []
    for one in tables:
        spam, ham = missing(one, tables[0], minimum)
        state = ("active", "green") if not spam and not ham else (f"needs {spam:,} spam, {ham:,} other", "yellow")
        last = f"{relative(one.at, now)} by {clean(one.by)} ({clean(one.how)})" if one.at else ""
        rows.append([
            clean(one.domain) or ("all domains", "bold"), f"{one.spam:,}", f"{one.ham:,}", f"{one.tokens:,}",
            size(one.octets) if one.octets else "", state, last,
        ])  # fmt: skip
    screen.table(["for", ">spam", ">other", ">words", ">memory", "state", "last"], rows)
    if any(missing(tables[0], tables[0], minimum)):
        screen.say()
        screen.say((f"It takes {minimum:,} of each kind. Begin with: gatepost learn both --spam DIR --ham DIR", "dim"))


def table_form(one: Learnt, shared: Learnt, minimum: int) -> dict[str, Any]:
    spam, ham = missing(one, shared, minimum)
    return {
        "domain": one.domain or None,
        "spam": one.spam,
        "ham": one.ham,
        "words": one.tokens,
        "octets": one.octets,
        "active": not spam and not ham,
        "missing_spam": spam,
        "missing_ham": ham,
        "last_at": rfc3339(one.at) if one.at else None,
        "last_by": one.by,
        "last_how": one.how,
    }
