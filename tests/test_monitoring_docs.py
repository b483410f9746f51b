"""Dashboard, rules and compose file name what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import ProcessCollector

from pipeline import metrics
from tests.support.servers import ROOT
from workers.monitoring.exposition import NAMESPACE

FOLDER = ROOT / "docs" / "monitoring"
FUNCTIONS = {
    "by", "and", "or", "instance", "sum", "max", "min", "rate", "increase", "time", "histogram_quantile", "label_values",
}  # fmt: skip


def known() -> dict[str, set[str]]:
    """Every name of a sample -> its labels."""
    found: dict[str, set[str]] = {}
    for one in (*metrics.OF_PROCESSES, *metrics.OF_STORE):
        added = {"process", "role", "instance"}
        if one.kind == "histogram":
            found |= {one.name + end: {*one.labels, *added, "le"} for end in ("_bucket", "_sum", "_count")}
        else:
            found[one.name] = {*one.labels, *added}
    for family in ProcessCollector(NAMESPACE, registry=None).collect():
        found |= {sample.name: {"process", "role", "instance"} for sample in family.samples}
    return found


def panels() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return group["rules"]


def expressions() -> Iterator[str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in rules())
    yield from (one["query"]["query"] for one in dashboard["templating"]["list"] if isinstance(one["query"], dict))


ALL = sorted(set(expressions()))


@pytest.mark.parametrize("expression", ALL)
def test_every_metric_and_label_of_an_expression_exists(expression):
    there = known()
    names = re.findall(r"gatepost_\w+", expression)
    assert names
    assert set(names) <= set(there)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression))
    labels |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    assert labels <= set().union(*(there[name] for name in names))
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")
    without = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", "", expression)
    assert {word for word in re.findall(r"[a-z_]{2,}", without) if not word.startswith("gatepost_")} <= FUNCTIONS


@pytest.mark.parametrize("expression", ALL)
def test_a_counter_is_never_looked_at_without_its_rate(expression):
    for name in re.findall(r"gatepost_\w+(?:_total|_bucket|_count)\b", expression):
        assert re.search(rf"(?:rate|increase)\({name}\b", expression)


def test_every_instrument_is_on_the_dashboard_or_said_to_be_for_looking_closer():
    named = set(re.findall(r"gatepost_\w+", " ".join(ALL)))
    closer = {
        "gatepost_domains", "gatepost_selfcheck_timestamp_seconds", "gatepost_store_read_timestamp_seconds", "gatepost_duty_items_total", "gatepost_engine_messages_total", "gatepost_projection_batch_events",
        "gatepost_projection_fold_seconds", "gatepost_sync_runs_total", "gatepost_work_parked_total",
        "gatepost_work_taken_over_total",
    }  # fmt: skip
    left = {
        one.name
        for one in (*metrics.OF_PROCESSES, *metrics.OF_STORE)
        if not any(name.startswith(one.name) for name in named)
    }
    assert left == closer


def test_panels_have_titles_of_their_own_and_do_not_overlap():
    shown = [panel for panel in panels() if panel["type"] != "row"]
    assert len({panel["title"] for panel in shown}) == len(shown)
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_each_rule_says_what_is_wrong_what_to_do_and_how_bad_it_is():
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert re.fullmatch(r"Gatepost[A-Za-z]+", rule["alert"])
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "remedy"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_container_is_asked_whether_it_is_well():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["gatepost"]
    place = service["environment"]["GATEPOST_METRICS"]
    kind, program, option, code = service["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    compile(code, "healthcheck", "exec")
    assert f"http://{place}/healthz" in code
