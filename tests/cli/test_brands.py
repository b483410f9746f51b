"""gatepost brands: whose name a sender or a link uses, and the table."""

from __future__ import annotations

import json

import pytest

from cli.main import main
from pipeline.scanning.builtin.tables import Brands


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """A command that needs no store: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("GATEPOST_DATA", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["brands", *words])
        return (code, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PayPal Service", "says to be PayPal"),
        ("Acme, PayPal partner", "names PayPal, beside other words"),
        ("https://www.paypal.com/x", "paypal.com is a domain of PayPal"),
        ("x@paypa1.example", "looks the same as paypal, a name of PayPal"),
        ("amazom.example", "is one letter off amazon, a name of Amazon"),
        ("login-paypal.example", "adds a word of bait to paypal"),
    ],
)
def test_what_a_name_or_a_host_says_is_told(run, text, said):
    code, out, _ = run("explain", text)
    assert code == 0
    assert said in out


def test_what_says_nothing_is_told_by_the_exit_code_too(run):
    assert run("explain", "gatepost.example")[:2] == (1, "gatepost.example: no brand that is known\n")
    assert run("explain", "\x1b[31m")[0] == 1
    assert "\x1b" not in run("explain", "\x1b[31m")[1]


def test_for_programs(run):
    assert json.loads(run("explain", "paypa1.example", "--json")[1]) == {
        "text": "paypa1.example", "brand": "PayPal", "how": "same", "name": "paypal",
    }  # fmt: skip


def test_the_table_can_be_changed_and_tried(run, tmp_path):
    _, out, _ = run("table")
    assert "paypal" in Brands(out).labels
    (tmp_path / "mine.txt").write_text(out + "\nStadtwerke Muster = stadtwerke-muster.example\n", "utf-8")
    assert "says to be Stadtwerke Muster" in run("explain", "Stadtwerke Muster", "--table", "mine.txt")[1]
    (tmp_path / "mine.txt").write_text("PayPal\n")
    code, _, complaint = run("explain", "x", "--table", "mine.txt")
    assert code == 2
    assert "line 1" in complaint
