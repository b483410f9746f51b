"""The commands: explain, list, table; backtest and unknown are in modules of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.diagnoses import LANGUAGE
from cli.options import DEFAULT, Common, noun
from cli.replies.backtest import backtest
from cli.replies.unknown import unknown

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.diagnosis import Explained, Table
    from pipeline.events import Attempt

app = noun(
    "replies",
    """What servers' answers mean, what is done about each, and trying other rules.

A table says it: classes with tips for the domain's postmaster, and rules. The
setting replies_table names one of your own.

For example:

  gatepost replies explain "550 5.7.1 Relaying denied"
  gatepost replies list
  gatepost replies unknown --days 30
  gatepost replies table > mine.toml
  gatepost replies backtest mine.toml
""",
)
app.command(backtest, name="backtest")
app.command(unknown, name="unknown")

LONGEST: Final = 1 << 20
"""Octets of a reply that are read; of what is kept of one, see pipeline/outcome.py."""
DEFAULT_STAGE: Final = "rcpt"


@app.command
def explain(
    reply: Annotated[
        str,
        Parameter(
            help="What the server said, with its code; - reads it from standard input.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    stage: Annotated[
        str, Parameter(help="Where it was said: connect, greeting, ehlo, starttls, mail, data, dot; else rcpt.")
    ] = "",
    software: Annotated[str, Parameter(help="What the server is, such as postfix, exim, exchange.")] = "",
    greeting: Annotated[str, Parameter(help="The server's greeting, which may say what it is.")] = "",
    language: Annotated[str, LANGUAGE] = "",
    table: Annotated[Path | None, Parameter(help="Another table than the one in force.")] = None,
    common: Common = DEFAULT,
) -> int:
    """What an answer is about, what Gatepost does, which rule says so, and what can be done.

    Nothing is looked up: any answer can be asked about.

    For example:

      gatepost replies explain "550 5.7.1 Relaying denied"
      gatepost replies explain "451 4.7.1 Try later" --stage mail --language de
      gatepost replies explain "Connection refused" --stage connect
      gatepost replies explain - --greeting "220 mx.example.com ESMTP Postfix" < reply
    """
    from cli.diagnoses import language_of
    from cli.render import Screen, document
    from pipeline.diagnosis import explain
    from pipeline.diagnosis.table import LANGUAGES

    chosen = language_of(language) or LANGUAGES[0]
    used = _table(table, common)
    attempt = attempt_of(_read() if reply == "-" else reply, stage, _software(used, software, greeting))
    explained = explain(attempt, table=used)
    if common.json:
        document(_form(attempt, explained, used, chosen))
        return 0
    _show(Screen(), attempt, explained, chosen)
    return 0


@app.command(name="list")
def list_(
    *,
    language: Annotated[str, LANGUAGE] = "",
    table: Annotated[Path | None, Parameter(help="Another table than the one in force.")] = None,
    common: Common = DEFAULT,
) -> int:
    """The classes: what is done about each, and the rules that lead to it.

    For example:

      gatepost replies list
      gatepost replies list --language de
      gatepost replies list --table mine.toml --json
    """
    from cli.diagnoses import language_of
    from cli.render import Screen, clean, document
    from pipeline.diagnosis.table import LANGUAGES
    from pipeline.diagnosis.words import DOES

    chosen = language_of(language) or LANGUAGES[0]
    used = _table(table, common)
    if common.json:
        document(_table_form(used))
        return 0
    screen = Screen()
    for name, known in used.classes.items():
        screen.say((clean(name), "bold"), "  ", clean(known.title[chosen]))
        screen.say("  ", (f"{known.action}: {DOES[known.action][chosen]}", "dim"))
        for rule in used.rules:
            if rule.about == name:
                other = f"  {rule.action}" if rule.action and rule.action is not known.action else ""
                screen.say("    ", clean(rule.name), (other, "yellow"))
    screen.say()
    screen.say((f"version {used.version}, {len(used.rules):,} rules; the first that holds decides", "dim"))
    return 0


@app.command
def table() -> int:
    """Print the table that comes with Gatepost, to be changed.

    Its head says what a rule may hold. The setting replies_table puts a changed
    one in force.

    For example:

      gatepost replies table > mine.toml
    """
    from pipeline.diagnosis.table import shipped

    sys.stdout.write(shipped())
    return 0


def _table(path: Path | None, common: Common) -> Table:
    """The one that is asked for, or the one in force. Raises ConfigurationError."""
    from pipeline import diagnosis

    return diagnosis.load(path) if path is not None else diagnosis.in_force(common.settings().replies_table)


def _software(table: Table, name: str, greeting: str) -> str:
    from pipeline.faults import ConfigurationError

    if name and greeting:
        raise ConfigurationError("--software and --greeting say the same thing", remedy="Give one of them.")
    if name and name not in table.software:
        raise ConfigurationError(f"no software {name!a} is known", remedy=f"One of {', '.join(table.software)}.")
    return name or table.software_of(greeting)


def _read() -> str:
    return sys.stdin.buffer.read(LONGEST).decode("utf-8", "surrogateescape")


def attempt_of(text: str, stage: str, software: str) -> Attempt:
    """A try that ended with these words. Raises ConfigurationError when they are no refusal.

    What happened in place of a reply has no code; that it is meant is clear only when the stage is named.
    """
    from pipeline.diagnosis.table import STAGES
    from pipeline.events import Attempt
    from pipeline.faults import ConfigurationError
    from pipeline.outcome import bounded, parse_reply

    if stage and stage not in STAGES:
        raise ConfigurationError(f"there is no stage {stage!a}", remedy=f"One of {', '.join(STAGES)}.")
    lines = [_line(line) for line in text.strip().split("\n")]
    if not any(lines):
        raise ConfigurationError(
            "there is no reply", remedy='Such as: gatepost replies explain "550 5.1.1 No such user"'
        )
    reply = parse_reply(lines)
    if reply.code:
        if reply.code < 400:
            raise ConfigurationError(
                f"{reply.code} is no refusal", remedy="A refusal begins with a code from 400 to 599, such as 550."
            )
        return Attempt(
            server="", stage=stage or DEFAULT_STAGE, code=reply.code, enhanced=reply.enhanced, reply=reply.text,
            software=software,
        )  # fmt: skip
    if not stage:
        raise ConfigurationError(
            "this does not begin with a code, such as 550, in each line",
            remedy="Give the whole reply; or --stage, if there was none and these are the words of `gatepost failures`.",
        )
    return Attempt(server="", stage=stage, enhanced="4.4.1", reply=bounded(lines), software=software)


def _line(line: str) -> bytes:
    """A line of a reply, also as `gatepost failures` shows it."""
    return line.strip().removeprefix("│").lstrip().encode("utf-8", "surrogateescape")


def _show(screen: Screen, attempt: Attempt, explained: Explained, language: str) -> None:
    from cli.diagnoses import tips
    from cli.render import clean
    from pipeline.diagnosis.words import DOES

    found = explained.found
    screen.say((clean(found.title[language]), "bold"), f" ({clean(found.about)})")
    screen.say(DOES[found.action][language])
    screen.say()
    said = f"{clean(attempt.software)}, {attempt.stage}" if attempt.software else attempt.stage
    met = [(one.condition, one.value) for one in explained.met]
    overruled = f"{explained.proposed}, but {_why(attempt)}" if explained.proposed is not found.action else ""
    screen.facts([
        ("action", found.action.value),
        ("table says", overruled),
        ("rule", clean(found.rule) or "none knows these words"),
        *[(name, clean(value)) for name, value in met if name != "stages"],
        ("said by" if attempt.software else "said at", said),
    ])  # fmt: skip
    screen.say()
    for tip in tips(found, language):
        screen.say(tip)
    if not found.rule:
        screen.say()
        screen.say(("See `gatepost replies unknown` for others like it.", "dim"))


def _why(attempt: Attempt) -> str:
    """Why the table does not have the last word."""
    if attempt.stage in ("mail", "rcpt", "data", "dot"):
        return "only a 5xx returns a message"
    return "what is said before the message is about the server, and returns none"


def _form(attempt: Attempt, explained: Explained, table: Table, language: str) -> dict[str, Any]:
    from cli.diagnoses import diagnosis_form
    from pipeline.diagnosis.words import DOES

    return {
        "stage": attempt.stage,
        "code": attempt.code,
        "enhanced": attempt.enhanced,
        "reply": attempt.reply,
        "software": attempt.software,
        **diagnosis_form(explained.found, language),
        "does": DOES[explained.found.action][language],
        "table_says": explained.proposed.value,
        "matched": [{"condition": one.condition, "value": one.value} for one in explained.met],
        "table_version": table.version,
    }


def _table_form(table: Table) -> dict[str, Any]:
    from pipeline.diagnosis.words import DOES

    return {
        "version": table.version,
        "classes": [
            {
                "class": name,
                "action": known.action.value,
                "does": dict(DOES[known.action]),
                "title": known.title,
                "tips": {"owner": known.owner, "renter": known.renter},
                "rules": [
                    {"rule": rule.name, "action": (rule.action or known.action).value}
                    for rule in table.rules
                    if rule.about == name
                ],
            }
            for name, known in table.classes.items()
        ],
    }
