"""One connection, fed by hand: whatever comes, in whatever pieces, is one reply or words why there is none."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.outcome import parse_reply
from pipeline.probing.model import Answer, Step
from workers.probing.dialogue import Dialogue

replies = st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b"")), max_size=4)
octets = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda code, lines: b"".join(b"%d-%s\r\n" % (code, line) for line in lines) + b"%d end\r\n" % code,
        st.integers(200, 599),
        replies,
    ),
)


def heard(pieces: list[bytes]) -> tuple[Answer, list[str]]:
    """What is made of a greeting that comes in these pieces, before the connection ends."""
    lines: list[str] = []

    async def listen() -> Answer:
        dialogue = Dialogue(lambda _who, text: lines.append(text))
        listening = asyncio.create_task(dialogue.hear_reply(Step.GREETING, 5.0))
        for piece in pieces:
            dialogue.data_received(piece)
            await asyncio.sleep(0)
        dialogue.eof_received()
        dialogue.connection_lost(None)
        return await listening

    return asyncio.run(listen()), lines


@given(octets, st.lists(st.integers(0, 200), max_size=5))
def test_a_reply_is_the_same_in_whatever_pieces_it_comes(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    whole, _ = heard([data])
    answer, lines = heard(pieces)
    assert (answer.code, answer.enhanced, answer.text) == (whole.code, whole.enhanced, whole.text)
    assert all(line.isprintable() for line in lines)
    assert answer.text.replace("\n", "").isprintable()


@given(st.integers(200, 599).filter(lambda code: code != 421), replies)
def test_a_whole_reply_is_understood_as_the_deliverer_understands_it(code, lines):
    rows = [*(b"%d-%s" % (code, line) for line in lines), b"%d end" % code]
    answer, _ = heard([b"".join(row + b"\r\n" for row in rows)])
    meant = parse_reply(rows)
    assert (answer.code, answer.enhanced, answer.text) == (meant.code, meant.enhanced, meant.text)
