"""Looking at a process as Prometheus and a probe do."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Page(msgspec.Struct, frozen=True):
    status: int
    type: str
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def numbers(self) -> Numbers:
        parse = parse_openmetrics if self.type.startswith("application/openmetrics") else parse_plain
        families = list(parse(self.body))
        assert len({family.name for family in families}) == len(families)
        return Numbers([sample for family in families for sample in family.samples])


class Numbers:
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples of this name that have these labels."""
        wanted = labels.items()
        return sum(one.value for one in self.samples if one.name == name and wanted <= one.labels.items())

    def values(self, name: str, label: str) -> dict[str, float]:
        return {one.labels[label]: one.value for one in self.samples if one.name == name}

    def labels(self) -> set[str]:
        return {value for one in self.samples for value in one.labels.values()}

    def names(self) -> set[str]:
        return {one.name for one in self.samples}


def look(place: Path, path: str, *, accept: str = "", timeout: float = 20) -> Page:
    """GET at a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(place))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    fields: Mapping[str, str] = dict(line.split(": ", 1) for line in lines[1:])
    assert int(fields["Content-Length"]) == len(body.encode())
    return Page(int(lines[0].split()[1]), fields["Content-Type"], body)
