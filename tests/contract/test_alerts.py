"""An alert's step: it happens once, however many watchers see the same thing at once."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import keys
from pipeline.alerts.model import Sample
from pipeline.alerts.notices import Way, decode_notice
from pipeline.alerts.standing import heads, standing
from pipeline.alerts.steps import over_step, partition_of_alert, raised_step
from pipeline.events import AlertOver, AlertRaised
from pipeline.faults import ConflictError
from pipeline.log import Log
from tests.support.examples import AT, DOMAIN

SAMPLE = Sample(rule="waiting", what=DOMAIN, domain=DOMAIN, value="1,204", limit="1,000", detail="451 later")
WAYS = (Way("mail", "ops@elsewhere.example"), Way("webhook"))
PARTITION = partition_of_alert(DOMAIN, 8)


async def events(log, partition=PARTITION):
    return [(one.subject, one.version, one.event) for one in await log.read(partition, "0", 100)]


async def notices(store, partition=PARTITION):
    return [decode_notice(data) for data in (await store.redis.hgetall(keys.notice(partition))).values()]


async def together(steps, logs):
    """Each step from a process of its own, at once: which of them happened."""
    results = await asyncio.gather(
        *(log.commit(step) for log, step in zip(logs, steps, strict=True)), return_exceptions=True
    )
    assert all(isinstance(result, bool | ConflictError) for result in results), results
    return [not isinstance(result, ConflictError) for result in results]


async def test_two_watchers_raise_an_alert_once_and_end_it_once(store):
    logs = [Log(store.redis) for _ in range(2)]
    raising = [raised_step(SAMPLE, None, WAYS, now=AT + number, partitions=8) for number in range(2)]
    assert sorted(await together(raising, logs)) == [False, True]
    (alert,) = await standing(store)
    assert (alert.rule, alert.what, alert.version, alert.value, alert.limit) == ("waiting", DOMAIN, 1, "1,204", "1,000")
    ending = [over_step(alert, now=AT + 10 + number, partitions=8) for number in range(2)]
    assert sorted(await together(ending, logs)) == [False, True]
    assert await standing(store) == []
    (_, first, raised), (_, second, over) = await events(logs[0])
    assert (first, second) == (1, 2)
    assert isinstance(raised, AlertRaised)
    assert raised.text == f"1,204 messages wait for {DOMAIN}, more than 1,000."
    assert raised.detail == "451 later"
    assert isinstance(over, AlertOver)
    assert over.since == raised.at
    told = await notices(store)
    assert sorted((one.over, str(one.way)) for one in told) == [
        (False, "mail:ops@elsewhere.example"), (False, "webhook"), (True, "mail:ops@elsewhere.example"), (True, "webhook"),
    ]  # fmt: skip
    assert await store.redis.zcard(keys.notices(PARTITION)) == 4


async def test_an_alert_that_comes_again_goes_on_counting(store, log):
    place = (PARTITION, SAMPLE.subject)
    for again in range(3):
        (before,) = await heads(store, [place])
        assert (before.version if before else 0) == 2 * again
        await log.commit(raised_step(SAMPLE, before, (), now=AT, partitions=8))
        assert await store.redis.ttl(keys.alert(*place)) == -1
        (alert,) = await standing(store)
        await log.commit(over_step(alert, now=AT + 1, partitions=8))
        assert await store.redis.ttl(keys.alert(*place)) > 86400
    assert [version for _, version, _ in await events(log)] == [1, 2, 3, 4, 5, 6]


async def test_one_who_saw_it_before_it_was_over_does_not_raise_it_again(store, log):
    late = raised_step(SAMPLE, None, (), now=AT, partitions=8)
    await log.commit(raised_step(SAMPLE, None, (), now=AT, partitions=8))
    (alert,) = await standing(store)
    await log.commit(over_step(alert, now=AT + 1, partitions=8))
    with pytest.raises(ConflictError):
        await log.commit(late)


async def test_the_operators_alerts_are_in_the_first_partition(store, log):
    await log.commit(raised_step(Sample(rule="memory"), None, (), now=AT, partitions=8))
    assert [(subject, version) for subject, version, _ in await events(log, 0)] == [("!memory:", 1)]


async def test_a_head_that_cannot_be_read_is_raised_anew(store, log):
    await log.commit(raised_step(SAMPLE, None, (), now=AT, partitions=8))
    await store.redis.hset(keys.alert(PARTITION, SAMPLE.subject), "m", b"\xc1")
    assert await standing(store) == []
    (before,) = await heads(store, [(PARTITION, SAMPLE.subject)])
    await log.commit(raised_step(SAMPLE, before, (), now=AT, partitions=8))
    assert [one.version for one in await standing(store)] == [2]
