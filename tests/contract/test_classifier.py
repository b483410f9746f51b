"""From what was learnt to what is found: the counts that a scanner reads are those that the events say."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import msgspec
import pytest

from pipeline.history import History
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.scanning.bayes.engine import Classifier
from pipeline.scanning.bayes.tokens import Tokeniser
from pipeline.scanning.bayes.words import words
from pipeline.scanning.engine import Mail
from pipeline.settings import Settings
from projections import builds
from projections.base import LESSONS, Portion, advance, position
from projections.classifier import Classifier as View
from projections.readers import classifier as classifier_reader
from projections.readers import read_learnt
from projections.readers.classifier import StoredCounts
from projections.readers.rehearsal import Rehearsal
from projections.replay import replay
from tests.support.examples import AT, DOMAIN
from tests.support.mail import crlf, message
from workers.learning import Learning, learning_key
from workers.projector import Projector

OTHER = "other.test"
SPAM = ["cheap pills for you, buy now, no prescription", "you have won a lottery, claim now", "cheap watches, buy now"]
HAM = ["minutes of the meeting on Monday", "the invoice for the meeting room", "lunch on Monday? the room is free"]


def mail(text: str) -> bytes:
    return crlf(f"From: a@b.example\nMessage-ID: <{text[:9]}@b.example>\nSubject: {text[:12]}\n\n{text}\n".encode())


class Wired:
    def __init__(self, store) -> None:
        self.store = store
        self.log = self.intake_log = Log(store.redis)
        self.history = History(self.log)
        self.clock = time.time_ns
        self.hostname = "mx.gate.example"
        self.settings = Settings()


async def project(store, domain: str) -> None:
    """Fold what there is of a domain's partition."""
    log, partition = Log(store.redis), partition_for(domain, store.partitions)
    view, _ = await builds.to_fold(store.redis, partition, View())
    while entries := await log.read(partition, await position(store.redis, view), 2):
        assert await advance(store.redis, [Portion([view], await position(store.redis, view), entries)]) == [True]


async def teach(store, domain: str, spam=SPAM, ham=HAM) -> None:
    learning = Learning(Wired(store), by="cli:anna")
    for text in spam:
        await learning.learn(domain, mail(text), spam=True)
    for text in ham:
        await learning.learn(domain, mail(text), spam=False)
    await project(store, domain)


async def found(store, text: str, domain: str = DOMAIN, minimum: int = 3) -> list[str]:
    engine = Classifier(StoredCounts(store.redis, store.partitions, minimum), 5.0)
    about = msgspec.structs.replace(message(), domain=domain)
    return [finding.name for finding in await engine.scan(Mail(about, mail(text)))]


@pytest.mark.parametrize("taught", ["", DOMAIN])
async def test_mail_like_what_was_marked_is_found_and_other_mail_is_not(store, taught):
    await teach(store, taught)
    assert await found(store, "buy cheap pills now") == ["BAYES_SPAM"]
    assert await found(store, "the room for the meeting on Monday") == ["BAYES_HAM"]
    assert await found(store, "quite different words altogether, sir") == []


async def test_what_a_domain_learns_is_its_own(store):
    await teach(store, DOMAIN)
    assert await found(store, "buy cheap pills now", OTHER) == []
    await teach(store, "")
    assert await found(store, "buy cheap pills now", OTHER) == ["BAYES_SPAM"]


async def test_people_of_a_domain_are_heard_above_all_others(store):
    await teach(store, "")
    await teach(
        store, DOMAIN, [], ["we sell cheap pills, buy now", "cheap pills, a pharmacy", "pills, buy cheap, now", *HAM]
    )
    assert "BAYES_SPAM" not in await found(store, "buy cheap pills now")
    assert await found(store, "buy cheap pills now", OTHER) == ["BAYES_SPAM"]


async def test_with_too_few_messages_of_a_kind_nothing_is_said(store):
    await teach(store, "", ham=HAM[:2])
    assert await found(store, "buy cheap pills now") == []
    await teach(store, DOMAIN, spam=[], ham=HAM[2:])
    assert await found(store, "buy cheap pills now") == ["BAYES_SPAM"]


async def test_a_store_that_has_learnt_nothing_is_asked_once_and_not_for_each_message(store):
    counts = StoredCounts(store.redis, store.partitions, 3)
    engine = Classifier(counts, 5.0)
    await engine.scan(Mail(message(), mail("hello")))
    counts._redis = None
    assert await engine.scan(Mail(message(), mail("hello"))) == ()


@pytest.mark.parametrize("domain", [DOMAIN, ""])
async def test_a_rehearsal_counts_as_the_store_does(store, domain):
    await teach(store, "", SPAM[:2], HAM)
    await teach(store, DOMAIN, SPAM, HAM[:2])
    counts, rehearsal = StoredCounts(store.redis, store.partitions, 1), Rehearsal()
    for name in {"", domain}:
        await rehearsal.load(store.redis, store.partitions, name)
    tokens = Tokeniser(await learning_key(store.redis)).tokens(words(Mail(message(), mail(" ".join(SPAM + HAM)))))
    stored = await counts.of(domain, tokens)
    assert stored.tokens
    assert rehearsal.counted(domain, tokens) == stored
    again = Rehearsal()
    for spam, texts in ((True, SPAM[:2]), (False, HAM)):
        for text in texts:
            again.learn("", Tokeniser(await counts.key()).tokens(words(Mail(message(), mail(text)))), spam=spam)
    assert again.counted("", tokens) == await counts.of("", tokens)


async def test_what_was_learnt_is_told_and_comes_out_the_same_when_it_is_folded_anew(store):
    await teach(store, DOMAIN)
    learning = Learning(Wired(store), by="cli:ben")
    await learning.learn(DOMAIN, mail(SPAM[0]), spam=False, how="released")
    await learning.forget(DOMAIN, mail(HAM[0]))
    await project(store, DOMAIN)
    (one,) = await read_learnt(store.redis, store.partitions, DOMAIN)
    assert (one.spam, one.ham, one.by, one.how) == (2, 3, "cli:ben", "undone")
    assert one.tokens > 20
    assert [table.domain for table in await read_learnt(store.redis, store.partitions)] == [DOMAIN]
    report = await replay(store.redis, Log(store.redis), range(store.partitions), View(), now=AT)
    assert (report.equal, report.events) == (True, 9)


async def test_all_that_was_learnt_and_forgotten_leaves_no_count(store):
    await teach(store, DOMAIN)
    learning = Learning(Wired(store), by="cli:ben")
    for text in (*SPAM, *HAM):
        assert await learning.forget(DOMAIN, mail(text))
    await project(store, DOMAIN)
    (one,) = await read_learnt(store.redis, store.partitions, DOMAIN)
    assert (one.spam, one.ham, one.tokens, one.octets) == (0, 0, 0, 0)


async def test_a_projector_catches_up_with_more_lessons_than_it_stores_at_once(store):
    learning = Learning(Wired(store), by="cli:anna")
    for number in range(LESSONS + 5):
        await learning.learn(DOMAIN, mail(f"message {number}"), spam=True)
    blocking = store.redis
    projector = Projector(store.redis, blocking, Log(store.redis), range(store.partitions), [View()])
    await projector.catch_up()
    (one,) = await read_learnt(store.redis, store.partitions, DOMAIN)
    assert one.spam == LESSONS + 5
    report = await replay(store.redis, Log(store.redis), range(store.partitions), View(), now=AT)
    assert (report.equal, report.events) == (True, LESSONS + 5)


async def test_while_one_asks_whether_more_was_learnt_the_others_go_on_with_what_is_known(store, monkeypatch):
    counts = StoredCounts(store.redis, store.partitions, 1)
    assert not await counts.trained(DOMAIN)
    await teach(store, DOMAIN)
    later = time.monotonic() + classifier_reader.REFRESH + 1
    monkeypatch.setattr(classifier_reader, "time", SimpleNamespace(monotonic=lambda: later))
    asked = []
    ask = classifier_reader.live_prefixes
    monkeypatch.setattr(classifier_reader, "live_prefixes", lambda *words: asked.append(words) or ask(*words))
    assert not counts.untrained(DOMAIN)
    answers = await asyncio.gather(*[counts.trained(DOMAIN) for _ in range(50)])
    assert len(asked) == 2
    assert answers.count(True) in (1, 2)
    assert await counts.trained(DOMAIN)
