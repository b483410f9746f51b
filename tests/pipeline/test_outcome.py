import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Attempt
from pipeline.outcome import MAX_LINES, MAX_TEXT, Kind, bounded, classify, neutralise, outcome, parse_reply

A, D, R, U = Kind.ACCEPTED, Kind.DEFERRED, Kind.REFUSED, Kind.UNKNOWN


def attempt(stage: str, code: int = 0, **more: object) -> Attempt:
    return Attempt(server="mx:25", stage=stage, code=code, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "kinds"),
    [
        # code:      0  250  354  421  450  550  999
        ("connect", [D, D, D, D, D, D, D]),
        ("greeting", [D, D, D, D, D, D, D]),
        ("ehlo", [D, D, D, D, D, D, D]),
        ("starttls", [D, D, D, D, D, D, D]),
        ("mail", [D, D, D, D, D, R, D]),
        ("rcpt", [D, D, D, D, D, R, D]),
        ("data", [D, D, D, D, D, R, D]),
        ("dot", [D, A, D, D, D, R, D]),
        ("route", [D, D, D, D, D, D, D]),
    ],
)
def test_a_reply_is_classified_by_stage_and_code_as_the_table_says(stage, kinds):
    codes = [0, 250, 354, 421, 450, 550, 999]
    assert [classify(attempt(stage, code)) for code in codes] == kinds


def test_only_the_dot_makes_a_delivery():
    """A yes to MAIL, RCPT or DATA has delivered nothing."""
    assert [stage for stage in ("mail", "rcpt", "data", "dot") if classify(attempt(stage, 250)) is A] == ["dot"]


def test_after_the_dot_without_a_reply_nobody_knows():
    assert classify(attempt("dot", unknown=True)) is U


def test_a_route_that_cannot_exist_is_permanent_and_any_other_is_not():
    assert classify(attempt("route", enhanced="5.1.10")) is R
    assert classify(attempt("route", enhanced="4.4.3")) is D


def test_an_outcome_is_an_attempt_and_what_it_means():
    assert outcome(attempt("rcpt", 550)).kind is R


@pytest.mark.parametrize(
    ("lines", "code", "enhanced", "text"),
    [
        ([b"250 2.0.0 Ok: queued as 1A"], 250, "2.0.0", "250 2.0.0 Ok: queued as 1A"),
        ([b"250"], 250, "2.0.0", "250"),
        ([b"250 "], 250, "2.0.0", "250 "),
        ([b"550 No such user"], 550, "5.0.0", "550 No such user"),
        ([b"452-4.2.2 over", b"452 4.2.2 quota"], 452, "4.2.2", "452-4.2.2 over\n452 4.2.2 quota"),
        ([b"550-sorry", b"550 5.7.1 no"], 550, "5.7.1", "550-sorry\n550 5.7.1 no"),
        ([b"550 5.7.1"], 550, "5.7.1", "550 5.7.1"),
        ([b"550 4.7.1 the class contradicts the code"], 550, "5.0.0", "550 4.7.1 the class contradicts the code"),
        ([b"550 5.7.1234 no status"], 550, "5.0.0", "550 5.7.1234 no status"),
        ([b"550 see 5.7.1"], 550, "5.0.0", "550 see 5.7.1"),
        ([b"250-one", b"550 two"], 550, "5.0.0", "250-one\n550 two"),
        ([b"451 \xfcberlastet\x1b[2J"], 451, "4.0.0", "451 \\xfcberlastet\\x1b[2J"),
    ],
)
def test_a_reply_is_parsed_into_code_status_and_verbatim_text(lines, code, enhanced, text):
    reply = parse_reply(lines)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b""],
        [b"hello"],
        [b"25"],
        [b"2500 x"],
        [b"199 x"],
        [b"600 x"],
        [b"25x x"],
        [b"250-a", b"garbage"],
        [b"\xb2\xb3\xb2 x"],
    ],
)
def test_what_is_no_reply_has_code_0_and_says_so(lines):
    reply = parse_reply(lines)
    assert (reply.code, reply.enhanced) == (0, "")
    assert reply.text.startswith("The server said something that is not an SMTP reply")


def test_a_long_reply_is_cut_in_lines_and_in_length_but_keeps_its_code():
    reply = parse_reply([b"550-x"] * 500 + [b"551 y"])
    assert reply.code == 551
    assert reply.text.count("\n") == MAX_LINES - 1
    assert reply.text.endswith("[cut]")
    assert len(parse_reply([b"550 " + b"\xff" * 10_000]).text) == MAX_TEXT


@given(st.lists(st.binary(max_size=600), max_size=120))
def test_whatever_a_server_says_becomes_bounded_printable_ascii_with_lf(lines):
    for text in (parse_reply(lines).text, bounded(lines)):
        assert len(text) <= MAX_TEXT
        assert text.count("\n") <= MAX_LINES
        assert text.isascii()
        assert text.replace("\n", "").isprintable()


def test_printable_ascii_is_kept_as_it_is_and_the_rest_is_shown_as_octets():
    assert neutralise(b"<a@b> ok") == "<a@b> ok"
    assert neutralise(b"a\x00\x7f\r\n\xe2\x80\xae") == "a\\x00\\x7f\\x0d\\x0a\\xe2\\x80\\xae"
