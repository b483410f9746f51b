"""Measurements of Gatepost beside a peer on the same machine. `bench/README.md` has the commands and the last figures."""
