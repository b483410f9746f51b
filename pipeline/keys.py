"""Every key that Gatepost keeps in Redis, its type and its meaning. Nothing else builds a key.

All keys of one partition carry its number as hash tag, so that on a Redis Cluster they share a slot and one script can
touch them all. `p` is a partition, `d` a domain (lower case, A-labels), `id` a message id. Scores are milliseconds since 1970.

    gp:{p}:log             stream   the log of record: every event of the partition, in order. Fields: s subject (message
                                    id, or @domain), v the subject's version after it, e the event (MessagePack)
    gp:{p}:scan            stream   work for scanners, consumer group `scanners`. Field: id
    gp:{p}:rescan          zset     messages that wait for an engine, by when they are scanned again
    gp:{p}:outbox          stream   bounces that were promised by a `failed` event, other mail of ours that an event speaks of, and what
                                    was redirected, and are not yet messages, consumer group `janitors`. Fields: id (of the new message), m (message it
                                    speaks of or comes from), e (its `received` event), b (its bytes), or c (they are in
                                    the cold store already)
    gp:{p}:report:<d>:<n>  hash     what was sent of a report that goes out by mail: v version, m the Sent (MessagePack)
    gp:{p}:made:<id>       string   there for some days after what was promised became a message: it is made once, however long ago that was
    gp:{p}:promised        set      ids of those in the outbox whose bytes are in the cold store
    gp:{p}:msg:<id>        hash     head of a live message: v version, m the Message (MessagePack). Gone after the last outcome
    gp:{p}:body:<id>       string   the body while it is small and young, or a pointer to it (begins with NUL: bodies/segments.py);
                                    else it is in the cold store
    gp:{p}:expiry          zset     all live messages, by the moment they give up
    gp:{p}:kept            zset     messages with a copy in quarantine, by the time from which it was kept
    gp:{p}:warn            zset     waiting messages whose sender is to be told that they do, by when
    gp:{p}:held            zset     messages that somebody holds, or plans the end of, by the time since when
    gp:{p}:held:<d>        zset     those of one domain
    gp:{p}:ends            zset     those of them whose hold ends by itself, by the time when it does
    gp:{p}:queue:<d>       zset     messages waiting to leave for a domain, by the time from which each may be tried; one
                                    in a worker's hands has the end of its lease as score
    gp:{p}:due             zset     domains with waiting mail, by the time of their next attempt: the retry schedule
    gp:{p}:slots:<d>       zset     connection slots in use for a domain: fencing token, by end of lease
    gp:{p}:route:<d>       hash     head of a domain's route: v version, m the Route (MessagePack), until (ms; not to be
                                    tried before), open (1 after a success), full (1: all slots are in use), good (ms; when
                                    its server last took a message, to some seconds)
    gp:{p}:learned:<d>:<digest>  hash  head of what was said of a message, for a domain or (d empty) for all: v version, m Lesson
                                    (MessagePack). Expires some months after the last word
    gp:{p}:parked          hash     what could not be handled: reference -> Parked (MessagePack)
    gp:{p}:alert:<subject> hash     head of an alert: v version, m the Alert (MessagePack). Expires a year after it was over
    gp:{p}:alerts          zset     subjects of the alerts that are raised, by the time since when
    gp:{0}:silences        zset     subjects of the silences in force, by when they end; their heads are like those of alerts
    gp:{p}:notices         zset     what somebody is to be told of an alert: id of the notice, by the time from which it may be sent
    gp:{p}:notice          hash     id -> Notice (MessagePack) of each
    gp:{p}:letter          hash     id -> id of the mail that a notice is part of, once that is settled
    gp:{p}:view:<name>:<version>:...  any  one projection: its rows, counters and checkpoint
    gp:{p}:view:builds     hash     view -> version that is read; another one may be growing beside it
    gp:{p}:view:lease      string   which projector folds this partition just now
    gp:{p}:archive         hash     the end of the archive's chain (archive/chain.py): number, seal, first, last, count, octets, entries; through and
                                    link of what retention took away; floor (ms): entries before it (trimmed: how many) are no longer in the log
    gp:{p}:archive:lease   string   token of the archiver that writes this partition's segments. Expires
    gp:{p}:replicated      string   written to see whether replicas have what was written before (topology/replicas.py). Expires
    gp:{...}:absent        -        in every slot, and never there: a script that names it as well is refused while the slot is on its way to
                                    another node of a Cluster (store.py)
    gp:{p}:hint            channel  "these domains became due", with blanks between; only a hint, the sorted sets are the truth

    gp:{directory}:store   hash     format (of the data), partitions, learning (key of the classifier's hashes), bodies (whose the bodies
                                    in an object store are); written once
    gp:{directory}:log     stream   every change of the configuration, fields as in the partition logs, s is @directory
    gp:{directory}:head    hash     v: number of changes so far
    gp:{directory}:domains hash     domain -> Domain (MessagePack)
    gp:{directory}:addresses:<d>    hash  local part, as address.local_key has it -> Address (MessagePack)
    gp:{directory}:servers hash   host:port -> Hold (MessagePack) of each server that somebody holds
    gp:{directory}:rules:<d>  hash  entries of the allow and block lists of a domain and its people, `*` for the operator's: key of the
                                    entry (see directory/lists/entries.py) -> Rule (MessagePack)
    gp:{directory}:lists:<d>  hash  person, empty for the domain's own -> Summary (MessagePack) of that list; `*` as above
    gp:{directory}:syncs   hash   name -> Sync (MessagePack)
    gp:{directory}:sync:<name>:state   string  what is known of its runs: State (MessagePack)
    gp:{directory}:sync:<name>:staged  string  a run that waits for approval: Staged (MessagePack)
    gp:{directory}:sync:<name>:lock    string  token of the process that runs it just now; expires
    gp:{directory}:smtputf8 hash   host:port or mx:NAME of a route -> 1 or 0: whether that server offered SMTPUTF8 when last connected to
    gp:{directory}:gateways hash   "name port" of each receiver that listens -> when it was last heard of (ns)

    gp:{grey:<who>}:attempts     hash    attempts of a suspicious client (a network, or `spf <domain>`) that were put off: digest ->
                                         when first seen (ms). Expires
    gp:{grey:<who>}:passed:<d>   string  it came back for domain d, and is not asked again. Expires

    gp:{bounces:<domain>}:<local>  string  when (us since 1970) an address, and without a local part a domain, may get all of its
                                           reports of an hour again; gone when it may

    gp:{host:port}:server  hash     what all partitions share about one server: until (ms, not dialled before), why
    gp:{host:port}:slots   zset     connections to it in use: fencing token, by end of lease
    gp:{host:port}:sources hash     source address of ours that is unwanted there -> Block (MessagePack). Expires
    gp:{egress}:servers    zset     servers that have such a hash, by the end of its last block (ms)
    gp:{host:port}:pace    hash     how many connections may be open, what it let us have when it limited us, when the next
                                    message may go (see server.lua). Expires an hour after the last change

    gp:{engines}:processes zset    processes that let engines look, by when they last said how these are
    gp:{engines}:of:<process>  string  how they are: Healths (MessagePack). Expires

    gp:{watch}:servers     zset     servers' addresses that no connection came about to (Watched, MessagePack), by the time (ms) of the
                                    next attempt: until then somebody looks whether they answer
    gp:{watch}:waiting:<host:port>  set     "partition domain" of who waits for it. Expires
    gp:{watch}:woken:<host:port>    string  they were made due because its port answered. Expires
    gp:{watch}:lease       string   token of the deliverer that looks. Expires

    gp:{selfcheck}:result  hash     last: SelfCheck (MessagePack) of the last comparison of all views with the events; begun: the night
                                    of which one was begun, and when (ms)
    gp:{selfcheck}:lease   string   token of the watcher that compares. Expires
    gp:{books}:check       string   what the continuous check of the books found last: BooksCheck (MessagePack)
    gp:{books}:lease       string   token of the watcher that walks through the messages to check them. Expires
    gp:{books}:totals      list     how much waits and came and left, in all, once a minute, the newest first: Total (MessagePack)
    gp:{books}:domains     list     the same per domain, of the last quarter of an hour: Counted (MessagePack)
    gp:{alerts}:looked     hash     name of a machine -> when a watcher there looked last whether all is well (ms)
    gp:{alerts}:lease      string   token of the watcher that tells of alerts. Expires
    gp:{alerts}:mailed:<address> <rule>  string  a mail about alerts of that rule went there. Expires when the next one may go
    gp:{alerts}:webhook    hash     tries, until: how often the webhook failed in a row, and until when (ms) it is left alone

    gp:{client:c}:tokens   hash     what a client may still do: number of a bucket -> us since 1970 from which it is full again;
                                    gone when all are. `c` is an IPv4 address or an IPv6 /64
    gp:{client:c}:slots    hash     connections of a client: receiver -> "how many, until (ms)"; gone with the last lease
    gp:{client:c}:good     string   there for some days after a client has delivered good mail
"""

from __future__ import annotations

from typing import Final

STORE: Final = "gp:{directory}:store"
DIRECTORY_LOG: Final = "gp:{directory}:log"
DIRECTORY_HEAD: Final = "gp:{directory}:head"
DOMAINS: Final = "gp:{directory}:domains"
SERVERS: Final = "gp:{directory}:servers"
SYNCS: Final = "gp:{directory}:syncs"
SMTPUTF8: Final = "gp:{directory}:smtputf8"
GATEWAYS: Final = "gp:{directory}:gateways"
EGRESS: Final = "gp:{egress}:servers"
ENGINES: Final = "gp:{engines}:processes"
WATCHED: Final = "gp:{watch}:servers"
WATCH_LEASE: Final = "gp:{watch}:lease"
SELFCHECK: Final = "gp:{selfcheck}:result"
SELFCHECK_LEASE: Final = "gp:{selfcheck}:lease"
BOOKS_CHECK: Final = "gp:{books}:check"
BOOKS_LEASE: Final = "gp:{books}:lease"
BOOKS_TOTALS: Final = "gp:{books}:totals"
BOOKS_DOMAINS: Final = "gp:{books}:domains"
ALERT_LEASE: Final = "gp:{alerts}:lease"
ALERTS_LOOKED: Final = "gp:{alerts}:looked"
ALERT_WEBHOOK: Final = "gp:{alerts}:webhook"
DIRECTORY_SUBJECT: Final = "@directory"
SCANNERS: Final = "scanners"
JANITORS: Final = "janitors"


def log(partition: int) -> str:
    """-1 is the directory's, as it is for the archive."""
    return f"gp:{{{partition}}}:log" if partition >= 0 else DIRECTORY_LOG


def scan(partition: int) -> str:
    return f"gp:{{{partition}}}:scan"


def rescan(partition: int) -> str:
    return f"gp:{{{partition}}}:rescan"


def outbox(partition: int) -> str:
    return f"gp:{{{partition}}}:outbox"


def promised(partition: int) -> str:
    return f"gp:{{{partition}}}:promised"


def made(partition: int, message_id: str) -> str:
    return f"gp:{{{partition}}}:made:{message_id}"


def report(partition: int, domain: str, name: str) -> str:
    return f"gp:{{{partition}}}:report:{domain}:{name}"


def head(partition: int, message_id: str) -> str:
    return f"gp:{{{partition}}}:msg:{message_id}"


def body(partition: int, message_id: str) -> str:
    return f"gp:{{{partition}}}:body:{message_id}"


def expiry(partition: int) -> str:
    return f"gp:{{{partition}}}:expiry"


def kept(partition: int) -> str:
    return f"gp:{{{partition}}}:kept"


def warn(partition: int) -> str:
    return f"gp:{{{partition}}}:warn"


def held(partition: int) -> str:
    return f"gp:{{{partition}}}:held"


def held_of(partition: int, domain: str) -> str:
    return f"gp:{{{partition}}}:held:{domain}"


def ends(partition: int) -> str:
    return f"gp:{{{partition}}}:ends"


def queue(partition: int, domain: str) -> str:
    return f"gp:{{{partition}}}:queue:{domain}"


def due(partition: int) -> str:
    return f"gp:{{{partition}}}:due"


def slots(partition: int, domain: str) -> str:
    return f"gp:{{{partition}}}:slots:{domain}"


def route(partition: int, domain: str) -> str:
    return f"gp:{{{partition}}}:route:{domain}"


def learned(partition: int, domain: str, digest: str) -> str:
    return f"gp:{{{partition}}}:learned:{domain}:{digest}"


def alert(partition: int, subject: str) -> str:
    return f"gp:{{{partition}}}:alert:{subject}"


def alerts(partition: int) -> str:
    return f"gp:{{{partition}}}:alerts"


def silences(partition: int) -> str:
    return f"gp:{{{partition}}}:silences"


def notices(partition: int) -> str:
    return f"gp:{{{partition}}}:notices"


def notice(partition: int) -> str:
    return f"gp:{{{partition}}}:notice"


def letter(partition: int) -> str:
    return f"gp:{{{partition}}}:letter"


def alerts_mailed(address: str, rule: str) -> str:
    return f"gp:{{alerts}}:mailed:{address} {rule}"


def parked(partition: int) -> str:
    return f"gp:{{{partition}}}:parked"


def replicated(log: str) -> str:
    """Beside a log."""
    return log.removesuffix(":log") + ":replicated"


def absent(key: str) -> str:
    """Beside any key."""
    return key[: key.index("}") + 1] + ":absent"


def hint(partition: int) -> str:
    return f"gp:{{{partition}}}:hint"


def view(partition: int, name: str, version: int) -> str:
    """Prefix of all keys of one projection."""
    return f"gp:{{{partition}}}:view:{name}:{version}:"


def views(partition: int) -> str:
    """Prefix of all keys of all projections."""
    return f"gp:{{{partition}}}:view:"


def builds(partition: int) -> str:
    return f"gp:{{{partition}}}:view:builds"


def addresses(domain: str) -> str:
    return f"gp:{{directory}}:addresses:{domain}"


def rules(domain: str) -> str:
    return f"gp:{{directory}}:rules:{domain or '*'}"


def lists(domain: str) -> str:
    return f"gp:{{directory}}:lists:{domain or '*'}"


def sync_state(name: str) -> str:
    return f"gp:{{directory}}:sync:{name}:state"


def sync_staged(name: str) -> str:
    return f"gp:{{directory}}:sync:{name}:staged"


def sync_lock(name: str) -> str:
    return f"gp:{{directory}}:sync:{name}:lock"


def greylisted(who: str) -> str:
    return f"gp:{{grey:{who}}}:attempts"


def greylist_passed(who: str, domain: str) -> str:
    return f"gp:{{grey:{who}}}:passed:{domain}"


def bounces_to(domain: str, local: str) -> str:
    return f"gp:{{bounces:{domain}}}:{local}"


def server(endpoint: str) -> str:
    return f"gp:{{{endpoint}}}:server"


def server_slots(endpoint: str) -> str:
    return f"gp:{{{endpoint}}}:slots"


def sources(endpoint: str) -> str:
    return f"gp:{{{endpoint}}}:sources"


def server_pace(endpoint: str) -> str:
    return f"gp:{{{endpoint}}}:pace"


def watch_waiting(endpoint: str) -> str:
    return f"gp:{{watch}}:waiting:{endpoint}"


def watch_woken(endpoint: str) -> str:
    return f"gp:{{watch}}:woken:{endpoint}"


def engines_of(process: str) -> str:
    return f"gp:{{engines}}:of:{process}"


def client(name: str) -> str:
    """Prefix of all keys of one client."""
    return f"gp:{{client:{name}}}:"


def archive(partition: int) -> str:
    """-1 is the directory's log."""
    return f"gp:{{{partition if partition >= 0 else 'directory'}}}:archive"


def archive_lease(partition: int) -> str:
    return archive(partition) + ":lease"
