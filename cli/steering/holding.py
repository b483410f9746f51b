"""`gatepost queue hold` and `resume`: messages, domains, servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.session import Session
    from cli.steering.selecting import Tally

DOMAIN = Parameter(help="All mail of this domain, also what comes in later.")
SERVER = Parameter(help="All mail to this server, HOST:PORT, whichever domain's it is.")


async def hold(
    *messages: Annotated[str, Parameter(help="Ids of messages.")],
    reason: Annotated[str, Parameter(help="Why, in a few words; it is recorded and shown.")],
    domain: Annotated[str, DOMAIN] = "",
    server: Annotated[str, SERVER] = "",
    until: Annotated[str, Parameter(help="When it ends by itself: 2h, 18:00, 2026-11-25 08:00.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Keep mail from leaving until it is resumed. It is accepted and kept, and nothing bounces meanwhile.

    A message still ends when it has waited as long as it may (queue_lifetime).

    For example:

      gatepost queue hold 1nx9s4tkh2v6c8jq0d7w03 --reason "wrong attachment?"
      gatepost queue hold --domain example.com --reason "server moves" --until 18:00
      gatepost queue hold --server mail.example.com:25 --reason "new disk" --until 2h
    """
    from cli.render import Screen, document, local, rfc3339
    from cli.session import session
    from cli.steering.asked import until_of, why
    from cli.steering.telling import code, tally_form, tell

    words = why(reason)
    _one_kind(messages, domain, server)
    async with session(common) as opened:
        ends = until_of(until, opened.now())
        if messages:
            tally = await _hold_messages(opened, messages, words, ends, shown=not common.json)
            if common.json:
                document({"held": True, "reason": words, "until": rfc3339(ends), **tally_form(tally)})
            else:
                tell(Screen(), tally, f"held{_till(ends)}", "held so already")
            return code(tally)
        name = await (
            _hold_server(opened, server, words, ends) if server else _hold_domain(opened, domain, words, ends)
        )
    flag = "--server" if server else "--domain"
    if common.json:
        document({flag[2:]: name, "held": True, "reason": words, "until": rfc3339(ends)})
        return 0
    till = f" until {local(ends)}" if ends else ""
    Screen().say((name, "bold"), f" is held{till}. Let its mail flow again: gatepost queue resume {flag} {name}")
    return 0


def _till(ends: int) -> str:
    from cli.render import local

    return f" until {local(ends)}" if ends else ", until they are resumed: gatepost queue resume ID"


def _one_kind(messages: tuple[str, ...], domain: str, server: str) -> None:
    from pipeline.faults import ConfigurationError

    if bool(messages) + bool(domain) + bool(server) != 1:
        raise ConfigurationError("give ids of messages, --domain, or --server: one of them")


async def _hold_messages(opened: Session, messages: tuple[str, ...], reason: str, until: int, *, shown: bool) -> Tally:
    from cli.session import actor
    from cli.steering.selecting import NONE, Selection, act_on
    from workers.steering import Steering

    steering, selection = Steering(opened.wiring, by=actor()), Selection(messages, NONE, opened.now())

    async def act(message_id: str) -> bool:
        return await steering.hold(message_id, reason=reason, until=until)

    return await act_on(opened, selection, act, what="holding", total=len(selection.ids), shown=shown)


async def _hold_domain(opened: Session, text: str, reason: str, until: int) -> str:
    from cli.names import domain_of
    from cli.session import actor
    from pipeline.faults import RefusedError

    name = domain_of(text)
    if not await opened.wiring.directory.hold(name, reason, by=actor(), now=opened.now(), until=until):
        raise RefusedError(f"{name} is held already", remedy=f"Resume it first: gatepost queue resume --domain {name}.")
    return name


async def _hold_server(opened: Session, text: str, reason: str, until: int) -> str:
    from cli.session import actor
    from cli.steering.asked import server_of
    from pipeline.faults import RefusedError

    name = server_of(text)
    if not await opened.wiring.directory.hold_server(name, reason, by=actor(), now=opened.now(), until=until):
        raise RefusedError(f"{name} is held already", remedy=f"Resume it first: gatepost queue resume --server {name}.")
    return name


async def resume(
    *messages: Annotated[str, Parameter(help="Ids of messages.")],
    domain: Annotated[str, Parameter(help="The domain that is held.")] = "",
    server: Annotated[str, Parameter(help="The server that is held, HOST:PORT.")] = "",
    reason: Annotated[str, Parameter(help="Why, in a few words; it is recorded.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Let held mail flow again; what waits is tried at once.

    For example:

      gatepost queue resume 1nx9s4tkh2v6c8jq0d7w03
      gatepost queue resume --domain example.com
      gatepost queue resume --server mail.example.com:25
    """
    from cli.render import Screen, count, document
    from cli.session import session
    from cli.steering.asked import why
    from cli.steering.telling import code, tally_form, tell

    _one_kind(messages, domain, server)
    words = why(reason) if reason else ""
    async with session(common) as opened:
        if messages:
            tally = await _resume_messages(opened, messages, words, shown=not common.json)
            if common.json:
                document({"held": False, **tally_form(tally)})
            else:
                tell(Screen(), tally, "may leave now", "not held")
            return code(tally)
        name, form = await (_resume_server(opened, server, words) if server else _resume_domain(opened, domain, words))
    if common.json:
        document({"server" if server else "domain": name, "held": False, **form})
        return 0
    screen = Screen()
    screen.say((name, "bold"), f" flows again; {count(form['waiting'], 'message')} to be forwarded now")
    if form.get("still_held"):
        screen.say(f"  {count(form['still_held'], 'message')} held by itself stays so: see gatepost queue list {name}")
    return 0


async def _resume_messages(opened: Session, messages: tuple[str, ...], reason: str, *, shown: bool) -> Tally:
    from cli.session import actor
    from cli.steering.selecting import NONE, Selection, act_on
    from workers.steering import Steering

    steering, selection = Steering(opened.wiring, by=actor()), Selection(messages, NONE, opened.now())

    async def act(message_id: str) -> bool:
        return await steering.resume(message_id, reason=reason)

    return await act_on(opened, selection, act, what="resuming", total=len(selection.ids), shown=shown)


async def _resume_domain(opened: Session, text: str, reason: str) -> tuple[str, dict[str, Any]]:
    from cli.domain.common import rerouted
    from cli.names import domain_of
    from cli.session import actor
    from pipeline import keys
    from pipeline.faults import RefusedError
    from pipeline.ids import partition_for
    from pipeline.store import faults

    name, wiring = domain_of(text), opened.wiring
    async with rerouted(opened) as moved:
        before = await wiring.directory.resume(name, by=actor(), now=opened.now(), note=reason)
    if before is None:
        raise RefusedError(f"{name} is not held")
    with faults():
        own = int(await wiring.store.redis.zcard(keys.held_of(partition_for(name, wiring.store.partitions), name)))
    return name, {"waiting": moved.messages, "still_held": own}


async def _resume_server(opened: Session, text: str, reason: str) -> tuple[str, dict[str, Any]]:
    from cli.session import actor
    from cli.steering.asked import server_of
    from pipeline.faults import RefusedError
    from workers.steering import retry_server

    name = server_of(text)
    before = await opened.wiring.directory.resume_server(name, by=actor(), now=opened.now(), note=reason)
    if before is None:
        raise RefusedError(f"{name} is not held")
    due = await retry_server(opened.wiring, name)
    return name, {"waiting": sum(due.values()), "domains": due}
