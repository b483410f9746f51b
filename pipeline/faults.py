"""Everything that can go wrong, as one tree, named after the party that has to act.

    GatepostError
    ├── ConfigurationError      the operator: a setting, a file, the data directory (exit code 2)
    ├── NotFoundError           the caller: no such domain, address, message (exit code 3)
    ├── RefusedError            the caller: what was asked is not allowed in this state (exit code 4)
    ├── StoreError              Redis or the body store
    │   ├── StoreAwayError      cannot be reached just now: wait and try again (451 4.3.0, exit code 5)
    │   ├── StoreFullError      out of memory or disk: refuse new mail (452 4.3.1, exit code 5)
    │   ├── ClockError          our clock is not Redis's, and a lease was to be judged by it: ask again by the right time (exit code 5)
    │   └── UnsafeStoreError    would lose mail as it is configured (exit code 2)
    ├── ConflictError           somebody else moved the message first: reload, or acknowledge and move on
    ├── LeaseLostError          the worker was away too long and its work was given to another
    └── CorruptError            stored bytes that cannot be read: park them, never drop them

An exception's text is for the operator; nothing of it is ever sent to an SMTP client.
"""

from __future__ import annotations


class GatepostError(Exception):
    """Base of all faults. `remedy` says in one sentence what the reader can do about it."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigurationError(GatepostError):
    exit_code = 2


class NotFoundError(GatepostError):
    exit_code = 3


class RefusedError(GatepostError):
    exit_code = 4


class StoreError(GatepostError):
    exit_code = 5


class StoreAwayError(StoreError):
    pass


class StoreFullError(StoreError):
    pass


class ClockError(StoreError):
    def __init__(self, ahead: float) -> None:
        """`ahead`: seconds; negative: behind."""
        super().__init__(
            f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Redis's",
            remedy="Keep the clocks of all machines together (chrony, systemd-timesyncd). Workers go by Redis's meanwhile.",
        )


class UnsafeStoreError(StoreError):
    exit_code = 2


class ConflictError(GatepostError):
    exit_code = 4


class LeaseLostError(GatepostError):
    exit_code = 4


class CorruptError(GatepostError):
    exit_code = 1
