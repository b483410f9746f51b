"""Reading the views: typed results, merged over all partitions. What a command line, a console or a report asks for.

Times are ns since 1970 (UTC). Text that came from outside (replies, addresses) is as it came: whoever shows it neutralises it.
"""

from projections.readers.books import BooksReport, DomainBooks, read_books
from projections.readers.books_check import BooksCheck, last_check
from projections.readers.check import Heads, Mismatch, check_books
from projections.readers.classifier import Learnt, read_learnt
from projections.readers.destinations import ServerQueue
from projections.readers.failures import DomainFailures, FailureGroup, read_failures
from projections.readers.health import ViewHealth, read_health
from projections.readers.queue import (
    DomainQueue,
    QueueError,
    QueueReport,
    WaitingMessage,
    read_queue,
    read_waiting,
)
from projections.readers.refusals import DomainRefusals, DomainTried, Missing, read_refusals, read_tried

__all__ = [
    "BooksCheck",
    "BooksReport",
    "DomainBooks",
    "DomainFailures",
    "DomainQueue",
    "DomainRefusals",
    "DomainTried",
    "FailureGroup",
    "Heads",
    "Learnt",
    "Mismatch",
    "Missing",
    "QueueError",
    "QueueReport",
    "ServerQueue",
    "ViewHealth",
    "WaitingMessage",
    "check_books",
    "last_check",
    "read_books",
    "read_failures",
    "read_health",
    "read_learnt",
    "read_queue",
    "read_refusals",
    "read_tried",
    "read_waiting",
]
