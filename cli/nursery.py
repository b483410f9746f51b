"""`python -m cli.nursery DESCRIPTOR`: the process that workers are forked from, when `gatepost up` needs a new one."""

from __future__ import annotations

import os
import socket
import sys

from cli.main import main, without_rich

if __name__ == "__main__":
    without_rich()
    from workers.nursery import tend

    with socket.socket(fileno=int(sys.argv[1])) as channel:
        tend(channel, os.getppid(), main)
