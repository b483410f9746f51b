"""The tree of commands. Each is named here with its one line of help, and loaded when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError, UnusedCliTokensError

from pipeline.faults import ConfigurationError

INTRODUCTION: Final = """\
The mail gateway that a domain points its MX at: accepts mail, scans it, keeps
what is bad, forwards what is good, and never loses any.

First steps:

  gatepost up --data /var/lib/gatepost --smtp 0.0.0.0:25
  gatepost domain add example.com --route mail.example.com:25
  gatepost address add anna@example.com ben@example.com
  gatepost queue

Every command has --help with examples. --data DIR or GATEPOST_DATA says which
gateway is meant.
"""

COMMANDS: Final[Sequence[tuple[str, Sequence[tuple[str, str, str]]]]] = (
    (
        "Running",
        (
            ("up", "cli.running:up", "Start the whole gateway on this machine."),
            ("worker", "cli.running:worker", "Run one role, as one process."),
            ("demo", "cli.demo.command:demo", "Start a gateway with a sample domain and send real mail through it."),
            ("check", "cli.check:check", "Find what would lose mail or refuse to start, with the remedies."),
            ("config", "cli.config:app", "Show the settings in force, or a sample file."),
        ),
    ),
    (
        "Who gets mail",
        (
            ("domain", "cli.domain:app", "Add, change, list, hold, move, merge and remove domains."),
            ("address", "cli.address:app", "Add, list, import and remove addresses."),
            ("sync", "cli.sync:app", "Keep addresses as LDAP, cPanel or a list has them."),
            ("directory", "cli.directory:app", "Who changed what of these, and taking it back."),
        ),
    ),
    (
        "Mail on its way",
        (
            ("queue", "cli.queue:app", "What waits, per domain. 0 is normal."),
            ("failures", "cli.failures:failures", "What customers' servers answered, word for word."),
            ("replies", "cli.replies:app", "What those answers mean, what is done about each, and trying other rules."),
            ("test", "cli.probe:probe", "See whether a domain's servers take its mail, and what to mend."),
            ("bounce", "cli.bounce:app", "What a sender would be told of a message that waits."),
            ("sources", "cli.sources:app", "Our own addresses that mail goes out from, and where they are blocked."),
            ("refused", "cli.refused:refused", "Mail that did not get in, and what its sender was told."),
            ("report", "cli.report:app", "Every attempt to deliver in a stretch of time, and what they add up to."),
            ("trace", "cli.trace:trace", "Everything that happened to one message."),
        ),
    ),
    (
        "Bad mail",
        (
            ("quarantine", "cli.quarantine:app", "Find, read, release, report and delete mail kept in quarantine."),
            ("policy", "cli.policy:app", "What happens to bad mail, who is allowed or blocked, and why."),
            ("scan", "cli.scan:scan", "What would be found in a message in a file, and what would happen to it."),
            ("learn", "cli.learn:app", "Teach the classifier what is spam and what is not."),
            ("brands", "cli.brands:app", "Whose name a sender or a link uses, and the table of such names."),
            ("engines", "cli.engines:engines", "How ClamAV, Rspamd, SpamAssassin and our own tests are."),
        ),
    ),
    (
        "Trust",
        (
            (
                "books",
                "cli.books:books",
                "Received = delivered + failed + quarantined + discarded + redirected + waiting.",
            ),
            ("views", "cli.views:views", "How far behind the log each view is, and whether it is whole."),
            ("alerts", "cli.alerts:app", "What is wrong now, what was, and whether an alert would reach you."),
            (
                "audit",
                "cli.audit:app",
                "Export what happened with proof that it is whole, check that, and who did what.",
            ),
            ("replay", "cli.replay:replay", "Rebuild a view from the events and compare it with the live one."),
            ("archive", "cli.archive:app", "Events outside of Redis, and whether they are what was sealed."),
            ("parked", "cli.parked:app", "List and retry work that failed for a reason of our own."),
        ),
    ),
    (
        "This program",
        (
            ("completion", "cli.completion:completion", "Print the completion script for a shell."),
            ("version", "cli.version:version", "Print the version."),
        ),
    ),
)


def build(called: str = "") -> App:
    """The tree. `called`: the command that is about to run; it says itself what it does, in full."""
    app = App(
        name="gatepost",
        help=INTRODUCTION,
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative=(), show_default=False),
        group_commands=Group("Options", sort_key=90),
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for order, (title, commands) in enumerate(COMMANDS):
        group = Group(title, sort_key=order)
        for position, (name, where, help_text) in enumerate(commands):
            app.command(where, name=name, help=None if name == called else help_text, group=group, sort_key=position)
    return app


def _version() -> str:
    from cli.version import installed

    return installed()


def run(words: Sequence[str]) -> int:
    """Parse and run. The exit code of the command; raises ConfigurationError for words that make no command."""
    app = build(words[0] if words else "")
    try:
        result = app(list(words))
    except CycloptsError as error:
        chain = " ".join(["gatepost", *(error.command_chain or ())])
        raise ConfigurationError(_said(error), remedy=f"See `{chain} --help`.") from None
    return result if isinstance(result, int) else 0


def _said(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected: {' '.join(error.unused_tokens)}"
    text = " ".join(str(error).split()).removesuffix(".")
    return text[:1].lower() + text[1:]
