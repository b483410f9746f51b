"""The commands of `gatepost audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from cli.options import DEFAULT, Common, at_least_one, noun
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.audit.manifest import Manifest
    from pipeline.audit.verify import Problems

app = noun(
    "audit",
    """What happened and who did what, in a form that proves itself.

For example:

  gatepost audit export --domain example.com --from 2026-11-01 --to 2026-11-22
  gatepost audit verify gatepost-audit-example.com-20261101-20261122.jsonl
  gatepost audit verify --live
  gatepost audit log --by cli:anna
""",
)


@app.command
async def export(
    *,
    domain: Annotated[str, Parameter(help="Only what concerns this domain; everything when left out.")] = "",
    period: Period = WHOLE,
    tz: Annotated[
        str, Parameter(help="Whose days they are, such as Europe/Berlin; otherwise the domain's, or this machine's.")
    ] = "",
    format_: Annotated[
        Literal["jsonl", "parquet"],
        Parameter(name="--format", help="JSON lines, or Parquet with the same lines in it."),
    ] = "jsonl",
    output: Annotated[Path | None, Parameter(help="The file; otherwise a name is made of domain and days.")] = None,
    force: Annotated[bool, Parameter(help="Take the place of a file of that name.")] = False,
    key: Annotated[
        Path | None, Parameter(help="Sign the manifest with this private key; see `gatepost audit key`.")
    ] = None,
    common: Common = DEFAULT,
) -> int:
    """Write every event of a stretch of time to a file, with a manifest that proves it whole.

    No text of any mail is in it. That it was exported is itself written down.

    For example:

      gatepost audit export --domain example.com --from 2026-11-01 --to 2026-11-22 --tz Europe/Berlin
      gatepost audit export --days 7 --format parquet --output week.parquet
      gatepost audit export --domain example.com --key audit.pem --output november.jsonl
    """
    from cli.audit.exporting import asked_of, default_name, refuse_existing, zone_for
    from cli.audit.exporting import export as write
    from cli.names import domain_of
    from cli.session import actor, session
    from pipeline.audit import parquet, signing

    wanted = domain_of(domain) if domain else ""
    signer = signing.private(key) if key is not None else None
    async with session(common) as opened:
        zone = await zone_for(opened, wanted, tz)
        asked = asked_of(wanted, period.bounds(opened.now(), zone), opened.wiring.store.partitions)
        file = output or default_name(asked, format_, zone)
        refuse_existing(file, force=force)
        if format_ == "parquet":
            parquet.connect().close()
        manifest = await write(opened, asked, file, kind=format_, by=actor(), key=signer)
    _told(common, file, manifest)
    return 0


def _told(common: Common, file: Path, manifest: Manifest) -> None:
    from cli.render import Screen, clean, count, document, size
    from pipeline.audit.manifest import beside

    if common.json:
        import msgspec

        document({"file": str(file), "manifest": msgspec.to_builtins(manifest)})
        return
    screen = Screen()
    screen.say((clean(str(file)), "bold"), f"  {count(manifest.records, 'event')}, {size(manifest.file.octets)}")
    screen.say("  SHA-256 ", manifest.file.sha256)
    screen.say("  ", clean(str(beside(file))), ", signed" if manifest.signature else "")
    for fault in manifest.continuity.named:
        screen.say(("  the log itself is not whole: ", "red"), clean(fault.text))
    screen.say((f"  Check it: gatepost audit verify {clean(str(file))}", "dim"))


@app.command
async def verify(
    file: Annotated[Path | None, Parameter(help="An export; its manifest has to be beside it.")] = None,
    /,
    *,
    key: Annotated[Path | None, Parameter(help="The public key that it has to be signed with.")] = None,
    against_store: Annotated[bool, Parameter(help="And that the store still says the same.")] = False,
    live: Annotated[bool, Parameter(help="The store itself: log, archive, heads, directory, views.")] = False,
    domain: Annotated[str, Parameter(help="With --live: only the log that this domain is in.")] = "",
    from_: Annotated[str, Parameter(name="--from", help="With --live: only entries since this day or moment.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Prove that nothing is missing, changed, doubled or out of order.

    Of an export, for which no store is needed; with --against-store also that
    log and archive still say what it says. Or, with --live, of the store itself,
    while mail goes on. Exit code 1 when something is not as it should be, with the
    first places.

    For example:

      gatepost audit verify november.jsonl
      gatepost audit verify november.jsonl --key audit.pem.pub --against-store
      gatepost audit verify --live
      gatepost audit verify --live --domain example.com --from 2026-11-01
    """
    from cli.audit import verifying
    from pipeline.audit.verify import Problems
    from pipeline.faults import ConfigurationError

    if (file is None) is not live or (live and (key or against_store)) or (file and (domain or from_)):
        raise ConfigurationError("name a file, or say --live", remedy="See `gatepost audit verify --help`.")
    problems = Problems()
    if file is None:
        return await _live(common, domain, from_, problems)
    from pipeline.audit import signing

    public = signing.public(key) if key is not None else None
    manifest = verifying.verify_file(file, public, problems)
    if against_store and manifest is not None:
        from cli.audit.against import against
        from cli.session import session

        async with session(common) as opened:
            await against(opened, file, manifest, problems)
    _verdict(common, file, manifest, problems)
    return 1 if problems.count else 0


async def _live(common: Common, domain: str, since: str, problems: Problems) -> int:
    import msgspec

    from cli.audit.living import verify_live
    from cli.names import domain_of
    from cli.render import Screen, count, document
    from cli.session import session

    wanted = domain_of(domain) if domain else ""
    async with session(common) as opened:
        begin = -(-Period(from_=since).bounds(opened.now())[0] // 1_000_000)
        looked = await verify_live(opened, wanted, begin, problems)
    if common.json:
        document({"whole": problems.count == 0, **msgspec.to_builtins(looked), **_problems_form(problems)})
        return 1 if problems.count else 0
    screen = Screen()
    verdict = ("whole", "green") if not problems.count else (count(problems.count, "problem"), "red")
    rate = looked.entries / looked.seconds if looked.seconds else 0.0
    screen.say(
        ("the store", "bold"), "  ", verdict, (f"  ({count(looked.entries, 'entry', 'entries')}, {rate:,.0f}/s)", "dim")
    )
    said = f"{count(looked.logs, 'log')}, {count(looked.subjects, 'history', 'histories')} from the beginning, {looked.live:,} go on"
    screen.say("  ", said, f", {count(looked.segments, 'segment')} of the archive" if looked.segments else "")
    _name(screen, problems)
    return 1 if problems.count else 0


def _problems_form(problems: Problems) -> dict[str, Any]:
    import msgspec

    return {"problems": problems.count, "named": [msgspec.to_builtins(problem) for problem in problems.named]}


def _name(screen: Screen, problems: Problems) -> None:
    from cli.audit.verifying import place
    from cli.render import clean

    for problem in problems.named:
        screen.say("  ", (place(problem), "bold"), clean(problem.text))
    if problems.count > len(problems.named):
        screen.say((f"  and {problems.count - len(problems.named):,} more", "dim"))


def _verdict(common: Common, file: Path, manifest: Manifest | None, problems: Problems) -> None:
    from cli.render import Screen, clean, count, document

    signed = manifest.signature.public_key if manifest is not None and manifest.signature is not None else None
    if common.json:
        records = manifest.records if manifest is not None else None
        document({
            "file": str(file), "whole": problems.count == 0, "records": records, "public_key": signed,
            **_problems_form(problems),
        })  # fmt: skip
        return
    screen = Screen()
    if problems.count or manifest is None:
        screen.say((clean(str(file)), "bold"), "  ", (count(problems.count, "problem"), "red"))
        _name(screen, problems)
        return
    number = count(manifest.records, "event")
    screen.say((clean(str(file)), "bold"), "  ", ("whole and unchanged", "green"), f", {number}")
    what = clean(manifest.asked.domain) or "all domains"
    start = "the beginning" if manifest.asked.start.startswith("1970-01-01T00:00:00") else manifest.asked.start
    end = min(manifest.asked.end, manifest.made.at)
    screen.say(f"  {what}, {start} to {end}, by {clean(manifest.made.by)}")
    unsigned = ("not signed: who can write both files can forge both", "dim")
    screen.say("  ", f"signed with {clean(signed)}" if signed else unsigned)


@app.command
async def log(
    *,
    by: Annotated[
        str, Parameter(help="Only by this one, such as cli:anna or sync:office; gatepost for what it did by itself.")
    ] = "",
    domain: Annotated[str, Parameter(help="Only of this domain.")] = "",
    kind: Annotated[
        tuple[str, ...], Parameter(help="Only of this kind, such as held or domain_set; repeat it for more.")
    ] = (),
    period: Period = WHOLE,
    limit: Annotated[int, Parameter(help="How many at most, the newest first.")] = 50,
    after: Annotated[str, Parameter(help="Where another page ended.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Who did what when: changes, holds, releases, looks, exports; the newest first.

    For example:

      gatepost audit log
      gatepost audit log --by cli:anna --days 7
      gatepost audit log --domain example.com --kind released --kind looked --json
    """
    from cli.audit.logging import form, show
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.events import ALL_EVENTS
    from pipeline.faults import ConfigurationError
    from projections.readers.actions import Actions, Query, of_kinds, read_key

    at_least_one(limit)
    try:
        kinds = of_kinds(kind, ALL_EVENTS) if kind else None
    except KeyError as error:
        raise ConfigurationError(f"no action is of the kind {error}", remedy="See kind in --json.") from None
    try:
        read_key(after or "0-0-0")
    except ValueError:
        raise ConfigurationError(f"--after {after!a} is no end of a page") from None
    wanted = domain_of(domain) if domain else ""
    async with session(common, views=True) as opened:
        wiring = opened.wiring
        start, end = period.bounds(opened.now())
        query = Query(by=by, domain=wanted, kinds=kinds, start=-(-start // 1_000_000), end=end // 1_000_000)
        page = await Actions(wiring.store.redis, wiring.history, wiring.store.partitions).page(query, limit, after)
    if common.json:
        document(form(page))
    else:
        show(Screen(), page)
    return 0


@app.command
def key(
    file: Annotated[Path, Parameter(help="Where the private key goes; the public one beside it, with .pub.")],
    /,
    *,
    common: Common = DEFAULT,
) -> int:
    """Make a key that exports are signed with.

    Give the public key to whoever will check them, once and by a way of its own.

    For example:

      gatepost audit key audit.pem
    """
    from cli.render import Screen, document
    from pipeline.audit import signing

    public = signing.make(file)
    if common.json:
        document({"private": str(file), "public": str(public)})
        return 0
    screen = Screen()
    screen.say((str(file), "bold"), "  the private key: whoever has it can sign in your name")
    screen.say((str(public), "bold"), "  the public key, for whoever checks")
    return 0
