"""Shell completion, generated from the tree of commands."""

from __future__ import annotations

import sys
from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script for a shell.

    For example:

      gatepost completion bash > ~/.local/share/bash-completion/completions/gatepost
      gatepost completion zsh > "${fpath[1]}/_gatepost"
      gatepost completion fish > ~/.config/fish/completions/gatepost.fish
    """
    from cli.app import build

    sys.stdout.write(build().generate_completion(prog_name="gatepost", shell=shell) + "\n")
    return 0
