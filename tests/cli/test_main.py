"""From words to an exit code."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
from cyclopts import App

from cli import main as entry
from cli.app import COMMANDS
from cli.main import plain_words, store_options_last
from pipeline.faults import RefusedError
from tests.support.servers import ROOT


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environ},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("up", ("up", "", {})),
        ("up --data d --smtp=:25 --config c", ("up", "", {"data": "d", "smtp": ":25", "config": "c"})),
        ("worker scanner", ("worker", "scanner", {})),
        ("worker --data d scanner", ("worker", "scanner", {"data": "d"})),
        ("worker scanner --metrics :9125", ("worker", "scanner", {"metrics": ":9125"})),
        ("up --metrics :9125", None),
        ("up --help", None),
        ("up --data", None),
        ("up --data --smtp", None),
        ("up --data a --data b", None),
        ("up now", None),
        ("worker", None),
        ("worker a b", None),
        ("worker scanner --smtp x", None),
        ("queue", None),
        ("", None),
    ],
)
def test_long_running_commands_in_their_plain_forms_are_started_at_once(words, meant):
    assert plain_words(words.split()) == meant


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--data d queue list", "queue list --data d"),
        ("--json --data=d queue", "queue --json --data=d"),
        ("--config c address add -- -x@y", "address add --config c -- -x@y"),
        ("queue --data d", "queue --data d"),
        ("--data", "--data"),
        ("--json --help", "--json --help"),
    ],
)
def test_options_of_every_command_may_stand_before_it(words, meant):
    assert store_options_last(words.split()) == meant.split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nothing", 'unknown command "nothing"'),
        ("queue --bogus", "unknown option: --bogus"),
        ("queue retry a b", "unexpected: b"),
        ("queue list --limit many", "--limit"),
        ("domain set example.com", "nothing to change"),
        ("domain move example.com", "where to?"),
        ("address add a@example.com --kind list", "no kind"),
        ("completion tcsh", "tcsh"),
        ("replay --mend", "name a view"),
        ("replay --at 2026-11-20T03:00Z", "name it"),
        ("replay queue --mend --at 2026-11-20T03:00Z", "replaces the one of now"),
        ("replay queue --all", "name a view"),
        ("queue retry", "give a domain, an id, or --all"),
        ("parked retry", "give references, or --all"),
        ("quarantine release", "name messages, or say which with filters"),
        ("address add", "no address given"),
        ("domain add exa_mple..com --route a:25", "exa_mple..com"),
        ("domain add example.com --route mail.example.com", "HOST:PORT"),
    ],
)
def test_words_that_make_no_command_are_one_line_and_what_to_do_with_exit_code_2(
    capsys, tmp_path, monkeypatch, words, said
):
    monkeypatch.setenv("GATEPOST_DATA", str(tmp_path / "data"))
    assert entry.main(words.split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("gatepost: ")
    assert said in err.splitlines()[0]
    assert len(err.splitlines()) <= 2
    assert not (tmp_path / "data").exists()


def test_what_was_not_foreseen_is_one_line_without_a_traceback(capsys, monkeypatch):
    def broken(_words):
        raise RuntimeError("out of \x1b[31mcheese")

    monkeypatch.setattr(entry, "_run", broken)
    assert entry.main([]) == 1
    assert capsys.readouterr().err.startswith("gatepost: RuntimeError: out of \\x1b[31mcheese\n  ")
    monkeypatch.setenv("GATEPOST_DEBUG", "1")
    assert entry.main([]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_has_its_own_exit_code_and_its_remedy_on_a_second_line(capsys, monkeypatch):
    def refused(_words):
        raise RefusedError("not now", remedy="Later.")

    monkeypatch.setattr(entry, "_run", refused)
    assert entry.main([]) == 4
    assert capsys.readouterr().err == "gatepost: not now\n  Later.\n"


def test_ctrl_c_is_exit_code_130(monkeypatch):
    def interrupted(_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_run", interrupted)
    assert entry.main([]) == 130


def commands():
    """Every command, without loading them through the tree, which would give them the tree's one line of help."""
    yield ()
    for _, named in COMMANDS:
        for name, where, _ in named:
            yield (name,)
            module, _, attribute = where.partition(":")
            target = getattr(importlib.import_module(module), attribute)
            if isinstance(target, App):
                yield from ((name, inner) for inner in target.resolved_commands() if not inner.startswith("-"))


ALL = sorted(commands())


@pytest.mark.parametrize("chain", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(capsys, monkeypatch, chain):
    for name in [name for name in sys.modules if name.startswith("cli.")]:
        # Each process runs one command; a tree that was built before would have left its one line of help in the modules.
        monkeypatch.delitem(sys.modules, name)
    assert entry.main([*chain, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: gatepost")
    if chain not in ((), ("version",)):
        assert f"  gatepost {' '.join(chain)}" in text or f"| gatepost {' '.join(chain)}" in text


def test_every_command_is_on_the_page_about_the_command_line():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert [chain for chain in ALL if f"gatepost {' '.join(chain)}" not in page] == []


def test_there_is_no_store_where_none_was_made(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert entry.main(["queue", "--data", "nowhere"]) == 3
    assert "there is no Gatepost in nowhere" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell):
    done = run("completion", shell)
    assert done.returncode == 0
    script = done.stdout
    assert all(name in script for name in ("quarantine", "release", "failures", "json"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_worker_loads_nothing_that_only_a_person_needs():
    done = run("worker", "nobody", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2
    assert "gatepost: no role 'nobody'" in done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pipeline.settings" in loaded
    assert not loaded & {"cyclopts", "cli.app", "rich.console"}


def test_help_loads_no_store():
    done = run("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"redis", "workers.wiring", "asyncio"}


def test_the_version_is_printed():
    assert run("version").stdout.startswith("gatepost ")


def test_settings_that_cannot_be_are_exit_code_2_at_every_command(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("data = [\n")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text('retry_intervall = "15m"\n')
    for command in (["up"], ["queue"], ["config", "show"]):
        for file, said in ((broken, "broken.toml"), (unknown, "did you mean 'retry_interval'")):
            done = run(*command, "--config", str(file))
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr
            assert len(done.stderr.splitlines()) <= 2
