"""compose.yaml without an engine: every name in it exists, every setting and command is one of ours, every configuration is read by its program."""

from __future__ import annotations

import ipaddress
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from cli.main import plain_words
from pipeline.configuration import load
from pipeline.settings import Settings
from pipeline.units import EngineAddress
from tests.support.composed import compose, environment, is_ours, variables
from tests.support.servers import ROOT, need
from workers.roles import ROLES

# What the Compose Specification knows, as far as we use it: https://github.com/compose-spec/compose-spec/blob/main/spec.md
TOP = {"services", "networks", "volumes", "configs"}
SERVICE = {
    "build", "cap_drop", "command", "configs", "depends_on", "environment", "healthcheck", "hostname", "image", "init", "networks",
    "ports", "profiles", "read_only", "restart", "scale", "security_opt", "stop_grace_period", "tmpfs", "ulimits", "user", "volumes",
}  # fmt: skip
LISTS = {"cap_drop", "command", "configs", "depends_on", "ports", "profiles", "security_opt", "tmpfs", "volumes"}
CREDENTIALS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
DURATION = re.compile(r"\d+(ms|s|m|h)")

FILE = compose()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
MANY = {name: service for name, service in SERVICES.items() if "many" in service["profiles"]}
OURS = {name: service for name, service in SERVICES.items() if is_ours(service)}
WORKERS = {name: service for name, service in OURS.items() if name in MANY}


@pytest.mark.parametrize("name", SERVICES)
def test_every_name_in_a_service_is_one_that_there_is(name):
    service = SERVICES[name]
    assert set(service) <= SERVICE
    assert all(isinstance(service[key], list) for key in LISTS & set(service))
    assert service["profiles"] in (["one"], ["many"])
    for other in service.get("depends_on", ()):
        assert SERVICES[other]["profiles"] == service["profiles"]
    assert set(service.get("networks", ())) <= set(FILE["networks"])
    for volume in service.get("volumes", ()):
        source, _, target = volume.partition(":")
        assert source in FILE["volumes"]
        assert target.startswith("/")
    for config in service.get("configs", ()):
        assert (ROOT / FILE["configs"][config["source"]]["file"]).is_file()
    for port in service.get("ports", ()):
        assert re.fullmatch(r"\d+:\d+", port)
    assert DURATION.fullmatch(service.get("stop_grace_period", "10s"))
    if is_ours(service):
        check = service["healthcheck"]
        assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout", "start_period"))


def test_nothing_in_it_is_used_by_nobody():
    assert {key for key in FILE if not key.startswith("x-")} == TOP
    for kind in ("volumes", "networks", "configs"):
        used = [part for service in SERVICES.values() for part in service.get(kind, ())]
        names = {part["source"] if isinstance(part, dict) else part.partition(":")[0] for part in used}
        assert names == set(FILE[kind])


def test_both_ways_to_run_it_are_there_and_one_machine_is_the_default():
    assert variables()["COMPOSE_PROFILES"] == "one"
    assert {name for name in SERVICES if name not in MANY} == {"gatepost"}
    assert set(ROLES) <= set(MANY)
    assert MANY["receiver"]["scale"] >= 2
    for service in SERVICES.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_it_can_be_read_without_the_file_of_variables():
    assert compose({})["services"].keys() == SERVICES.keys()


@pytest.mark.parametrize("name", OURS)
def test_every_setting_and_command_is_one_of_ours(name):
    service = OURS[name]
    variables = environment(service)
    assert {key for key in variables if not key.startswith("GATEPOST_")} <= CREDENTIALS
    assert {key.removeprefix("GATEPOST_").lower() for key in variables if key not in CREDENTIALS} <= set(
        Settings.__struct_fields__
    )
    settings = load(environ=variables)
    if name == "gatepost":
        assert not settings.redis_url
        return
    found = plain_words(service["command"])
    assert found is not None
    command, role, options = found
    assert (command, role) == ("worker", name)
    assert role in ROLES
    assert f"http://{EngineAddress.parse(options['metrics'])}/healthz" in service["healthcheck"]["test"][3]
    assert settings.bodies_store, "or bodies would be on one machine only"
    assert settings.archive_store


def test_all_workers_are_told_the_same():
    assert len({tuple(sorted(environment(service).items())) for service in WORKERS.values()}) == 1


def test_the_balancer_is_whom_the_receivers_believe_and_knows_their_name():
    balancer = MANY["balancer"]
    address = ipaddress.ip_address(balancer["networks"]["mail"]["ipv4_address"])
    assert address in ipaddress.ip_network(FILE["networks"]["mail"]["ipam"]["config"][0]["subnet"])
    settings = load(environ=environment(MANY["receiver"]))
    assert list(settings.proxy_networks) == [ipaddress.ip_network(address)]
    assert balancer["environment"]["RECEIVERS"] == f"receiver:{_smtp_port()}"
    assert balancer["ports"] == [f"25{balancer['environment']['LISTEN']}"]


def _smtp_port() -> str:
    """Of the image."""
    found = re.search(r"GATEPOST_SMTP=\S+:(\d+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert found
    return found[1]


def test_the_store_can_be_reached_by_workers_only():
    assert FILE["networks"]["store"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gatepost", "balancer"}
    assert "store" not in MANY["balancer"]["networks"]


def checked(file: Path) -> None:
    done = subprocess.run(
        [need("haproxy"), "-c", "-f", file], env=environment(MANY["balancer"]), capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


def test_haproxy_reads_its_configuration():
    checked(ROOT / FILE["configs"]["haproxy"]["file"])


# The page about it


def blocks(first: str) -> str:
    """The example on the page that has such a line, as it would be in a file."""
    page = (ROOT / "docs" / "many-machines.md").read_text("utf-8")
    for found in re.finditer(r"(?:^ {4,}\S[^\n]*\n|^\n(?= {4}))+", page, re.MULTILINE):
        text = textwrap.dedent(found[0]).strip() + "\n"
        if first in text:
            return text
    raise AssertionError(first)


def test_the_settings_on_the_page_are_settings(tmp_path):
    file = tmp_path / "gatepost.toml"
    file.write_text(blocks("/etc/gatepost.toml, the same"))
    settings = load(file, environ={})
    assert settings.redis_replicas == 1
    assert settings.bodies_store


def test_haproxy_reads_the_backend_on_the_page(tmp_path):
    above = (ROOT / "docs/examples/haproxy.cfg").read_text("utf-8").partition("\nbackend receivers")[0] + "\n"
    file = tmp_path / "haproxy.cfg"
    file.write_text(above + blocks("server mx1"))
    checked(file)


def test_the_unit_on_the_page_starts_a_worker():
    command = re.search(r"^ExecStart=\S+ (.*)$", blocks("ExecStart=").replace("%i", "receiver"), re.MULTILINE)
    assert command
    found = plain_words(command[1].split())
    assert found is not None
    assert found[1] in ROLES
