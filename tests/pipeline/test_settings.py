"""Settings: three sources, one clear line for each mistake."""

from __future__ import annotations

import ipaddress
import tomllib

import pytest

from pipeline.configuration import describe, load, sample
from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.units import SECOND, Duration, Endpoint, Size


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("7d", 604800), (30, 30), ("1.5h", 5400), ("200ms", 0.2), ("2", 2), (0.5, 0.5)]
)
def test_times(text, seconds):
    assert Duration.parse(text) == round(seconds * SECOND)


@pytest.mark.parametrize("text", ["", "x", "-1", "5 weeks", None, True])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="expected a time"):
        Duration.parse(text)


@pytest.mark.parametrize(("text", "octets"), [("256 KiB", 262144), ("1GiB", 1 << 30), (1234, 1234), ("10m", 10 << 20)])
def test_sizes(text, octets):
    assert Size.parse(text) == octets


@pytest.mark.parametrize("text", ["15m", "7d", "36h", "200ms", "1s"])
def test_a_time_is_shown_as_it_was_written(text):
    assert Duration.parse(str(Duration.parse(text))) == Duration.parse(text)


@pytest.mark.parametrize("name", ["spam_threshold", "phishing_threshold"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-5", "0", "1e9"])
def test_a_threshold_that_would_let_everything_or_nothing_pass_is_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is"):
        load(None, {f"GATEPOST_{name.upper()}": value})


def test_endpoints():
    assert (Endpoint.parse("[::1]:25").host, Endpoint.parse("[::1]:25").port) == ("::1", 25)
    for bad in ("host", "host:", "host:99999", "a b:25", "::1:25"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            Endpoint.parse(bad)


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path):
    file = tmp_path / "gatepost.toml"
    file.write_text('smtp = "127.0.0.1:1"\nretry_interval = "1m"\nhostname = "a.test"\nreceivers = 3\n')
    environ = {
        "GATEPOST_RETRY_INTERVAL": "2m",
        "GATEPOST_HOSTNAME": "b.test",
        "GATEPOST_ALLOW_NETWORKS": "127.0.0.0/8, ::1",
    }
    found = load(file, environ, {"hostname": "c.test", "data": None})
    assert (found.smtp, found.retry_interval.seconds, found.hostname, found.receivers) == (
        "127.0.0.1:1",
        120,
        "c.test",
        3,
    )
    assert found.allow_networks == (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("retry_intervall = 5", "unknown key 'retry_intervall'; did you mean 'retry_interval'?"),
        ("retry_interval = 'soon'", "retry_interval = 'soon': expected a time"),
        ("smtp = 25", "smtp = 25: expected HOST:PORT"),
        ("receivers = 'two'", "receivers = 'two'"),
        ("allow_networks = '10.0.0.1/8'", "allow_networks"),
        ("allow_networks = 5", "expected a list"),
        ("redis_fsync = 'no'", "expected always or everysec"),
        ("partitions = 0", "partitions is 0; expected 1 to 1024"),
        ("hello_time = 0", "hello_time is 0; expected 0.1 to 604800"),
        ("greeting_delay = '2m'", "greeting_delay is 120; expected 0 to 60"),
        ("session_wasted = 0", "session_wasted is 0; expected 1 to 1e+06"),
        ("client_connections = -1", "client_connections is -1; expected 0 to 1e+07"),
        ("proxy_networks = '10.0.0.1/8'", "proxy_networks"),
        ("tls_key = 'x.pem'", "tls_certificate and tls_key go together"),
        ("this is not toml", "gatepost.toml"),
        ('hostname = "\\ud800"', "gatepost.toml"),
    ],
)
def test_each_mistake_is_one_clear_line(tmp_path, content, says):
    file = tmp_path / "gatepost.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    assert says in str(raised.value)
    assert "\n" not in str(raised.value).strip()
    assert raised.value.exit_code == 2


def test_a_named_file_must_exist_and_the_usual_one_need_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()
    with pytest.raises(ConfigurationError, match="no such file"):
        load(tmp_path / "other.toml", {})


def test_the_sample_is_valid_and_means_the_defaults(tmp_path):
    lines = [line.removeprefix("# ") for line in sample().splitlines() if line.startswith("# ") and " = " in line]
    written = "\n".join(line for line in lines if line.split(" = ")[0] in {name for name, _, _ in describe()})
    assert len(tomllib.loads(written)) == len(describe())
    file = tmp_path / "gatepost.toml"
    file.write_text(written)
    assert load(file, {}) == Settings()
