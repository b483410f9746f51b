"""Telling of alerts: each is told once over every way, in few mails, and to a webhook that was away when it is back."""

from __future__ import annotations

import asyncio
import email
import email.policy
import gzip
import tracemalloc

import pytest

from pipeline import keys
from pipeline.alerts.model import DomainState, Measured
from pipeline.alerts.notices import HOOK, Notice, Way
from pipeline.alerts.pending import Pending
from pipeline.alerts.silence import Silence, known, silence_step
from pipeline.directory import Domain
from pipeline.events import AlertOver, AlertRaised, Received, Recorded
from tests.support.webhook import verified
from tests.workers.alerts.conftest import SECRET
from workers.alerts import telling, webhook
from workers.alerts.telling import Teller
from workers.alerts.watching import Watch

OPS = "ops@elsewhere.test"
CONTACT = "boss@private.test"
WAITING = 5000


@pytest.fixture
def hooked(hook, secret_file):
    return {"alert_webhook": hook.url, "alert_webhook_secret_file": secret_file}


def notice() -> Notice:
    return Notice(id="x", partition=0, way=Way(HOOK), subject="!test:", version=1, at=1, rule="test", test=True)


async def domains(wiring, count=1, **fields):
    for number in range(count):
        domain = Domain(name=f"d{number}.example", route=("192.0.2.1:25",), **fields)
        await wiring.directory.set_domain(domain, by="test", now=wiring.clock())


def measured(wiring, count=1, messages=WAITING):
    states = [DomainState(domain=f"d{number}.example", messages=messages) for number in range(count)]
    return Measured(at=wiring.clock(), domains=tuple(states))


async def judged(wiring, measured):
    """Raised or over, and the time in which their mail waits for others."""
    watch = Watch(wiring)
    found = await watch.judge(measured)
    wiring.forward(4)
    return found


async def logged(wiring, *kinds):
    found = []
    for partition in range(8):
        rows = await wiring.log.read(partition, "0", 10_000)
        found += [row for row in rows if isinstance(row, Recorded) and isinstance(row.event, kinds)]
    return found


async def mails(wiring):
    """(to, message) of all mails that were made."""
    found = []
    for row in await logged(wiring, Received):
        assert (row.event.sender, row.event.origin) == ("", "alert")
        body = bytes((await wiring.bodies.get(row.subject))[:])
        message = email.message_from_bytes(body, policy=email.policy.default)
        found.append((row.event.recipients[0].address, message))
    return found


def text(message):
    return message.get_content()


# Mail


async def test_the_operator_and_the_contact_outside_are_told_when_it_begins_and_when_it_is_over(parts):
    wiring = await parts(alert_mail=OPS, alert_mail_interval="0")
    await domains(wiring, contact="in@d0.example", contact_outside=CONTACT, language="de")
    teller = Teller(wiring)
    assert await judged(wiring, measured(wiring)) == 1
    assert await teller.tell() == 2
    assert await teller.tell() == 0
    told = dict(await mails(wiring))
    assert set(told) == {OPS, CONTACT}
    assert told[OPS]["Subject"] == "Alert: 5,000 messages wait for d0.example, more than 1,000"
    assert told[OPS]["Auto-Submitted"] == "auto-generated"
    assert told[CONTACT]["Subject"].startswith("Alarm: Für d0.example warten 5,000 Nachrichten")
    assert "Kontakt außerhalb von d0.example" in " ".join(text(told[CONTACT]).split())
    wiring.forward(600)
    assert await judged(wiring, measured(wiring, messages=0)) == 1
    assert await teller.tell() == 2
    over = [message for to, message in await mails(wiring) if to == OPS and message["Subject"].startswith("Over:")]
    assert len(over) == 1
    assert "OVER (it was so since " in text(over[0])
    assert len(await mails(wiring)) == 4


async def test_a_storm_is_one_mail_for_each_addressee(parts):
    wiring = await parts(alert_mail=f"{OPS},second@other.test")
    await domains(wiring, 300, contact_outside=CONTACT)
    assert await judged(wiring, measured(wiring, 300)) == 300
    assert await Teller(wiring).tell() == 900
    told = dict(await mails(wiring))
    assert set(told) == {OPS, "second@other.test", CONTACT}
    assert told[OPS]["Subject"] == "Alert: 300 raised, 0 over (waiting)"
    assert "And 250 more of the same kind." in text(told[OPS])


async def test_what_comes_up_soon_after_a_mail_waits_for_more_and_is_told_in_one(parts):
    wiring = await parts(alert_mail=OPS)
    await domains(wiring, 4)
    teller = Teller(wiring)
    await judged(wiring, measured(wiring, 1))
    assert await teller.tell() == 1
    for count in (2, 3, 4):
        await judged(wiring, measured(wiring, count))
        assert await teller.tell() == 0
    wiring.offset += int(wiring.settings.alert_mail_interval)
    await wiring.store.redis.delete(keys.alerts_mailed(OPS, "waiting"))  # Redis's clock does not move with ours
    assert await teller.tell() == 3
    subjects = [message["Subject"] for _, message in await mails(wiring)]
    assert min(subjects) == "Alert: 3 raised, 0 over (waiting)"


async def test_one_who_dies_while_telling_leaves_no_mail_out_and_makes_none_twice(parts, monkeypatch):
    wiring = await parts(alert_mail=OPS)
    await domains(wiring, 3)
    await judged(wiring, measured(wiring, 2))
    done, commit = Pending.done, wiring.log.commit

    async def dies(*_args, **_kwargs):
        raise SystemExit

    for broken in ((wiring.log, "commit"), (Pending, "done")):
        first = Teller(wiring)
        with monkeypatch.context() as patched, pytest.raises(SystemExit):
            patched.setattr(*broken, dies)
            await first.tell()
        await first.resign()
    assert (wiring.log.commit, Pending.done) == (commit, done)
    await judged(wiring, measured(wiring, 3))
    assert await Teller(wiring).tell() == 3
    subjects = sorted(message["Subject"] for _, message in await mails(wiring))
    assert subjects == [
        "Alert: 2 raised, 0 over (waiting)", "Alert: 5,000 messages wait for d2.example, more than 1,000",
    ]  # fmt: skip


async def test_of_many_tellers_one_tells(parts):
    wiring = await parts(alert_mail=OPS)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    told = await asyncio.gather(*(Teller(wiring).tell() for _ in range(5)))
    assert sorted(told) == [0, 0, 0, 0, 1]
    assert len(await mails(wiring)) == 1


# Watchers


async def test_two_watchers_that_see_the_same_raise_and_end_it_once(parts, hook, hooked):
    wiring = [await parts(alert_mail=OPS, **hooked) for _ in range(2)]
    await domains(wiring[0], 20)
    for one in wiring:
        await one.directory.refresh()
    for messages in (WAITING, 0, WAITING, 0):
        done = await asyncio.gather(*(judged(one, measured(one, 20, messages)) for one in wiring))
        assert sum(done) == 20
    kinds = {}
    for row in await logged(wiring[0], AlertRaised, AlertOver):
        kinds.setdefault(row.subject, []).append((row.version, type(row.event)))
    assert len(kinds) == 20
    for history in kinds.values():
        assert history == [(1, AlertRaised), (2, AlertOver), (3, AlertRaised), (4, AlertOver)]
    await asyncio.gather(*(Teller(one).tell() for one in wiring))
    assert len({post.form["id"] for post in hook.posts}) == len(hook.posts) == 80


# Silence


async def silenced(wiring, seconds, rule="waiting", what=""):
    wanted = Silence(rule=rule, what=what, until=wiring.clock() + seconds * 10**9, since=wiring.clock(), by="test")
    (before,) = await known(wiring.store.redis, [wanted.subject])
    await wiring.log.commit(silence_step(wanted, before))


async def test_in_silence_nobody_is_told_and_after_it_of_what_is_still_wrong(parts, hook, hooked):
    wiring = await parts(alert_mail=OPS, **hooked)
    await domains(wiring, 2)
    await silenced(wiring, 3 * 86400)
    assert await judged(wiring, measured(wiring, 2)) == 2
    teller = Teller(wiring)
    assert await teller.tell() == 0
    assert await judged(wiring, measured(wiring, 1)) == 1
    assert await teller.tell() == 0
    wiring.forward(3 * 86400)
    assert await teller.tell() == 2
    assert [message["Subject"] for _, message in await mails(wiring)] == [
        "Alert: 5,000 messages wait for d0.example, more than 1,000"
    ]
    assert [(post.form["what"], post.form["event"]) for post in hook.posts] == [("d0.example", "raised")]
    assert await Pending(wiring.store).waiting() == []


async def test_silence_is_of_its_rule_and_its_thing_only_and_what_was_told_is_over_when_it_ends(parts, hook, hooked):
    wiring = await parts(**hooked)
    await domains(wiring, 2)
    teller = Teller(wiring)
    await silenced(wiring, 600, "down")
    await silenced(wiring, 600, "waiting", "d1.example")
    assert await judged(wiring, measured(wiring, 2)) == 2
    assert await teller.tell() == 1
    assert [post.form["what"] for post in hook.posts] == ["d0.example"]
    await silenced(wiring, 600)
    await judged(wiring, measured(wiring, 2, 0))
    assert await teller.tell() == 0
    wiring.forward(600)
    assert await teller.tell() == 1
    assert [(post.form["what"], post.form["event"]) for post in hook.posts] == [
        ("d0.example", "raised"), ("d0.example", "over"),
    ]  # fmt: skip


# Webhook


async def test_a_post_is_signed_and_says_all(parts, hook, hooked):
    wiring = await parts(**hooked)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    assert await Teller(wiring).tell() == 1
    (post,) = hook.posts
    now = wiring.clock() // 10**9
    assert post.path == "/alerts?from=gatepost"
    assert verified(SECRET, post, now)
    assert not verified(b"another secret!!", post, now)
    assert not verified(SECRET, post._replace(body=post.body.replace(b"5,000", b"5")), now)
    assert not verified(SECRET, post, now + 301)
    form = post.form
    assert form == {
        "id": post.headers["Gatepost-Id"], "event": "raised", "gateway": "gateway.test", "rule": "waiting",
        "what": "d0.example", "domain": "d0.example", "value": "5,000", "limit": "1,000", "detail": None,
        "text": "5,000 messages wait for d0.example, more than 1,000.", "at": form["at"], "since": form["at"],
    }  # fmt: skip
    assert SECRET not in repr(post).encode()


@pytest.mark.parametrize("mode", ["500", "503", "429", "hang", "drop", "away"])
async def test_a_webhook_in_trouble_is_left_alone_for_longer_and_longer_and_told_all_when_it_is_back(
    parts, hook, hooked, mode, monkeypatch
):
    monkeypatch.setattr(webhook, "TIMEOUT", 0.3)
    wiring = await parts(**hooked)
    await domains(wiring, 2)
    await judged(wiring, measured(wiring, 2))
    if mode == "away":
        hook.stop()
    hook.mode = mode
    teller = Teller(wiring)
    for pause in (10, 20, 40):
        posts = len(hook.posts)
        assert await teller.tell() == 0
        assert len(hook.posts) - posts == (mode != "away")  # it is not asked for the second one
        wiring.forward(pause - 1)
        assert await teller.tell() == 0
        assert len(hook.posts) - posts == (mode != "away")
        wiring.forward(1)
    ids = {post.form["id"] for post in hook.posts}
    hook.mode = "ok"
    if mode == "away":
        hook.start()
    assert await Teller(wiring).tell() == 0  # another process: the first has the lease
    assert await teller.tell() == 2
    assert len(hook.taken) == 2
    assert ids <= {post.form["id"] for post in hook.taken}
    await judged(wiring, measured(wiring, 2, 0))
    assert await teller.tell() == 2
    assert [post.form["event"] for post in hook.taken] == ["raised", "raised", "over", "over"]


@pytest.mark.parametrize("mode", ["400", "302", "410"])
async def test_one_that_the_webhook_does_not_want_keeps_no_other_waiting_and_what_follows_it_comes_after_it(
    parts, hook, hooked, mode
):
    wiring = await parts(**hooked)
    await domains(wiring, 2)
    await judged(wiring, measured(wiring, 1))
    hook.mode = mode
    teller = Teller(wiring)
    assert await teller.tell() == 0
    assert len(hook.posts) == 1  # a redirect is not followed
    hook.mode = "ok"
    states = (DomainState(domain="d1.example", messages=WAITING),)
    await judged(wiring, Measured(at=wiring.clock(), domains=states))
    assert await teller.tell() == 1
    wiring.forward(10)
    assert await teller.tell() == 2
    told = [(post.form["what"], post.form["event"]) for post in hook.taken]
    assert told == [("d1.example", "raised"), ("d0.example", "raised"), ("d0.example", "over")]


async def test_after_a_day_the_webhook_is_not_told_any_more(parts, hook, hooked):
    wiring = await parts(**hooked)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    hook.mode = "500"
    teller = Teller(wiring)
    assert await teller.tell() == 0
    wiring.forward(24 * 3600)
    hook.mode = "ok"
    assert await teller.tell() == 0
    assert hook.taken == []
    assert await Pending(wiring.store).waiting() == []


async def test_an_answer_without_end_is_not_read_to_its_end(parts, hook, hooked):
    wiring = await parts(**hooked)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    hook.mode = "flood"
    assert await Teller(wiring).tell() == 1


async def test_an_answer_that_unpacks_to_gigabytes_is_not_unpacked(parts, hook, hooked):
    hook.answer, hook.headers = gzip.compress(bytes(100 << 20)), {"Content-Encoding": "gzip"}
    tracemalloc.start()
    said = await webhook.post(hook.url, SECRET, notice(), "gateway.test", 1, within=20.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.taken
    assert peak < 20 << 20
    assert hook.posts[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("mode", ["garbage", "away", "refused"])
async def test_whatever_goes_wrong_the_address_of_the_webhook_is_not_said(hook, mode):
    url = f"http://me:sesame@127.0.0.1:{hook.port}/services/sesame?token=sesame"
    if mode == "away":
        hook.stop()
    elif mode == "refused":
        url = url.replace(f"127.0.0.1:{hook.port}", "[sesame")
    hook.mode = mode
    said = await webhook.post(url, SECRET, notice(), "gateway.test", 1, within=20.0)
    assert not said.taken
    assert "sesame" not in said.said


async def test_without_its_secret_nothing_is_posted(parts, hook, hooked, tmp_path):
    (tmp_path / "secret").write_bytes(b"short")
    wiring = await parts(**hooked)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    teller = Teller(wiring)
    assert await teller.tell() == 0
    assert hook.posts == []
    (tmp_path / "secret").write_bytes(SECRET)
    wiring.forward(10)
    assert await teller.tell() == 1


async def test_a_round_of_posts_ends_in_time(parts, hook, hooked, monkeypatch):
    monkeypatch.setattr(telling, "PASS", -1.0)
    wiring = await parts(**hooked)
    await domains(wiring)
    await judged(wiring, measured(wiring))
    assert await Teller(wiring).tell() == 0
    assert len(await Pending(wiring.store).waiting()) == 1
