"""`gatepost queue bounce`, `delete` and `undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.steering.selecting import NONE, Filters

if TYPE_CHECKING:
    from cli.session import Session
    from cli.steering.selecting import Preview, Selection, Tally

MESSAGES = Parameter(help="Ids of messages; or say which with filters.")
YES = Parameter(help="Do not ask.")
DRY = Parameter(help="Only say what would happen.")
WORDS: Final = {"bounce": "returned to the sender", "delete": "deleted"}
QUESTIONS: Final = {"bounce": "Return {} to the sender?", "delete": "Delete {} for good?"}


async def bounce(
    *messages: Annotated[str, MESSAGES],
    reason: Annotated[str, Parameter(help="Why, in a few words: the sender reads them.")],
    filters: Filters = NONE,
    yes: Annotated[bool, YES] = False,
    dry_run: Annotated[bool, DRY] = False,
    common: Common = DEFAULT,
) -> int:
    """Return waiting mail to its senders now, instead of trying on.

    It stops being tried at once, and is returned when undo_time (10 minutes
    unless set) is over; until then `gatepost queue undo` takes it back.

    For example:

      gatepost queue bounce 1nx9s4tkh2v6c8jq0d7w03 --reason "no such department"
      gatepost queue bounce --domain example.com --older-than 2d --reason "closed" --dry-run
    """
    return await _end("bounce", messages, filters, reason, yes=yes, dry_run=dry_run, common=common)


async def delete(
    *messages: Annotated[str, MESSAGES],
    reason: Annotated[str, Parameter(help="Why, in a few words; it is recorded.")],
    filters: Filters = NONE,
    yes: Annotated[bool, YES] = False,
    dry_run: Annotated[bool, DRY] = False,
    common: Common = DEFAULT,
) -> int:
    """Discard waiting mail for good; nobody is told.

    It stops being tried at once, and is gone when undo_time (10 minutes unless
    set) is over; until then `gatepost queue undo` takes it back.

    For example:

      gatepost queue delete 1nx9s4tkh2v6c8jq0d7w03 --reason "test mail"
      gatepost queue delete --sender spammer@example.org --reason "spam run" --yes
    """
    return await _end("delete", messages, filters, reason, yes=yes, dry_run=dry_run, common=common)


async def _end(
    then: str,
    messages: tuple[str, ...],
    filters: Filters,
    reason: str,
    *,
    yes: bool,
    dry_run: bool,
    common: Common,
) -> int:
    from cli.names import confirm
    from cli.render import complain, count, document
    from cli.session import session
    from cli.steering.asked import why
    from cli.steering.selecting import Selection
    from cli.steering.telling import preview_form, preview_lines

    words = why(reason)
    total: int | None = len(messages) or None
    now = 0
    if dry_run or not yes:
        async with session(common) as opened:
            now = opened.now()
            found = await Selection(messages, filters, now).preview(opened)
        total = found.messages
        if dry_run and common.json:
            document({"dry_run": True, "then": then, **preview_form(found)})
            return 0
        if not total and not messages:
            _nothing(common)
            return 0
        undo_time = common.settings().undo_time
        complain(*(preview_lines(found, now) if total else ()), *_what(then, found, str(undo_time)))
        # Nobody else waits for the store while somebody thinks about the answer.
        if dry_run or not await confirm(QUESTIONS[then].format(count(total or len(messages), "message"))):
            return 0 if dry_run else 1
    async with session(common) as opened:
        # What came in while somebody thought is not what they were asked about.
        selection = Selection(messages, filters, now or opened.now())
        return await _plan(opened, then, selection, words, total=total, common=common)


def _nothing(common: Common) -> None:
    from cli.render import Screen, document
    from cli.steering.selecting import Tally
    from cli.steering.telling import tally_form

    if common.json:
        document({"action": None, **tally_form(Tally())})
    else:
        Screen().say(("Nothing waits that is meant.", "green"))


def _what(then: str, found: Preview, undo_time: str) -> list[str]:
    lines = []
    if then == "bounce" and found.without_sender:
        lines.append(f"  {found.without_sender:,} of them have no sender: they end, and nobody is told")
    lines.append(f"  it can be taken back for {undo_time}")
    return lines


async def _plan(
    opened: Session,
    then: str,
    selection: Selection,
    reason: str,
    *,
    total: int | None,
    common: Common,
) -> int:
    from cli.render import Screen, document, local, rfc3339
    from cli.session import actor
    from cli.steering.selecting import act_on
    from cli.steering.telling import code, tally_form, tell
    from pipeline.ids import new_id
    from workers.steering import Steering

    now = opened.now()
    steering = Steering(opened.wiring, by=actor())
    action, until = new_id(now, 0), now + int(opened.wiring.settings.undo_time)

    async def act(message_id: str) -> bool:
        return await steering.plan(message_id, then=then, reason=reason, until=until, action=action)

    tally = await act_on(opened, selection, act, what=f"{then}: planning", total=total, shown=not common.json)
    if common.json:
        named = action if tally.done else None
        document({"action": named, "then": then, "at": rfc3339(until), "reason": reason, **tally_form(tally)})
        return code(tally)
    screen = Screen()
    tell(screen, tally, f"will be {WORDS[then]} at {local(until)}", "was to be so already")
    if tally.done and until > now:
        screen.say("  Take it back until then: gatepost queue undo ", (action, "bold"))
    if opened.offline and tally.done:
        screen.say(("  Gatepost is not running here; it happens after the next `gatepost up`.", "yellow"))
    return code(tally)


async def undo(
    action: Annotated[
        str, Parameter(help="The id that bounce or delete gave, or that of one message. Needed when there are several.")
    ] = "",
    /,
    *,
    list_: Annotated[bool, Parameter(name="--list", help="Only show what can be taken back.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Take a bounce or delete back before it happens; the mail waits as it did before.

    For example:

      gatepost queue undo
      gatepost queue undo 1nx9s4tkh2v6c8jq0d7w03
      gatepost queue undo --list
    """
    from cli.render import Screen, document
    from cli.session import session
    from cli.steering.telling import code, tally_form, tell

    async with session(common) as opened:
        plans = await _plans(opened)
        if list_ or (not action and not plans):
            _show(plans, opened.now(), common)
            return 0
        wanted = _chosen(plans, action)
        tally = await _undo(opened, wanted)
    if common.json:
        document({"action": wanted, **tally_form(tally)})
    else:
        tell(Screen(), tally, "will not end: it was taken back", "had no end planned")
    return code(tally)


class Plan:
    """An action that can still be taken back."""

    def __init__(self, action: str, then: str, by: str, reason: str, until: int) -> None:
        self.action = action
        self.then = then
        self.by = by
        self.reason = reason
        self.until = until
        self.messages = 0


async def _plans(opened: Session) -> list[Plan]:
    """What can be taken back, what happens first first."""
    from workers.steering import planned_messages

    found: dict[str, Plan] = {}
    async for message in planned_messages(opened.wiring):
        hold = message.hold
        assert hold is not None
        plan = found.setdefault(hold.action, Plan(hold.action, hold.then, hold.by, hold.reason, hold.until))
        plan.messages += 1
    return sorted(found.values(), key=lambda plan: (plan.until, plan.action))


def _chosen(plans: list[Plan], text: str) -> str:
    """Raises ConfigurationError where one has to be named, NotFoundError for what is no id."""
    from cli.names import message_id_of
    from pipeline.faults import ConfigurationError

    if text:
        return message_id_of(text)
    if len(plans) > 1:
        raise ConfigurationError(
            f"{len(plans)} can be taken back: which one?", remedy="See `gatepost queue undo --list`."
        )
    return plans[0].action


async def _undo(opened: Session, wanted: str) -> Tally:
    """Of an action, every message; else of the message of that id."""
    from cli.heads import live_or_refuse
    from cli.session import actor
    from cli.steering.selecting import NONE, Selection, act_on
    from pipeline.faults import NotFoundError
    from workers.steering import Steering, planned_messages

    steering = Steering(opened.wiring, by=actor())
    names = [message.id async for message in planned_messages(opened.wiring) if _of(message, wanted)]
    of_action = wanted if names else ""
    if not names:
        try:
            await live_or_refuse(opened.wiring, wanted)
        except NotFoundError:
            raise NotFoundError(
                f"nothing can be taken back as {wanted}",
                remedy="Its time may be over; see `gatepost queue undo --list`.",
            ) from None
        names = [wanted]

    async def act(message_id: str) -> bool:
        return await steering.undo(message_id, action=of_action)

    selection = Selection(names, NONE, opened.now())
    return await act_on(opened, selection, act, what="taking back", total=len(names), shown=True)


def _of(message: Any, action: str) -> bool:
    return message.hold is not None and message.hold.action == action


def _show(plans: list[Plan], now: int, common: Common) -> None:
    from cli.render import Screen, clean, document, relative, rfc3339

    if common.json:
        document({
            "actions": [
                {
                    "action": plan.action, "then": plan.then, "messages": plan.messages, "by": plan.by,
                    "reason": plan.reason, "at": rfc3339(plan.until),
                }
                for plan in plans
            ]
        })  # fmt: skip
        return
    screen = Screen()
    if not plans:
        screen.say(("Nothing to take back.", "green"))
        return
    screen.table(
        ["action", "what", ">messages", "when", "by", "reason"],
        [
            [
                (plan.action, "bold"), WORDS.get(plan.then, plan.then), f"{plan.messages:,}", relative(plan.until, now),
                clean(plan.by), clean(plan.reason),
            ]
            for plan in plans
        ],
    )  # fmt: skip
