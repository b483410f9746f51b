"""The show: five messages, what is said to their sender, and what happens to each, told while it happens."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shlex
import shutil
import smtplib
import sys
from collections.abc import Sequence
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Final

import msgspec

from cli.demo.stage import AWAY, AWAY_PEOPLE, DOMAIN, PEOPLE, Stage
from cli.render import age, clean, local
from cli.timeline import detail, line
from cli.words import describe
from pipeline.events import Delivered, Event, Quarantined, Recorded, RouteDeferred
from pipeline.faults import StoreAwayError
from pipeline.ids import is_id
from pipeline.log import Damaged
from pipeline.pause import pause

PATIENCE: Final = 20.0
"""Seconds for each message to come to where it should; usually it takes less than one."""
POLL: Final = 0.03
WATCH: Final = 0.2
SENDER: Final = "maria@elsewhere.test"
EICAR: Final = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + "-ANTIVIRUS-TEST-FILE!$H+H*"
CLEAN, DECEIVING, VIRUS, UNKNOWN, WAITING = "clean", "deceiving", "virus", "unknown", "waiting"
_STAMP: Final = 9
"""Width of the time since arrival."""


PHISHING: Final = """\
<p>Dear customer,</p>
<p>your PayPal account has been limited. Please confirm your password within 24 hours:</p>
<p><a href="http://192.0.2.45/login">https://www.paypal.com/signin</a></p>
"""


class Scene(msgspec.Struct, frozen=True):
    name: str
    title: str
    recipient: str
    subject: str
    body: str
    ends: type[Event] | None
    """The event that the message comes to; None: it is refused at the door."""
    moral: str
    author: str = "Maria"
    subtype: str = "plain"


SCENES: Final = (
    Scene(
        CLEAN, "A clean message", f"{PEOPLE[0]}@{DOMAIN}", "Lunch on Friday?", "Hello Anna,\n\nat noon, at the usual place?\n\nMaria",
        Delivered, "It was accepted when it was on disk, scanned, forwarded, and its bytes were erased here.",
    ),
    Scene(
        DECEIVING, "One that pretends to be from PayPal", f"{PEOPLE[0]}@{DOMAIN}", "Your account is limited", PHISHING,
        Quarantined, "It is kept, and its history says why: each sign, with its weight.", author="PayPal Service", subtype="html",
    ),
    Scene(
        VIRUS, "One with a test virus (EICAR)", f"{PEOPLE[1]}@{DOMAIN}", "The invoice", EICAR,
        Quarantined, "It is kept away from the customer's server, and nobody but its recipient's postmaster sees it.",
    ),
    Scene(
        UNKNOWN, "One to an address that does not exist", f"nobody@{DOMAIN}", "Anybody there?", "Hello?",
        None, "It never came in: whoever sends it is told at once, and no bounce is needed.",
    ),
    Scene(
        WAITING, "One to a destination that is down", f"{AWAY_PEOPLE[0]}@{AWAY}", "When you are back", "No hurry.",
        RouteDeferred, "It is kept for 7 days, and its domain is tried with one connection each 15 minutes.",
    ),
)  # fmt: skip


def prologue(stage: Stage) -> None:
    screen = stage.screen
    screen.say(("Gatepost", "bold"), " runs on this machine, and real mail is on its way through it.")
    screen.say()
    people = " and ".join(PEOPLE)
    screen.facts([
        ("gateway", f"{stage.smtp}, data in {stage.data}, log in {stage.log}"),
        (DOMAIN, f"has {people}; its mail goes to the customer's server on {stage.customer.endpoint}"),
        (AWAY, f"has {AWAY_PEOPLE[0]}; its server, {stage.away}, is down"),
    ])  # fmt: skip


async def tell(stage: Stage) -> bool:
    """Whether everything happened as told."""
    outcomes = [await _play(stage, number, scene) for number, scene in enumerate(SCENES, 1)]
    stage.screen.say()
    if all(outcomes):
        stage.screen.say((f"All {len(SCENES)} went as they should.", "green"))
    else:
        stage.screen.say(("Not everything went as it should", "red"), f"; the gateway's log is {stage.log}")
    return all(outcomes)


async def _play(stage: Stage, number: int, scene: Scene) -> bool:
    screen = stage.screen
    screen.say()
    screen.say((f"{number}  {scene.title}", "bold"), f", from {SENDER} to {scene.recipient}")
    domain = scene.recipient.rpartition("@")[2]
    again = scene.ends is RouteDeferred and await stage.is_backing_off(domain)
    reply = await asyncio.to_thread(_send, stage, scene)
    screen.say("   the sender hears: ", (clean(reply), "green" if reply.startswith("250") else "yellow"))
    message_id = next((word for word in reply.split() if is_id(word)), "")
    if scene.ends is None:
        as_told = reply.startswith("550 5.1.1") and not message_id
    elif message_id:
        stage.ids[scene.name] = message_id
        if again:
            # It was found down in an earlier show; nobody wants to wait a quarter of an hour to see it again.
            await stage.retry(domain, stage.away)
        as_told = await _follow(stage, message_id, scene.ends)
    else:
        as_told = False
    if as_told and scene.ends is Delivered:
        as_told = await _at_the_customer(stage, message_id)
    screen.say("   ", (scene.moral, "dim") if as_told else ("That is not what was expected.", "red"))
    return as_told


def _send(stage: Stage, scene: Scene) -> str:
    """One transaction over SMTP; the last reply. Blocks."""
    now = format_datetime(dt.datetime.now(dt.UTC))
    header = f"From: {scene.author} <{SENDER}>\nTo: <{scene.recipient}>\nSubject: {scene.subject}\nDate: {now}\nMessage-ID: {make_msgid(domain='elsewhere.test')}\n"
    content = f"{header}MIME-Version: 1.0\nContent-Type: text/{scene.subtype}; charset=us-ascii\n\n{scene.body}\n"
    try:
        with smtplib.SMTP(stage.smtp.host, stage.smtp.port, "mail.elsewhere.test", timeout=PATIENCE) as client:
            client.ehlo()
            for code, text in (client.mail(SENDER), client.rcpt(scene.recipient)):
                if code != 250:
                    return f"{code} {text.decode('ascii', 'replace')}"
            code, text = client.data(content)
            return f"{code} {text.decode('ascii', 'replace')}"
    except (OSError, smtplib.SMTPException) as error:
        return f"nothing: {error}"


async def _follow(stage: Stage, message_id: str, end: type[Event]) -> bool:
    """Tell a message's events as they are appended, until `end`; False when it did not come in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    told: set[str] = set()
    born = 0
    while loop.time() < deadline:
        async for entry in stage.wiring.past.message(message_id):
            if entry.entry in told:
                continue
            told.add(entry.entry)
            born = born or entry.event.at
            _tell_event(stage, entry, f"+{age(entry.event.at - born)}" if entry.event.at > born else "")
            if isinstance(entry.event, end):
                return True
        await asyncio.sleep(POLL)
    return False


def _tell_event(stage: Stage, entry: Recorded, stamp: str, about: str = "") -> None:
    told = describe(entry.event)
    stage.screen.say(f"{stamp:>{_STAMP}}", "  ", (about, "dim"), *line(told))
    detail(stage.screen, told, _STAMP + 2 + len(about) + 13)


async def _at_the_customer(stage: Stage, message_id: str) -> bool:
    arrived = await stage.customer.arrival(message_id, PATIENCE)
    if arrived is None:
        return False
    trace = arrived.content.partition(b"\r\n\r\n")[0].decode("ascii", "replace").split("\r\n")
    stage.screen.say("   at the customer's server:")
    for text in trace[:3]:
        stage.screen.say(" " * (_STAMP + 2), ("│ ", "dim"), clean(text.expandtabs(4)))
    return True


def epilogue(stage: Stage) -> None:
    """What to try next; every line can be pasted."""
    screen = stage.screen
    gatepost = called_as()
    data, config = shlex.quote(str(stage.data)), shlex.quote(str(stage.config))
    to = f"{PEOPLE[0]}@{DOMAIN}"
    host, port = stage.smtp.host, stage.smtp.port
    mail = rf"From: you@elsewhere.test\nTo: {to}\nSubject: hello\n\nHello Anna"
    screen.say()
    screen.say(("Try it yourself", "bold"), ", in another terminal; what happens is shown here.")
    _paste(stage, "Send mail", [
        f"swaks --server {host}:{port} --from you@elsewhere.test --to {to} --header 'Subject: hello'",
        f"""python3 -c "import smtplib; smtplib.SMTP('{host}', {port}).sendmail('you@elsewhere.test', '{to}', '{mail}')\"""",
    ])  # fmt: skip
    _paste(stage, "Look at it", [
        f"{gatepost} queue --data {data}",
        f"{gatepost} failures --data {data}",
        f"{gatepost} quarantine list --data {data}",
        f"{gatepost} policy explain {stage.ids.get(DECEIVING, 'ID')} --data {data}",
        f"{gatepost} quarantine preview {stage.ids.get(DECEIVING, 'ID')} --data {data}",
        f"{gatepost} quarantine release {stage.ids.get(VIRUS, 'ID')} --virus --data {data}",
        f"{gatepost} trace {stage.ids.get(CLEAN, 'ID')} --data {data}",
        f"{gatepost} books --data {data}",
        f"{gatepost} replay --all --data {data}",
    ])  # fmt: skip
    _paste(stage, "Mend the route of the domain that waits; its mail leaves at once", [
        f"{gatepost} domain set {AWAY} --route {stage.customer.endpoint} --config {config}",
    ])  # fmt: skip
    screen.say()
    screen.say(("Ctrl-C stops everything.", "bold"), f" The data stay in {stage.data}.")
    screen.say()


def _paste(stage: Stage, title: str, commands: Sequence[str]) -> None:
    stage.screen.say()
    stage.screen.say((title, "dim"))
    for command in commands:
        stage.screen.say(f"  {command}")


def called_as() -> str:
    """How the person at the terminal calls this program: through `./run` of a checkout, by its name, or by its path."""
    program = Path(sys.argv[0]).absolute()
    checkout = program.parent.parent.parent
    if program.parent.parent.name == ".venv" and (checkout / "run").is_file():
        return "./run gatepost" if Path.cwd() == checkout else shlex.quote(str(checkout / "run")) + " gatepost"
    on_path = shutil.which("gatepost")
    if on_path and Path(on_path).absolute() == program:
        return "gatepost"
    return f"{shlex.quote(sys.executable)} -m cli.main" if program.suffix == ".py" else shlex.quote(str(program))


async def watch(stage: Stage, stop: asyncio.Event) -> None:
    """Tell every event of every message, until told to stop."""
    log = stage.wiring.log
    partitions = range(stage.wiring.store.partitions)
    reached = {partition: await log.last_entry(partition) for partition in partitions}
    while not stop.is_set():
        with contextlib.suppress(StoreAwayError):
            news: list[Recorded] = []
            for partition in partitions:
                for entry in await log.read(partition, reached[partition], 500):
                    reached[partition] = entry.entry
                    if not isinstance(entry, Damaged):
                        news.append(entry)
            for recorded in sorted(news, key=lambda recorded: recorded.event.at):
                _tell_event(stage, recorded, local(recorded.event.at)[11:], f"{clean(recorded.subject):<22}  ")
        await pause(stop, WATCH)


def _clock(at: int) -> str:
    from cli.render import local

    return local(at)[11:]
