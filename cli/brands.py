"""`gatepost brands`: the houses in whose name people are deceived, and what a name or a host says about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from pipeline.scanning.builtin.tables import Brands

app = noun(
    "brands",
    """The houses in whose name people are deceived.

A table says their names and domains. The setting brands names one of your own;
see docs/phishing.md.

For example:

  gatepost brands explain paypal-login.example
  gatepost brands explain "PayPal Service"
  gatepost brands table > brands.txt
""",
)

_HOW: Final = {
    "same": "looks the same as",
    "letter": "is one letter off",
    "word": "adds a word of bait to",
    "part": "adds a word to",
}
TABLE = Annotated[Path | None, Parameter(help="Another table than the one in force.")]


@app.command
def explain(
    text: Annotated[str, Parameter(help="A sender's name, or a host as it stands in an address or a link.")],
    /,
    *,
    table: TABLE = None,
    common: Common = DEFAULT,
) -> int:
    """Which brand a name names, whose a host is, and what it looks like.

    Exit code 1 when it says nothing.

    For example:

      gatepost brands explain "PayPal Service"
      gatepost brands explain paypa1.example
      gatepost brands explain www.stadtwerke.example --table brands.txt
    """
    from cli.render import Screen, clean, document

    found = _about(text[:500], _table(table, common))
    if common.json:
        document(found)
    else:
        Screen().say(clean(text), (": ", "dim"), clean(_said(found)))
    return 0 if found["brand"] else 1


@app.command(name="table")
def table_() -> int:
    """Print the table that comes with Gatepost, to be changed.

    Its head says how a line is written. The setting brands puts a changed one in force.

    For example:

      gatepost brands table > brands.txt
    """
    from pipeline.scanning.builtin.tables import shipped_brands

    sys.stdout.write(shipped_brands())
    return 0


def _table(path: Path | None, common: Common) -> Brands:
    from pipeline.scanning.builtin.tables import brands

    return brands(str(path) if path is not None else common.settings().brands)


def _about(text: str, table: Brands) -> dict[str, Any]:
    from pipeline.scanning.builtin.targets import target_of
    from pipeline.scanning.organisation import is_known_name, organisation, registered_label

    found: dict[str, Any] = {"text": text, "brand": "", "how": "", "name": ""}
    host = target_of(text if "://" in text else f"//{text.rpartition('@')[2]}").host
    if " " not in text and is_known_name(host):
        owner = table.owner(host)
        if owner is not None:
            return found | {"brand": owner.name, "how": "owns", "name": organisation(host)}
        like = table.index.alike(registered_label(host))
        if like is not None:
            return found | {"brand": table.labels[like.name].name, "how": like.how, "name": like.name}
    claim = table.claimed(text)
    if claim is not None:
        return found | {"brand": claim.brand.name, "how": "claims" if claim.alone else "mentions"}
    return found


def _said(found: dict[str, Any]) -> str:
    brand, how, name = found["brand"], found["how"], found["name"]
    if not brand:
        return "no brand that is known"
    if how == "owns":
        return f"{name} is a domain of {brand}"
    if how in _HOW:
        return f"{_HOW[how]} {name}, a name of {brand}"
    return f"says to be {brand}" if how == "claims" else f"names {brand}, beside other words"
