"""The live screen of the queue: what is drawn, and how it behaves on a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.queue.changes import changes
from cli.queue.reading import Seen
from cli.queue.screen import BARS, Shown, screen, sparkline
from cli.queue.watch import asked_for
from pipeline.directory import Hold
from pipeline.events import Attempt
from pipeline.faults import ConfigurationError
from projections.readers import DomainQueue, QueueError, QueueReport
from projections.readers.destinations import by_server
from projections.readers.rates import Rate, Rates
from tests.cli.conftest import SECOND, Shop

AT = 1_790_000_000 * SECOND
EVIL = "\x1b[2J\u202e\x9b31m\r\nx"
RATE = Rate(arrived=12.5, delivered=60)


def domain(name: str, messages: int = 3, **more) -> DomainQueue:
    attempt = Attempt(server="mx.test:25", stage="rcpt", code=451, reply=f"451 {EVIL}\n451 more")
    error = QueueError(at=AT - SECOND, attempts=(attempt,), message="")
    made = {"oldest": AT - 60 * SECOND, "bytes": 2000, "recipients": messages, "server": "mx.test:25", "error": error}
    return DomainQueue(domain=name, messages=messages, ages=(messages, 0, 0, 0, 0, 0), **(made | more))


def report(*domains: DomainQueue) -> QueueReport:
    return QueueReport(
        domains=domains,
        servers=by_server(domains),
        recipients=sum(one.recipients for one in domains),
        messages=sum(one.messages for one in domains),
        bytes=sum(one.bytes for one in domains),
        oldest=min((one.oldest for one in domains if one.oldest), default=None),
        ages=(1, 2, 0, 0, 0, 3),
    )


def seen(*domains: DomainQueue, counted: bool = True) -> Seen:
    total = (RATE, RATE) if counted else (None, None)
    return Seen(report(*domains), Rates(total=total, domains={"a.test": total}, waiting=()), AT)


def drawn(looked: Seen, width: int = 120, height: int = 40, news=()) -> list[str]:
    shown = Shown(looked, [(AT - 60 * SECOND, 5), (AT, looked.report.messages)], news, 2.0)
    return [line.plain for line in screen(shown, width, height)]


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 80),
    names=st.lists(st.text(max_size=60), max_size=30, unique=True),
    counted=st.booleans(),
)
def test_a_screen_is_never_larger_than_the_terminal_and_nothing_in_it_does_anything(width, height, names, counted):
    domains = [
        domain(name, number + 1, server=f"{name}:25", state="deferred" if number % 2 else "open")
        for number, name in enumerate(names)
    ]
    shown = Shown(seen(*domains, counted=counted), [(AT, 1)], [(AT, ("x" * 400, "red"))] * 9, 2.0)
    lines = screen(shown, width, height)
    assert len(lines) <= max(1, height - 1)
    for line in lines:
        assert line.cell_len <= width
        assert all(unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in line.plain)


def test_a_screen_has_totals_domains_servers_and_news():
    hold = Hold(since=AT, reason="they move", by="anna")
    looked = seen(
        domain("a.test", 2),
        domain(
            "b.test", 40, state="deferred", since=AT - 7200 * SECOND, server="mx.b.test:25", next_try=AT + 60 * SECOND
        ),
        domain("c.test", 1, state="held", hold=hold, server="mx.c.test:25"),
    )
    text = "\n".join(drawn(looked, news=[(AT, ("b.test: mx.b.test:25 cannot be used", "red"))]))
    for words in (
        "43 waiting", "oldest 1 min", "q quits", "1 <15 min, 2 <1 h, 3 older", "12.5 come, 60.0 delivered, gone in 42 s",
        "most 43", "mx.b.test:25 down for 2 h", "held by anna: they move (c.test)", "in 1 min", "│ 451 \\x1b[2J",
        "b.test: mx.b.test:25 cannot be used",
    ):  # fmt: skip
        assert words in text, words
    assert text.index("b.test  ") < text.index("a.test  ") < text.index("c.test  "), "the most first"


def test_a_narrow_screen_says_less_of_each_domain():
    lines = drawn(seen(domain("a-very-long-name-of-a-domain.example.test", 12345)), width=40)
    (row,) = [line for line in lines if line.startswith("a-very")]
    assert "12,345" in row
    assert "…" in row


def test_before_anything_was_counted_no_rate_is_claimed():
    assert any("rates are known after a minute" in line for line in drawn(seen(domain("a.test"), counted=False)))


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 5, ""),
        ([0, 0], 5, "▁▁"),
        ([0, 1, 8], 3, "▁▂█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▂▂▃▄▅▆▇█"),
        ([0, 0, 9, 0, 0, 0, 0, 0], 4, "▁█▁▁"),
        ([5], 0, ""),
    ],
)
def test_a_sparkline_loses_no_peak(values, width, bars):
    assert sparkline(values, width) == bars
    assert set(bars) <= set(BARS)


def test_what_is_new_between_two_looks_is_said():
    hold = Hold(since=AT, reason=EVIL, by="anna")
    down = domain("a.test", state="deferred")
    told = [
        list(changes(report(before), report(after)))
        for before, after in [
            (domain("a.test"), down),
            (down, domain("a.test")),
            (down, domain("a.test", 0)),
            (domain("a.test"), domain("a.test", state="held", hold=hold)),
            (domain("a.test"), domain("a.test")),
            (domain("a.test", error=None), domain("a.test")),
        ]
    ]
    assert [[words for words, _ in one] for one in told] == [
        ["a.test: mx.test:25 cannot be used, 3 messages waiting"],
        ["a.test: mx.test:25 works again, 3 messages on the way"],
        ["a.test: nothing waits any more"],
        ["a.test: held by anna: \\x1b[2J\\u202e\\x9b31m\\x0d\\x0ax"],
        [],
        ["a.test: mx.test:25: 451 \\x1b[2J\\u202e\\x9b31m\\x0d ..."],
    ]


def test_a_domain_and_seconds_may_be_given_in_either_way():
    assert asked_for([]) == (None, 2.0)
    assert asked_for(["5"]) == (None, 5.0)
    assert asked_for(["example.com"]) == ("example.com", 2.0)
    assert asked_for(["example.com", "0.5"]) == ("example.com", 0.5)
    for words in (["example.com", "x"], ["0"], ["1e9"], ["nan"]):
        with pytest.raises(ConfigurationError):
            asked_for(words)


# --- On a real terminal


class Terminal:
    """A command on a terminal of its own, which a person can type into and pull at."""

    def __init__(self, *words: str, columns: int = 100, lines: int = 30, **environ: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.theirs)
        environment = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True,
            env={**environment, "TERM": "xterm-256color", **environ},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the child is single-threaded, and Ctrl-C needs a controlling terminal
        )  # fmt: skip
        self.seen = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def wait_for(self, text: str, within: float = 60) -> str:
        """What was written until `text` was, and is then forgotten."""
        deadline = time.monotonic() + within
        while text not in self.seen:
            assert self._more(deadline - time.monotonic()), f"{text!a} is not in {self.seen!a}"
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def _more(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self.ours], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += piece.decode("utf-8", "replace")
        return bool(piece)

    def end(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            self._more(0.05)
        while self._more(0.05):
            pass
        return self.process.wait(1)

    def restored(self) -> bool:
        """The screen of before, its cursor, and how keys are read."""
        return (
            self.seen.count("\x1b[?1049l") == 1
            and self.seen.rindex("\x1b[?25h") > self.seen.rfind("\x1b[?25l")
            and termios.tcgetattr(self.theirs) == self.before
        )


@contextlib.contextmanager
def terminal(*words: str, **how) -> Iterator[Terminal]:
    made = Terminal(*words, **how)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.ours)
        os.close(made.theirs)


@pytest.fixture
def waiting(shop: Shop) -> Shop:
    shop.add("anna")
    for _ in range(3):
        shop.queued()
    shop.fold()
    return shop


@pytest.mark.parametrize(("keys", "code"), [(b"q", 0), (b"\x03", 130), (b"\x1c", 131)])
def test_q_and_ctrl_c_end_the_screen_and_leave_the_terminal_as_it_was(waiting: Shop, keys, code):
    with terminal("queue", "--watch", "0.2") as screen:
        screen.wait_for("\x1b[?1049h")
        screen.wait_for("3 waiting")
        screen.type(keys)
        assert screen.end() == code
        assert screen.restored()
        assert "Traceback" not in screen.seen


def test_a_screen_follows_the_queue_and_the_size_of_its_window(waiting: Shop):
    with terminal("queue", "--watch", "0.2", columns=100) as screen:
        screen.wait_for("3 waiting")
        screen.wait_for("DESTINATION")
        screen.resize(40, 12)
        screen.wait_for("3 waiting")
        waiting.queued()
        waiting.route_deferred()
        waiting.fold()
        screen.wait_for("4 waiting")
        screen.wait_for("\x1b[H")
        frame = screen.wait_for("\x1b[H")
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).split("\n")
        assert len(lines) <= 12
        assert all(len(line.rstrip("\r")) <= 40 for line in lines)
        assert any("example.test: mx.examp" in line for line in lines), lines
        screen.process.send_signal(signal.SIGTERM)
        assert screen.end() == 128 + signal.SIGTERM
        assert screen.restored()


def test_without_colours_there_are_none(waiting: Shop):
    with terminal("queue", "--watch", "0.2", NO_COLOR="1") as screen:
        seen = screen.wait_for("example.test")
        screen.type(b"q")
        assert screen.end() == 0
        assert not re.search(r"\x1b\[(?:\d+;)*3[0-9]m", seen + screen.seen)


def test_a_terminal_that_goes_away_ends_it(waiting: Shop):
    made = Terminal("queue", "--watch", "0.2")
    try:
        made.wait_for("3 waiting")
        os.close(made.theirs)
        os.close(made.ours)
        assert made.process.wait(60) != 0
    finally:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("as_json", [False, True])
def test_in_a_pipe_there_is_a_line_for_each_look(waiting: Shop, as_json):
    words = ["queue", "example.test", "--watch", "0.2", *(["--json"] if as_json else [])]
    with subprocess.Popen([sys.executable, "-m", "cli.main", *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    for line in lines:
        if as_json:
            look = json.loads(line)
            assert look["waiting"]["messages"] == 3
            assert [one["domain"] for one in look["domains"]] == ["example.test"]
        else:
            assert "3 messages waiting" in line
