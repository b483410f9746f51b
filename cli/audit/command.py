"""The commands of `gatepost audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from pipeline.audit.manifest import Manifest
    from pipeline.audit.verify import Problems

app = noun(
    "audit",
    """What happened and who did what, in a form that proves itself.

For example:

  gatepost audit export --domain example.com --from 2026-11-01 --to 2026-11-22
  gatepost audit verify gatepost-audit-example.com-20261101-20261122.jsonl
""",
)


@app.command
async def export(
    *,
    domain: Annotated[str, Parameter(help="Only what concerns this domain; everything when left out.")] = "",
    period: Period = WHOLE,
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

      gatepost audit export --domain example.com --from 2026-11-01 --to 2026-11-22
      gatepost audit export --days 7 --output week.jsonl
      gatepost audit export --domain example.com --key audit.pem --output november.jsonl
    """
    from cli.audit.exporting import asked_of, default_name, refuse_existing
    from cli.audit.exporting import export as write
    from cli.names import domain_of
    from cli.session import actor, session
    from pipeline.audit import signing

    wanted = domain_of(domain) if domain else ""
    signer = signing.private(key) if key is not None else None
    async with session(common) as opened:
        asked = asked_of(wanted, period.bounds(opened.now()), opened.wiring.store.partitions)
        file = output or default_name(asked, "jsonl")
        refuse_existing(file, force=force)
        manifest = await write(opened, asked, file, kind="jsonl", by=actor(), key=signer)
    _told(common, file, manifest)
    return 0


def _told(common: Common, file: Path, manifest: Manifest) -> None:
    from cli.render import Screen, count, document, size
    from pipeline.audit.manifest import beside

    if common.json:
        import msgspec

        document({"file": str(file), "manifest": msgspec.to_builtins(manifest)})
        return
    screen = Screen()
    screen.say((str(file), "bold"), f"  {count(manifest.records, 'event')}, {size(manifest.file.octets)}")
    screen.say("  SHA-256 ", manifest.file.sha256)
    screen.say("  ", str(beside(file)), ", signed" if manifest.signature else "")
    for fault in manifest.continuity.named:
        screen.say(("  the log itself is not whole: ", "red"), fault.text)
    screen.say((f"  Check it: gatepost audit verify {file}", "dim"))


@app.command
async def verify(
    file: Annotated[Path | None, Parameter(help="An export; its manifest has to be beside it.")] = None,
    /,
    *,
    key: Annotated[Path | None, Parameter(help="The public key that it has to be signed with.")] = None,
    common: Common = DEFAULT,
) -> int:
    """Prove that nothing in an export is missing, changed, doubled or out of order.

    Needs no store. Exit code 1 when something is not as it was, with the first places.

    For example:

      gatepost audit verify november.jsonl
      gatepost audit verify november.jsonl --key audit.pem.pub
    """
    from cli.audit.verifying import verify_file
    from pipeline.audit import signing
    from pipeline.audit.verify import Problems
    from pipeline.faults import ConfigurationError

    if file is None:
        raise ConfigurationError("name a file", remedy="See `gatepost audit verify --help`.")
    problems = Problems()
    manifest = verify_file(file, signing.public(key) if key is not None else None, problems)
    _verdict(common, file, manifest, problems)
    return 1 if problems.count else 0


def _verdict(common: Common, file: Path, manifest: Manifest | None, problems: Problems) -> None:
    import msgspec

    from cli.audit.verifying import place
    from cli.render import Screen, clean, count, document

    signed = manifest.signature.public_key if manifest is not None and manifest.signature is not None else None
    if common.json:
        document({
            "file": str(file),
            "whole": problems.count == 0,
            "records": manifest.records if manifest is not None else None,
            "public_key": signed,
            "problems": problems.count,
            "named": [msgspec.to_builtins(problem) for problem in problems.named],
        })  # fmt: skip
        return
    screen = Screen()
    if not problems.count and manifest is not None:
        screen.say(
            (clean(str(file)), "bold"), "  ", ("whole and unchanged", "green"), f", {count(manifest.records, 'event')}"
        )
        what = clean(manifest.asked.domain) or "all domains"
        screen.say(f"  {what}, {manifest.asked.start} to {manifest.asked.end}, by {clean(manifest.made.by)}")
        screen.say(
            "  ",
            f"signed with {signed}" if signed else ("not signed: who can write the manifest can forge both", "dim"),
        )
        return
    screen.say((clean(str(file)), "bold"), "  ", (count(problems.count, "problem"), "red"))
    for problem in problems.named:
        screen.say("  ", (place(problem), "bold"), clean(problem.text))
    if problems.count > len(problems.named):
        screen.say((f"  and {problems.count - len(problems.named):,} more", "dim"))


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
