"""`gatepost` and `python -m cli.main`: from words to an exit code.

`up` and `worker` run for months, so in their plain forms they are started without loading what only a person at a terminal
needs. Everything else, their help included, goes through `cli.app`, where each command is loaded when it is called.

Errors are one line on standard error and, where there is one, a second that says what to do; never a traceback, unless
GATEPOST_DEBUG is set. Exit codes: 0 done, 1 a check failed or something unforeseen, 2 usage, settings or start,
3 not found, 4 not possible in this state, 5 the store is away or full, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

PLAIN: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset({"--data", "--smtp", "--config"}),
    "worker": frozenset({"--data", "--config", "--metrics"}),
}
"""Options of the long-running commands, each with a value."""
STORE: Final[Mapping[str, bool]] = {"--data": True, "--config": True, "--json": False}
"""Options that may stand before the command too, and whether a value follows."""
INTERRUPTED: Final = 130
USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough. Python would complain about the pipe once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person gets one line, not a traceback
        return _explain(error)
    return code


def _run(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    plain = plain_words(words)
    if plain is not None:
        without_rich()
        from cli import processes

        command, role, options = plain
        return processes.worker(role, **options) if command == "worker" else processes.up(main, **options)
    # What a command loads stays until it ends: looking through it for garbage at each step would only cost time.
    gc.set_threshold(100_000)
    from cli.app import run

    return run(store_options_last(words))


def without_rich() -> None:
    """Structlog would load it to paint tracebacks, and each process would be 4 MB larger for months."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # what the import system takes for "there is none"


def plain_words(words: Sequence[str]) -> tuple[str, str, dict[str, str]] | None:
    """(command, role, options) of `up` or `worker` in a form that needs no help; None for everything else."""
    if not words or words[0] not in PLAIN:
        return None
    command, rest = words[0], list(words[1:])
    role = ""
    options: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in PLAIN[command] and name.removeprefix("--") not in options:
            if not equals:
                value = rest.pop(0) if rest else ""
            if not value or value.startswith("-"):
                return None
            options[name.removeprefix("--")] = value
        elif command == "worker" and not role and not word.startswith("-"):
            role = word
        else:
            return None
    return (command, role, options) if command == "up" or role else None


def store_options_last(words: Sequence[str]) -> list[str]:
    """`gatepost --data DIR queue` means `gatepost queue --data DIR`."""
    leading: list[str] = []
    rest = list(words)
    while rest and (name := rest[0].partition("=")[0]) in STORE:
        taken = 2 if STORE[name] and "=" not in rest[0] else 1
        leading += rest[:taken]
        rest = rest[taken:]
    if not rest or rest[0].startswith("-"):
        return list(words)
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *leading, *rest[end:]]


def _explain(error: Exception) -> int:
    from cli.render import complain

    code = getattr(error, "exit_code", 1)
    remedy = getattr(error, "remedy", "")
    if os.environ.get("GATEPOST_DEBUG"):
        import traceback

        traceback.print_exception(error)
    elif not hasattr(error, "exit_code"):
        complain(
            f"gatepost: {type(error).__name__}: {error}",
            "  This was not foreseen. GATEPOST_DEBUG=1 shows where it happened.",
        )
        return 1
    complain(f"gatepost: {error}", *([f"  {remedy}"] if remedy else []))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
