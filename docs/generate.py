"""Writes the parts of the documentation that follow from the code: the diagram of states, the lists of settings, of replies, of the
classes of servers' answers, of findings, and of what is measured.

Run `python -m docs.generate` after a change to one of these; a test says when it was forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import ProcessCollector

import pipeline.replies
from pipeline import diagnosis
from pipeline.configuration import describe
from pipeline.diagnosis.words import DOES
from pipeline.meters import Instrument
from pipeline.metrics import OF_PROCESSES, OF_STORE
from pipeline.replies import Reply
from pipeline.state import NEXT, TERMINAL, Stage
from workers.monitoring.exposition import NAMESPACE

DOCS = Path(__file__).parent


def states() -> str:
    """The table of the state machine as a Mermaid diagram."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in NEXT.items():
        name = str(event.__struct_config__.tag)
        arrows.setdefault((before.value if before else "[*]", after.value), []).append(name)
    lines = [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in arrows.items()]
    ends = [f"    {stage.value} --> [*]" for stage in Stage if stage in TERMINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, *ends, "```"])


def settings() -> str:
    """Every setting with its default and what it means."""
    rows = [f"| `{name}` | `{default}` | {text} |" for name, default, text in describe()]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def replies() -> str:
    """Every reply with its name."""
    named = {reply for reply in vars(pipeline.replies).values() if isinstance(reply, Reply)}
    rows = [
        f"| {reply.code} {reply.enhanced} | {reply.text} | `{reply.name}` |"
        for reply in sorted(named, key=lambda reply: (reply.code, reply.enhanced, reply.name))
        if reply.code >= 400
    ]
    return "\n".join(["| code | text | name |", "| --- | --- | --- |", *rows])


def classes() -> str:
    """What servers' refusals are about, and what follows."""
    rows = []
    for name, known in diagnosis.read().classes.items():
        others = sorted(
            {rule.action for rule in diagnosis.read().rules if rule.about == name and rule.action} - {known.action}
        )
        but = f" Some rules: {', '.join(others)}." if others else ""
        rows.append(f"| `{name}` | {known.title['en']} | {known.action} | {DOES[known.action]['en']}{but} |")
    return "\n".join(["| class | what it is about | action | what Gatepost does |", "| --- | --- | --- | --- |", *rows])


EXPLAINED = ("phishing", "attachments", "lists", "classifier", "engines")
"""Pages with tables of findings."""


def explained() -> dict[str, tuple[str, str]]:
    """Name -> page and section, of all that begin a row of a table on one of these pages."""
    found: dict[str, tuple[str, str]] = {}
    for page in EXPLAINED:
        section = ""
        for line in (DOCS / f"{page}.md").read_text("utf-8").splitlines():
            if line.startswith("#"):
                section = line.lstrip("# ")
            elif line.startswith("| `"):
                for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", line.split("|")[1]):
                    found.setdefault(name, (page, section))
    return found


def findings() -> str:
    """An index of all findings."""
    rows = [
        f"| `{name}` | [{page}: {section}]({page}.md#{anchor_of(section)}) |"
        for name, (page, section) in sorted(explained().items())
    ]
    return "\n".join(["| finding | where it is explained |", "| --- | --- |", *rows])


def anchor_of(section: str) -> str:
    """Of a heading, as GitHub makes them."""
    return re.sub(r"[^\w -]", "", section.lower()).replace(" ", "-")


def metrics() -> str:
    """Everything that is measured, with what the kernel says of each process."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {_where(one)} | {one.text} |"
        for one in (*OF_PROCESSES, *OF_STORE)
    ]
    rows += [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | | each process | {family.documentation} |"
        for family in ProcessCollector(NAMESPACE, registry=None).collect()
    ]
    return "\n".join(["| metric | kind | labels | where | meaning |", "| --- | --- | --- | --- | --- |", *sorted(rows)])


def _where(one: Instrument) -> str:
    return "store" if one in OF_STORE else ", ".join(one.roles) or "each process"


GENERATED = {
    "monitoring.md": ("metrics", metrics),
    "findings.md": ("findings", findings),
    "architecture.md": ("states", states),
    "settings.md": ("settings", settings),
    "front-door.md": ("replies", replies),
    "replies.md": ("classes", classes),
}


def updated(name: str) -> str:
    """A page with its generated part renewed."""
    mark, make = GENERATED[name]
    text = (DOCS / name).read_text("utf-8")
    pattern = re.compile(rf"(<!-- begin {mark} -->\n).*?(\n<!-- end {mark} -->)", re.DOTALL)
    assert pattern.search(text), f"{name} has no place for {mark}"
    return pattern.sub(lambda match: match[1] + make() + match[2], text)


if __name__ == "__main__":
    for page in GENERATED:
        (DOCS / page).write_text(updated(page), "utf-8")
