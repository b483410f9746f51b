"""`gatepost config`: the settings in force, and a file to start from."""

from __future__ import annotations

import re

from cli.options import DEFAULT, Common, noun

app = noun(
    "config",
    """Show the settings in force, or a sample file.

Settings come from gatepost.toml; GATEPOST_<NAME> in the environment goes before
it, and options of a command before both.

For example:

  gatepost config show
  gatepost config sample > gatepost.toml
""",
)


@app.command
def show(*, common: Common = DEFAULT) -> int:
    """Show every setting in force; passwords are masked.

    For example:

      gatepost config show
      gatepost config show --json
    """
    from cli.render import Screen, clean, document
    from pipeline.configuration import written
    from pipeline.settings import Settings

    settings = common.settings()
    default = Settings()
    values = {name: written(getattr(settings, name)) for name in Settings.__struct_fields__}
    values["redis_url"] = masked(values["redis_url"])
    values["alert_webhook"] = place(values["alert_webhook"])
    changed = {name for name in values if getattr(settings, name) != getattr(default, name)}
    if common.json:
        document({name: {"value": value, "default": name not in changed} for name, value in values.items()})
        return 0
    screen = Screen()
    width = max(map(len, values))
    for name, value in values.items():
        style = "bold" if name in changed else "dim"
        screen.say((f"{name:<{width}} = {clean(value)}", style))
    return 0


@app.command
def sample() -> int:
    """Print a gatepost.toml with every setting at its default, explained.

    For example:

      gatepost config sample > gatepost.toml
    """
    import sys

    from pipeline.configuration import sample

    sys.stdout.write(sample())
    return 0


def masked(url: str) -> str:
    """A URL without its password."""
    shown = re.sub(r"(//[^/@:]*:).*(@)", r"\1***\2", url)
    return re.sub(r"([?&]password=)[^&\"]*", r"\1***", shown)


def place(url: str) -> str:
    """A URL without what follows its host, which is often a secret: whoever has it can post there."""
    return re.sub(
        r"(://)(?:[^/?#\"]*@)?([^/?#\"]*)([/?#][^\"]+)?",
        lambda found: found[1] + found[2] + ("/***" if found[3] else ""),
        url,
    )
