"""What an object finds out about itself when it is first asked, and then has as a plain attribute.

As functools.cached_property, which until Python 3.12 takes a lock at the first look: of several microseconds that a message asks for
some twenty times. Two threads that ask at once both find out, and the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class lazy(Generic[Value]):  # noqa: N801 - a decorator
    """Of a method of a class that has a `__dict__`."""

    def __init__(self, find_out: Callable[[Any], Value]) -> None:
        self._find_out = find_out
        self._name = find_out.__name__
        self.__doc__ = find_out.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Value: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | Value:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._find_out(instance)
        return value
