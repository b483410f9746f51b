"""`gatepost quarantine`: what is kept, bad mail and mail that cannot be delivered: to look at, to release, to delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from pipeline.events import Scanned
    from pipeline.state import Message

app = noun(
    "quarantine",
    """List, show, release and delete mail kept in quarantine.

Besides bad mail this is mail that the customer's server refused, or that waited
as long as it may, and whose sender is not to be told (reason undeliverable).

For example:

  gatepost quarantine list --domain example.com
  gatepost quarantine list --reason undeliverable
  gatepost quarantine show 1nx9s4tkh2v6c8jq0d7w03
  gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03
""",
)

MOST = 100


@app.command(name="list")
async def list_(
    *,
    domain: Annotated[str, Parameter(help="Only of this domain.")] = "",
    sender: Annotated[str, Parameter(help="Only from senders that contain this.")] = "",
    recipient: Annotated[str, Parameter(help="Only for recipients that contain this.")] = "",
    reason: Annotated[
        str, Parameter(help="Only what is kept for this: undeliverable, spam, phishing, virus, content, spoof.")
    ] = "",
    limit: Annotated[int, Parameter(help=f"Messages at most; {MOST} unless said.")] = MOST,
    common: Common = DEFAULT,
) -> int:
    """List what is kept, the newest first.

    For example:

      gatepost quarantine list
      gatepost quarantine list --domain example.com --recipient anna --limit 20
      gatepost quarantine list --reason undeliverable
      gatepost quarantine list --json
    """
    from cli.forms import message_form
    from cli.render import Screen, count, document, rfc3339
    from cli.session import session

    async with session(common) as opened:
        shown, left = await _kept(opened, domain, sender, recipient, reason, limit)
        now = opened.now()
    if common.json:
        document({
            "at": rfc3339(now),
            "messages": [{**message_form(message), "quarantined": list(_addresses(message))} for message in shown],
            "messages_left_off": left,
        })  # fmt: skip
        return 0
    screen = Screen()
    if not shown:
        screen.say(
            (
                "Nothing is in quarantine" + (" that matches" if domain or sender or recipient or reason else "") + ".",
                "green",
            )
        )
        return 0
    _table(screen, shown, now)
    screen.say()
    more = f" of {len(shown) + left:,}, see --limit" if left else ""
    screen.say((count(len(shown), "message") + more, "dim"))
    return 0


async def _kept(
    opened: Session, domain: str, sender: str, recipient: str, reason: str, limit: int
) -> tuple[list[Message], int]:
    """Up to `limit` messages that match, the newest first, and how many more do."""
    from cli.heads import PAGE, LiveHeads
    from cli.names import domain_of
    from pipeline.ids import partition_for

    heads, partitions = LiveHeads(opened.wiring), opened.wiring.store.partitions
    wanted = domain_of(domain) if domain else ""
    # Everything about a domain is in one partition.
    ids = await heads.kept([partition_for(wanted, partitions)] if wanted else range(partitions))
    found: list[Message] = []
    filtered = bool(wanted or sender or recipient or reason)
    for start in range(0, len(ids), PAGE):
        if len(found) >= limit and not filtered:
            return found[:limit], len(ids) - limit
        page = await heads.read(ids[start : start + PAGE])
        found += [one for one in page if _matches(one, wanted, sender.casefold(), recipient.casefold(), reason)]
    return found[:limit], max(0, len(found) - limit)


def _matches(message: Message, domain: str, sender: str, recipient: str, reason: str) -> bool:
    kept = _addresses(message)
    if reason and reason not in _reasons(message):
        return False
    return (
        bool(kept)
        and (not domain or message.domain == domain)
        and sender in message.sender.casefold()
        and any(recipient in address.casefold() for address in kept)
    )


def _addresses(message: Message) -> tuple[str, ...]:
    from pipeline.state import Stage

    return message.addresses(Stage.QUARANTINED)


def _reasons(message: Message) -> list[str]:
    """What its copies are kept for."""
    from cli.forms import kept_as

    return list(dict.fromkeys(why for one in message.recipients if (why := kept_as(message, one))))


def _table(screen: Screen, messages: list[Message], now: int) -> None:
    from cli.render import clean, relative
    from cli.words import path, people

    screen.table(
        ["id", "received", "kept as", ">score", "from", "to", "subject"],
        [
            [
                (message.id, "bold"), relative(message.received_at, now), (clean(", ".join(_reasons(message))), "yellow"),
                f"{message.score:g}", path(message.sender), people(_addresses(message)), clean(message.subject),
            ]
            for message in messages
        ],
    )  # fmt: skip


@app.command
async def show(
    message_id: Annotated[str, Parameter(help="The id, from `gatepost quarantine list`.")],
    /,
    *,
    raw: Annotated[bool, Parameter(help="The message's bytes as they came, to a file or a pipe.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Show one message: what its header says, the verdict, and the tests behind it.

    For example:

      gatepost quarantine show 1nx9s4tkh2v6c8jq0d7w03
      gatepost quarantine show 1nx9s4tkh2v6c8jq0d7w03 --raw > message.eml
    """
    from cli.forms import event_form, message_form
    from cli.names import message_id_of
    from cli.render import Screen, document
    from cli.session import session

    wanted = message_id_of(message_id)
    async with session(common) as opened:
        message = await _quarantined(opened, wanted)
        if raw:
            return await _raw(opened, message)
        scanned = await _scan_of(opened, message)
        now = opened.now()
    if common.json:
        scan = event_form(scanned) if scanned is not None else None
        document({**message_form(message), "quarantined": list(_addresses(message)), "scan": scan})
        return 0
    _show(Screen(), message, scanned, now)
    return 0


async def _quarantined(opened: Session, message_id: str) -> Message:
    """Raises NotFoundError, RefusedError."""
    from cli.heads import live_or_refuse
    from pipeline.faults import RefusedError

    message = await live_or_refuse(opened.wiring, message_id)
    if not _addresses(message):
        raise RefusedError(
            f"{message_id} is not in quarantine, it is {message.stage}", remedy=f"See `gatepost trace {message_id}`."
        )
    return message


async def _raw(opened: Session, message: Message) -> int:
    import sys

    from pipeline.bodies import CHUNK
    from pipeline.faults import RefusedError

    if sys.stdout.isatty():
        raise RefusedError(
            "the bytes of bad mail do not belong on a terminal",
            remedy=f"Write them to a file: gatepost quarantine show {message.id} --raw > message.eml",
        )
    body = await opened.wiring.bodies.get(message.id)
    with memoryview(body) as view:
        for start in range(0, len(view), CHUNK):
            with view[start : start + CHUNK] as chunk:
                sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    return 0


async def _scan_of(opened: Session, message: Message) -> Scanned | None:
    from pipeline.events import Scanned

    async for entry in opened.wiring.log.history(message.id, message.version):
        if entry.subject == message.id and isinstance(entry.event, Scanned):
            return entry.event
    return None


def _show(screen: Screen, message: Message, scanned: Scanned | None, now: int) -> None:
    from cli.forms import UNDELIVERABLE
    from cli.render import clean, local, relative, size
    from cli.words import from_client, path, people, quoted

    kept_until = message.kept_until or message.expires
    found = [message.reason if why != UNDELIVERABLE and message.reason else why for why in _reasons(message)]
    screen.say((message.id, "bold"), "  ", (clean("; ".join(found)), "yellow"))
    screen.facts([
        ("sender", path(message.sender)),
        ("From", clean(scanned.header_from) if scanned else ""),
        ("to", people(_addresses(message))),
        ("Subject", clean(message.subject)),
        ("Message-ID", clean(message.message_id)),
        ("size", size(message.size)),
        ("received", f"{local(message.received_at)}, {relative(message.received_at, now)}"),
        ("client", from_client(message.client)),
        ("kept until", f"{local(kept_until)}, {relative(kept_until, now)}"),
        ("verdict", f"{clean(message.verdict)}, score {message.score:g}"),
    ])  # fmt: skip
    findings = scanned.findings if scanned else ()
    if findings:
        screen.say()
        screen.table(
            [">score", "test", "why"],
            [[f"{finding.score:+g}", clean(finding.name), clean(finding.text)] for finding in findings],
        )
    for one in message.recipients:
        if one.unsent:
            screen.say()
            screen.say((f"could not be delivered to {clean(one.address)}, no bounce: {clean(one.unsent)}", "red"))
            for where, reply in quoted(one.last):
                screen.say("  ", (where, "dim"))
                screen.quote(reply, 2)
    screen.say()
    screen.say("Release it: gatepost quarantine release ", (message.id, "bold"))


@app.command
async def release(*message_ids: Annotated[str, Parameter(help="One or more ids.")], common: Common = DEFAULT) -> int:
    """Send messages straight to their recipients, without another scan.

    Once, however often it is asked for.

    For example:

      gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03
    """
    from cli.decisions import release as release_one

    return await _each(message_ids, release_one, common)


@app.command
async def delete(
    *message_ids: Annotated[str, Parameter(help="One or more ids.")],
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Discard messages for good.

    For example:

      gatepost quarantine delete 1nx9s4tkh2v6c8jq0d7w03 --yes
    """
    from cli.decisions import delete as delete_one
    from cli.names import confirm
    from cli.render import count

    if message_ids and not yes and not await confirm(f"Delete {count(len(message_ids), 'message')} for good?"):
        return 1
    return await _each(message_ids, delete_one, common)


async def _each(message_ids: tuple[str, ...], act: Any, common: Common) -> int:
    """Act on every message; one that cannot be acted on does not hold up the others, and its code is the exit code."""
    from cli.names import message_id_of
    from cli.render import Screen, complain, document
    from cli.session import session
    from pipeline.faults import ConfigurationError, GatepostError, StoreError

    if not message_ids:
        raise ConfigurationError("no id given", remedy="See `gatepost quarantine list`.")
    wanted = [message_id_of(text) for text in message_ids]
    results: list[dict[str, str]] = []
    faults: list[GatepostError] = []
    async with session(common) as opened:
        for message_id in wanted:
            try:
                results.append({"id": message_id, "result": await act(opened, message_id)})
            except StoreError:
                raise
            except GatepostError as error:
                faults.append(error)
                results.append({"id": message_id, "result": "refused", "reason": str(error)})
    if common.json:
        document({"messages": results})
    else:
        screen = Screen()
        for result in results:
            if "reason" not in result:
                screen.say((result["id"], "bold"), f" {result['result']}")
    complain(*(f"gatepost: {fault}" for fault in faults[:-1]))
    if faults:
        raise faults[-1]
    return 0
