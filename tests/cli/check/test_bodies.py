"""What `gatepost check` says of the place of bodies."""

from __future__ import annotations

import pytest

from cli.check.bodies import about_bodies
from pipeline.configuration import load
from tests.support.objectstore import s3_server


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        yield started


async def about(tmp_path, **settings: str):
    (finding,) = await about_bodies(load(None, {}, {"data": tmp_path, **settings}))
    return finding


@pytest.mark.parametrize(
    ("url", "weight"),
    [
        ("", "good"),
        ("unix:///run/redis.sock", "good"),
        ("redis://127.0.0.1:6379/0", "good"),
        ("redis://redis.internal:6379/0", "warning"),
        ("rediss://user:password@10.0.0.7:6380/0", "warning"),
        ("redis+sentinel://127.0.0.1:26379,localhost:26380/gatepost", "good"),
        ("redis+sentinel://127.0.0.1:26379,10.0.0.7/gatepost", "warning"),
        ("redis+cluster://10.0.0.7", "warning"),
        # What cannot be read is told as that, and as nothing else.
        ("http://10.0.0.7/0", "good"),
        ("redis+sentinel://10.0.0.7", "good"),
        ("10.0.0.7:6379", "good"),
    ],
)
async def test_bodies_of_one_machine_beside_a_redis_for_many_are_warned_of(tmp_path, url, weight):
    finding = await about(tmp_path, redis_url=url)
    assert finding.weight == weight
    assert "password" not in finding.found


@pytest.mark.parametrize(("url", "weights"), [("", ["good"]), ("redis://10.0.0.7/0", ["warning", "warning"])])
async def test_files_of_one_machine_for_what_is_just_received_are_warned_of_too(tmp_path, url, weights):
    settings = load(None, {}, {"data": tmp_path, "redis_url": url, "hot_bodies": "files"})
    assert [finding.weight for finding in await about_bodies(settings)] == weights


async def test_a_store_is_good_when_it_answers_and_has_the_bucket(tmp_path, server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    assert (await about(tmp_path, bodies_store="s3://bucket/check")).weight == "good"
    missing = await about(tmp_path, bodies_store="s3://no-such-bucket/check")
    assert (missing.weight, "no such bucket" in missing.remedy) == ("fatal", True)
    (tmp_path / "bodies" / "3" / "ab").mkdir(parents=True)
    (tmp_path / "bodies" / "3" / "ab" / "0k3x9v2qd7m1c0f5tz8a03").write_bytes(b"x")
    left = await about(tmp_path, bodies_store="s3://bucket/check")
    assert (left.weight, "from before" in left.found) == ("warning", True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = await about(tmp_path, bodies_store="s3://bucket/check", bodies_timeout="1s")
    assert (away.weight, "451" in away.found) == ("fatal", True)


async def test_an_address_that_is_none_is_fatal(tmp_path):
    finding = await about(tmp_path, bodies_store="https://bucket.example/x")
    assert finding.weight == "fatal"
    assert "s3://BUCKET/PREFIX" in finding.remedy
