"""What a redis_url says, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from pipeline.configuration import load
from pipeline.faults import ConfigurationError
from pipeline.topology.address import CLUSTER, ONE, SENTINEL, of_settings, parse


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "service", "database", "encrypted"),
    [
        ("redis://host:6379/0", ONE, (), "", 0, False),
        ("rediss://host", ONE, (), "", 0, True),
        ("unix:///run/redis.sock", ONE, (), "", 0, False),
        ("redis+sentinel://a:1,b/main", SENTINEL, (("a", 1), ("b", 26379)), "main", 0, False),
        ("rediss+sentinel://u:p%2F@[::1]:7/main/3", SENTINEL, (("::1", 7),), "main", 3, True),
        ("redis+cluster://10.0.0.1:7001,b.test", CLUSTER, (("10.0.0.1", 7001), ("b.test", 6379)), "", 0, False),
        ("rediss+cluster://a/0", CLUSTER, (("a", 6379),), "", 0, True),
    ],
)
def test_the_form_of_the_url_says_what_kind_of_redis_it_is(url, kind, hosts, service, database, encrypted):
    address = parse(url)
    assert (address.kind, address.hosts, address.service) == (kind, hosts, service)
    assert (address.database, address.encrypted) == (database, encrypted)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sesame", "begins with none of redis://, rediss://"),
        ("http://sesame", "begins with none of"),
        ("redis+sentinel://u:sesame@a", "does not end with the name of a master"),
        ("redis+sentinel://a/main/sesame", "no number of a database"),
        ("redis+sentinel://a/main?password=sesame", "has a ? or a #"),
        ("redis+cluster://u:sesame/x@a", "a Cluster has only one"),
        ("redis+cluster://a:sesame,b", "has a host that is none"),
        ("redis+cluster://a:70000", "has a host that is none"),
        ("redis+cluster://a,,b", "has a host that is none"),
        ("redis+cluster://", "has a host that is none"),
        ("redis+cluster://[sesame", "is no URL"),
        ("redis+cluster://a/4", "a Cluster has only one"),
    ],
)
def test_a_wrong_one_is_refused_with_how_it_is_written_and_nothing_of_it_is_said(url, says):
    with pytest.raises(ConfigurationError) as raised:
        parse(url)
    assert says in str(raised.value)
    assert raised.value.remedy.startswith("Write it as redis")
    assert "sesame" not in f"{raised.value} {raised.value.remedy}"


def address_of(**settings):
    return of_settings(load(None, {}, settings), "unix:///run/own.sock")


def test_user_and_password_come_from_the_url_or_from_settings(tmp_path):
    file = tmp_path / "password"
    file.write_text("first\n")
    address = address_of(redis_url="redis+cluster://me:p%40ss@a", redis_user="")
    assert address.credentials() == ("me", "p@ss")
    assert "p@ss" not in repr(address)
    address = address_of(redis_url="redis+sentinel://me@a/main", redis_user="other", redis_password_file=str(file))
    assert address.credentials() == ("other", "first")
    file.write_text("second\n")
    assert address.credentials() == ("other", "second")
    assert address_of(redis_url="redis://a").credentials() == ()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"redis_replicas": 1}, "redis_url names none"),
        ({"redis_password_file": "x"}, "redis_url names none"),
        ({"redis_url": "rediss://a", "redis_tls_cert": "x"}, "go together"),
        ({"redis_url": "redis://a", "redis_tls_ca": "x"}, "for a Redis with TLS"),
        ({"redis_url": "redis+cluster://u:p@a", "redis_password_file": "x"}, "one in redis_password_file"),
        ({"redis_url": "redis://a", "redis_replicas": 11}, "expected 0 to 10"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        address_of(**settings)
