"""Everything that is measured, by name: what a process counts while it works, and what is read from the store.

The names follow Prometheus's rules: base units, `_total` for what only grows. No label ever holds an address, a message id or anything
that a stranger wrote; a domain stands only in the view of the store, of which the largest queues alone are shown. `docs/monitoring.md`
is generated from this list.
"""

from __future__ import annotations

from typing import Final

from pipeline.meters import SIZES, Counter, Gauge, Histogram, Instrument, Pulses

PULSES: Final = Pulses()
TURN: Final = 60.0
"""Seconds that one turn of a worker's main loop may take; most take a hundredth."""

_RECEIVER: Final = ("receiver",)
_SCANNER: Final = ("scanner",)
_DELIVERER: Final = ("deliverer",)
_PROJECTOR: Final = ("projector",)
_GATEWAY: Final = ("gateway",)
"""What `gatepost up` says for all of its processes."""

# Receivers.
SMTP_CONNECTIONS: Final = Counter(
    "gatepost_smtp_connections_total", "Connections that clients opened.", roles=_RECEIVER
)
SMTP_SESSIONS: Final = Gauge("gatepost_smtp_sessions", "Connections of clients that are open now.", roles=_RECEIVER)
SMTP_ACCEPTED: Final = Counter(
    "gatepost_smtp_accepted_messages_total", "Transactions that ended with 250: kept, and ours from then on.",
    roles=_RECEIVER,
)  # fmt: skip
SMTP_ACCEPTED_BYTES: Final = Counter(
    "gatepost_smtp_accepted_bytes_total", "Octets of their content, without dot-stuffing.", roles=_RECEIVER
)
SMTP_REFUSALS: Final = Counter(
    "gatepost_smtp_refusals_total",
    "Commands, messages and clients that were answered with 4xx or 5xx, by the name of the reply (docs/front-door.md).",
    "reply", "class", roles=_RECEIVER,
)  # fmt: skip
SMTP_BRAKED: Final = Counter(
    "gatepost_smtp_braked_messages_total", "Messages whose MAIL was answered late, as more came than could be handled.",
    roles=_RECEIVER,
)  # fmt: skip
SMTP_BRAKE: Final = Gauge(
    "gatepost_smtp_brake_seconds", "By how much the answer to MAIL is held back now; with 452, brake_delay.",
    roles=_RECEIVER,
)  # fmt: skip
SMTP_TLS: Final = Counter(
    "gatepost_smtp_tls_sessions_total", "Sessions that were encrypted with STARTTLS, by version.", "version",
    roles=_RECEIVER,
)  # fmt: skip
SMTP_TLS_FAILED: Final = Counter(
    "gatepost_smtp_tls_failures_total", "Handshakes that failed after STARTTLS.", roles=_RECEIVER
)
SMTP_DATA_SECONDS: Final = Histogram(
    "gatepost_smtp_data_seconds",
    "Seconds from 354 to the reply to the final dot: the client's sending, and our keeping.", roles=_RECEIVER,
)  # fmt: skip

# The log: whoever appends.
COMMIT_STEPS: Final = Counter("gatepost_commit_steps_total", "Steps that were handed to the log.")
COMMIT_BATCH: Final = Histogram(
    "gatepost_commit_batch_steps", "Steps in one call to Redis: its count is the number of calls.", bounds=SIZES
)
COMMIT_SECONDS: Final = Histogram("gatepost_commit_seconds", "Seconds that such a call took, with its fsync.")
REDIS_SECONDS: Final = Histogram("gatepost_redis_script_seconds", "Seconds that a script took, as we see it.", "script")
REDIS_FAILURES: Final = Counter(
    "gatepost_redis_failures_total",
    "Calls to Redis that failed: away (cannot be reached), full (takes no more), other.", "kind",
)  # fmt: skip
BODIES_FAILURES: Final = Counter(
    "gatepost_bodies_failures_total",
    "Questions to the object store of bodies that were not answered: away (cannot be reached), denied (it does not let us).",
    "kind",
)

# Work that is read from streams, and duties done from time to time.
WORK_FAILED: Final = Counter(
    "gatepost_work_failures_total", "Work that failed for a reason of ours and is tried again.", "kind"
)
WORK_PARKED: Final = Counter("gatepost_work_parked_total", "Work that failed each time and was set aside.", "kind")
WORK_TAKEN_OVER: Final = Counter(
    "gatepost_work_taken_over_total", "Work that was taken over from a worker that died or hung.", "kind"
)
DUTY_RUNS: Final = Counter(
    "gatepost_duty_runs_total", "Times that a duty was done, or failed (result).", "duty", "result"
)
DUTY_ITEMS: Final = Counter("gatepost_duty_items_total", "What there was to do for it.", "duty")
DUTY_SUCCESS: Final = Gauge(
    "gatepost_duty_last_success_timestamp_seconds", "When it was last done, in seconds since 1970.", "duty"
)
SYNC_RUNS: Final = Counter(
    "gatepost_sync_runs_total", "Runs of syncs, by what came of them.", "result", roles=("syncer",)
)

# Scanners.
SCANNED: Final = Counter("gatepost_scanned_messages_total", "Messages judged, by verdict.", "verdict", roles=_SCANNER)
SCAN_SECONDS: Final = Histogram(
    "gatepost_scan_seconds", "Seconds that all engines together took for a message.", roles=_SCANNER
)
SCAN_WAITING: Final = Counter(
    "gatepost_scan_postponed_total", "Messages that were put off because an engine is away.", roles=_SCANNER
)
ENGINE_SECONDS: Final = Histogram(
    "gatepost_engine_seconds", "Seconds that an engine took for a message that it answered.", "engine", roles=_SCANNER
)
ENGINE_MISSING: Final = Counter(
    "gatepost_engine_missing_messages_total", "Messages judged without an engine that should have seen them.", "engine",
    roles=_SCANNER,
)  # fmt: skip
ENGINE_MESSAGES: Final = Counter(
    "gatepost_engine_messages_total", "Messages that an engine was given.", "engine", roles=_SCANNER
)
ENGINE_ERRORS: Final = Counter(
    "gatepost_engine_errors_total", "Messages that it did not answer, or could not look at.", "engine", roles=_SCANNER
)
ENGINE_UP: Final = Gauge(
    "gatepost_engine_up", "1: it is asked; 0: it is away, and left alone for a while.", "engine", roles=_SCANNER
)

# Deliverers.
DELIVERY_OUTCOMES: Final = Counter(
    "gatepost_delivery_outcomes_total",
    "What servers answered for recipients (accepted, deferred, refused, unknown), by the stage of SMTP it ended in.",
    "outcome", "stage", roles=_DELIVERER,
)  # fmt: skip
DELIVERY_BYTES: Final = Counter(
    "gatepost_delivery_bytes_total", "Octets of messages that a server took.", roles=_DELIVERER
)
DELIVERY_SECONDS: Final = Histogram(
    "gatepost_delivery_seconds", "Seconds of a transaction with a server, from MAIL to the reply to the final dot.",
    roles=_DELIVERER,
)  # fmt: skip
DELIVERY_CONNECTIONS: Final = Counter(
    "gatepost_delivery_connections_total",
    "Connections to servers by what came of them: opened; reused (lent once more); failed.", "result",
    roles=_DELIVERER,
)  # fmt: skip
DELIVERY_FAILURES: Final = Counter(
    "gatepost_delivery_connection_failures_total", "Connections that did not come about, by the stage it ended in.",
    "stage", roles=_DELIVERER,
)  # fmt: skip
DELIVERY_OPEN: Final = Gauge(
    "gatepost_delivery_open_connections", "Connections to servers that are open now.", roles=_DELIVERER
)
DELIVERY_SLOTS: Final = Gauge("gatepost_delivery_slots", "Slots that work for a domain now.", roles=_DELIVERER)
DELIVERY_DIALLING: Final = Gauge(
    "gatepost_delivery_dialling_slots", "Those of them that wait for a connection.", roles=_DELIVERER
)

# Projectors.
PROJECTED: Final = Counter("gatepost_projected_events_total", "Log entries folded into views.", roles=_PROJECTOR)
PROJECTED_BATCH: Final = Histogram(
    "gatepost_projection_batch_events", "Log entries of a partition in one fold.", bounds=SIZES, roles=_PROJECTOR
)
PROJECTED_SECONDS: Final = Histogram(
    "gatepost_projection_fold_seconds", "Seconds of a fold of all partitions that have something new.",
    roles=_PROJECTOR,
)  # fmt: skip
PROJECTED_LAG: Final = Gauge(
    "gatepost_projection_lag_seconds",
    "At the last fold: seconds between the appending of the newest entry in it and its being in the view.", "view",
    roles=_PROJECTOR,
)  # fmt: skip

# Each process.
BUILD: Final = Gauge("gatepost_build_info", "1, with what runs.", "version", "python")
LOOP_LAG: Final = Gauge(
    "gatepost_event_loop_lag_seconds", "The longest that the event loop kept something waiting, of the last 30 s."
)
READY: Final = Gauge("gatepost_ready", "1: the process may be given work, as /readyz says.")

# The supervisor of `gatepost up`.
PROCESS_UP: Final = Gauge(
    "gatepost_process_up", "1: the process answers; 0: it is dead, restarting or stuck. One for each of `gatepost up`.",
    "process", "role", roles=_GATEWAY,
)  # fmt: skip
RESTARTS: Final = Counter(
    "gatepost_process_restarts_total", "Processes that died and were started anew.", "role", roles=_GATEWAY
)


def _catalogue() -> tuple[Instrument, ...]:
    return tuple(value for value in globals().values() if isinstance(value, Instrument))


OF_PROCESSES: Final = _catalogue()

# The store as a whole.
STORE_UP: Final = Gauge(
    "gatepost_store_up", "1: Redis answers; 0: it does not, and nothing else of the store is shown but the disk."
)
STORE_READ: Final = Gauge(
    "gatepost_store_read_timestamp_seconds",
    "When what is said of the store was read, in seconds since 1970: it is some seconds old.",
)
QUEUE_MESSAGES: Final = Gauge(
    "gatepost_queue_messages",
    "Messages that wait for a domain: the largest queues (setting metrics_domains), and _other for all further ones.",
    "domain",
)  # fmt: skip
QUEUE_BYTES: Final = Gauge("gatepost_queue_bytes", "Octets of these messages.", "domain")
QUEUE_OLDEST: Final = Gauge("gatepost_queue_oldest_seconds", "Age of the oldest of them.", "domain")
QUEUE_STOPPED: Final = Gauge(
    "gatepost_queue_stopped_domains", "1: nothing is sent to the domain just now (it backs off, or is held).", "domain"
)
WAITING: Final = Gauge("gatepost_waiting_messages", "Messages that wait, of all domains.")
QUARANTINED: Final = Gauge("gatepost_quarantine_messages", "Messages with a copy in quarantine.")
UNSCANNED: Final = Gauge("gatepost_unscanned_messages", "Messages received and not yet judged.")
RESCANS: Final = Gauge("gatepost_postponed_messages", "Messages that wait for an engine that is away.")
DUE: Final = Gauge("gatepost_scheduled_domains", "Domains with waiting mail in the retry schedule.")
HELD: Final = Gauge("gatepost_held_messages", "Messages that somebody holds, or plans the end of.")
OUTBOX: Final = Gauge("gatepost_outbox_messages", "Bounces and redirected mail that are not messages yet.")
PARKED: Final = Gauge("gatepost_parked", "What could not be handled and was set aside (gatepost parked list).")
BOOKS: Final = Gauge(
    "gatepost_books_recipients", "Recipients, since the first event: what came in and what became of it.", "kind"
)
BOOKS_BALANCED: Final = Gauge("gatepost_books_balanced", "1: the books of every domain balance.")
BOOKS_WRONG: Final = Gauge("gatepost_books_unbalanced_domains", "Domains whose books do not balance.")
VIEW_LAG: Final = Gauge(
    "gatepost_view_lag_seconds", "Age of the first log entry that is not in the view; 0 when all are.", "view"
)
VIEW_DAMAGED: Final = Gauge("gatepost_view_damaged_entries", "Log entries that the view could not read.", "view")
VIEW_BROKEN: Final = Gauge("gatepost_view_broken_writes", "Writes of the view that Redis refused.", "view")
BOOKS_MISMATCHES: Final = Gauge(
    "gatepost_books_mismatched_messages",
    "Messages of which the books say something else than they do, at the last check.",
)
BOOKS_CHECKED: Final = Gauge(
    "gatepost_books_check_timestamp_seconds", "When the books were last checked, in seconds since 1970; 0: never."
)
VIEWS_DIFFER: Final = Gauge(
    "gatepost_selfcheck_differences", "Differences that the last self-check found between views and events."
)
VIEWS_CHECKED: Final = Gauge(
    "gatepost_selfcheck_timestamp_seconds", "When it ended, in seconds since 1970; 0: there was none yet."
)
ALERTS: Final = Gauge("gatepost_alerts", "Gatepost's own alerts that are raised now (gatepost alerts).")
NOTICES: Final = Gauge("gatepost_alert_notices", "What is still to be told of alerts, by mail or webhook.")
ARCHIVED_BYTES: Final = Gauge("gatepost_archive_bytes", "Octets of the archive's segments.")
ARCHIVED_ENTRIES: Final = Gauge("gatepost_archive_entries", "Log entries in them.")
UNSEALED: Final = Gauge("gatepost_archive_unsealed_entries", "Log entries that are not in the archive yet.")
LOG_ENTRIES: Final = Gauge("gatepost_log_entries", "Entries of the log in Redis, of all partitions.")
LOG_BYTES: Final = Gauge("gatepost_log_bytes", "Memory of Redis that these take, estimated.")
REDIS_USED: Final = Gauge("gatepost_redis_used_bytes", "Memory that Redis uses.")
REDIS_MOST: Final = Gauge("gatepost_redis_max_bytes", "Memory that it may use (maxmemory); 0: there is no limit.")
DISK_FREE: Final = Gauge("gatepost_disk_free_bytes", "Free disk at the data directory.")
DOMAINS: Final = Gauge("gatepost_domains", "Domains in the directory.")

OF_STORE: Final = tuple(one for one in _catalogue() if one not in OF_PROCESSES)
