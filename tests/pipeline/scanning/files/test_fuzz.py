"""Messages from a grammar, then damaged at random: whatever comes out is read without an error, and what is planted is found.

The number of examples is fixed, so that the tests take the same time everywhere; GATEPOST_FUZZ multiplies it.
"""

from __future__ import annotations

import os
import quopri
import random
import re
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.mime import Header, walk
from pipeline.mime.structure import MAX_PARTS
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import MAX_FINDINGS, Mail
from pipeline.scanning.files import octets as octets_module
from pipeline.scanning.files.kinds import kind_of
from pipeline.scanning.files.octets import Budget, Octets
from pipeline.scanning.files.unpacking import unpacked
from tests.pipeline.scanning.files.test_files import ARCHIVES, BOMBS, LOCKED, RUNNING
from tests.support import files
from tests.support.mail import EICAR, HEAD, OURS, PROGRAM, SETTINGS, crlf, encoded, message, multipart, part
from tests.support.malformed import REFUSED, SIMPLE

TIMES = int(os.environ.get("GATEPOST_FUZZ", "1"))
ENGINE = BuiltIn(SETTINGS, OURS)

DOCUMENTS = [
    files.doc(files.OPENS), files.docm(files.WAITS), files.xls(macro_sheet=True, automatic=True), files.rtf(files.ole1(b"Equation.3", bytes(50))),
    files.docx(files.relationship("attachedTemplate", "http://evil.example/a.dotm")), files.onenote(b"@echo off\r\n"),
    files.pdf(b"/OpenAction 3 0 R", b"<< /S /JavaScript /JS (app.alert(1)) >>"), b"<svg><script>eval(1)</script></svg>", EICAR, PROGRAM,
]  # fmt: skip
SEEDS = [
    *DOCUMENTS,
    *ARCHIVES.values(),
    *LOCKED.values(),
    *RUNNING.values(),
    files.overlapping(5),
    files.overlapping(50),
]
MESSAGES = [content for content, _ in (*SIMPLE.values(), *REFUSED.values()) if len(content) < 5000]
SPLICES = [
    b"",
    b"\0",
    b"\xff" * 4,
    b"\r\n",
    b"\r\n\r\n",
    b"--b\r\n",
    b"PK\x03\x04",
    b"=?utf-8?b?",
    b"\x7f\xff\xff\xff",
    b'"',
    b"%",
    b"begin 644 a\r\n",
]


class Damage(NamedTuple):
    at: float
    length: int
    splice: bytes

    def to(self, octets: bytes) -> bytes:
        at = int(self.at * len(octets))
        return octets[:at] + self.splice + octets[at + self.length :]


DAMAGES = st.lists(
    st.builds(Damage, st.floats(0, 1), st.sampled_from([0, 1, 2, 4, 50, 1000]), st.sampled_from(SPLICES) | st.binary(max_size=8)), max_size=4
)  # fmt: skip


def damaged(octets: bytes, damages: list[Damage]) -> bytes:
    for damage in damages:
        octets = damage.to(octets)
    return octets


def checked(content: bytes) -> list[str]:
    mail = Mail(message(), content)
    found = list(ENGINE.look(mail))
    assert len(mail.parts) <= MAX_PARTS
    assert len(found) <= MAX_FINDINGS
    assert all(finding.text.isprintable() and len(finding.text) < 1000 for finding in found)
    return [finding.name for finding in found]


# A grammar of good mail

TEXTS = st.text(max_size=60).map(lambda text: crlf(text.replace("\0", "").replace("--", "-").encode()))
BOUNDARIES = st.from_regex(r"\A[A-Za-z0-9'()+_,./:=?-]{1,40}[A-Za-z0-9]\Z")


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["text/plain", "text/html; charset=utf-8", "image/png", "application/octet-stream"]))
    body = draw(TEXTS)
    return draw(st.sampled_from([
        part(kind, body, "Content-Transfer-Encoding: 8bit"),
        part(kind, encoded(body), "Content-Transfer-Encoding: base64"),
        part(kind, crlf(quopri.encodestring(body)), "Content-Transfer-Encoding: quoted-printable"),
    ]))  # fmt: skip


def planted(number: int, how: int) -> bytes:
    """An attachment that must be found, in one of the ways to send it."""
    name = f"plant{number}.exe"
    fields = [
        f'Content-Disposition: attachment; filename="{name}"',
        f"Content-Disposition: attachment;\r\n\tfilename={name}",
        f"Content-Disposition: inline; filename*=utf-8''plant{number}%2Eexe",
        f'Content-Disposition: attachment; filename*0="plant{number}."; filename*1="exe"',
        f"Content-Description: x; name={name}\r\nContent-Disposition: ATTACHMENT; FileName={name}",
    ]
    return part("application/octet-stream", encoded(b"data"), "Content-Transfer-Encoding: base64", fields[how])


@st.composite
def mails(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A message, and the names that are planted in it."""
    names: list[str] = []
    pieces = draw(st.lists(leaves(), min_size=1, max_size=3))
    for _ in range(draw(st.integers(1, 4))):
        names.append(f"plant{len(names)}.exe")
        pieces.append(planted(len(names) - 1, draw(st.integers(0, 4))))
        boundary = f"{draw(BOUNDARIES)}{len(names)}"
        inner = multipart(draw(st.permutations(pieces)), boundary, draw(st.sampled_from(["mixed", "related", "x-odd"])))
        wrap = draw(st.integers(0, 2))
        pieces = [part("message/rfc822", HEAD + inner) if wrap == 1 else inner, *draw(st.lists(leaves(), max_size=2))]
    return HEAD + multipart(pieces, "outermost"), names


@settings(max_examples=100 * TIMES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mails())
def test_everything_that_is_attached_is_found(built):
    content, names = built
    seen = [name for one in walk(content, Header(content)).parts for name in one.names]
    assert sorted(name for name in seen if name.startswith("plant")) == sorted(names)
    assert checked(content).count("BLOCKED_EXTENSION") == len(names)


@settings(max_examples=200 * TIMES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mails(), DAMAGES)
def test_a_good_message_that_was_damaged_is_read_without_an_error(built, damages):
    checked(damaged(built[0], damages))


@settings(max_examples=300 * TIMES)
@given(st.sampled_from(MESSAGES), DAMAGES)
def test_a_bad_message_that_was_damaged_is_read_without_an_error(content, damages):
    checked(damaged(content, damages))


@settings(max_examples=500 * TIMES)
@given(st.sampled_from(SEEDS), DAMAGES, st.sampled_from(["a.zip", "a.doc", "a.dat"]))
def test_a_file_that_was_damaged_is_looked_into_without_an_error(seed, damages, name):
    data = damaged(seed, damages)
    fields = ("Content-Transfer-Encoding: base64", f'Content-Disposition: attachment; filename="{name}"')
    checked(HEAD + multipart([part("application/octet-stream", encoded(data), *fields)]))


@settings(max_examples=300 * TIMES)
@given(st.binary(max_size=2000), st.sampled_from([bytes(seed[:40]) for seed in SEEDS]))
def test_any_octets_behind_any_beginning_are_looked_into_without_an_error(octets, start):
    checked(HEAD + part("application/octet-stream", encoded(start + octets), "Content-Transfer-Encoding: base64"))
    kind_of(start + octets)


@settings(max_examples=200 * TIMES)
@given(
    st.sampled_from(["deflate", "zlib", "gzip", "bzip2", "xz", "stored"]), st.sampled_from(SEEDS), DAMAGES, st.integers(0, 5000)
)  # fmt: skip
def test_no_more_comes_out_than_the_budget_has(method, seed, damages, left):
    budget = Budget(left)
    size = sum(len(piece) for piece in unpacked(Octets(damaged(seed, damages)), method, budget, 64))
    assert budget.left >= 0
    assert size <= left


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_costs_no_more_than_the_budget(what, monkeypatch):
    """What is unpacked is counted, rather than the time it takes."""
    taken = []
    take = Budget.take

    def counting(self: Budget, octets: int) -> bool:
        taken.append(octets)
        return take(self, octets)

    monkeypatch.setattr(Budget, "take", counting)
    checked(HEAD + part("application/octet-stream", encoded(BOMBS[what][0]()), "Content-Transfer-Encoding: base64"))
    assert sum(taken) <= 2 * octets_module.MAX_UNPACKED


def test_a_search_piece_by_piece_finds_what_a_search_at_once_finds():
    pattern = re.compile(rb"PK[a-z]{0,40}+!")
    generator = random.Random(3)
    pieces = [generator.randbytes(1000) + b"PK" + b"x" * generator.randint(0, 40) + b"!" for _ in range(2500)]
    edge = b"".join(pieces)
    for shift in range(-45, 5, 3):
        content = edge[: (1 << 20) + shift] + b"PK" + b"y" * 40 + b"!" + edge
        found = [(at, match[0]) for at, match in Octets(content, 7).finditer(pattern)]
        assert found == [(match.start() - 7, match[0]) for match in pattern.finditer(content, 7)]
