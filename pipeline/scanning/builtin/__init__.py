"""The engine that is always there: needs no service and no network."""

from pipeline.scanning.builtin.engine import BuiltIn

__all__ = ["BuiltIn"]
