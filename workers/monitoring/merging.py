"""Several expositions as one: each sample says which process it is of, and each family stands once.

Prometheus wants all samples of a family together, with HELP and TYPE before them. The expositions are our own processes', so
they are taken as `prometheus_client` writes them, line by line: parsing them into objects and writing these again would cost a
hundred times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

END = "# EOF"


def merged(parts: Iterable[tuple[Mapping[str, str], str]], *, as_openmetrics: bool) -> str:
    """(labels to add, exposition) of each -> one exposition."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for labels, text in parts:
        added = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        family = ""
        for line in text.split("\n"):
            if line.startswith("# "):
                if line == END:
                    continue
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                kind = line.split(" ", 2)[1]
                if not any(known.split(" ", 2)[1] == kind for known in head):
                    head.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, added))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    if as_openmetrics:
        lines.append(END)
    return "".join(f"{line}\n" for line in lines)


def _labelled(sample: str, added: str) -> str:
    """A sample with more labels. Its name has neither a brace nor a space in it, so the first of them ends it."""
    if not added:
        return sample
    space, brace = sample.find(" "), sample.find("{")
    if 0 <= brace < space:
        return f"{sample[: brace + 1]}{added},{sample[brace + 1 :]}"
    return f"{sample[:space]}{{{added}}}{sample[space:]}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
