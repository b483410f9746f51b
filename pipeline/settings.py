"""Settings: what there is to set, with its default. `configuration.py` reads them; once read they are frozen.

Every field below is a key of `gatepost.toml` and, in capitals behind `GATEPOST_`, an environment variable. The sample file
and `docs/settings.md` are generated from this struct, so a description here is what the operator reads.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec

from pipeline.dnslist import DnsList
from pipeline.units import SECOND, Duration, Endpoint, EngineAddress, Network, Size, SourceAddress


def _doc(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


_ENDINGS: Final = (
    "ace ade adp apk app appinstaller application appref-ms appx appxbundle arj bat cab cdxml chm cmd com cpl deb desktop dex "
    "diagcab diagcfg diagpkg dll dmg ex ex_ exe fxp gadget grp hlp hpj hta img ins iso isp its jar jnlp js jse lib library-ms "
    "lnk mad maf mag mam maq mar mas mau mav maw mcf mda mde mdt mdw mdz mjs msc msh msh1 msh1xml msh2 msh2xml mshxml msi "
    "msix msixbundle msp mst msu nsh ops osd pcd pif pkg plg prg printerexport ps1 ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 "
    "rdp reg scf scr sct search-ms searchconnector-ms settingcontent-ms shb shs sys theme themepack udf vb vbe vbp vbs vhd vhdx "
    "vsmacros vsw vxd webpnp ws wsb wsc wsf wsh xbap xll xnk"
)
BLOCKED_EXTENSIONS: Final = tuple(_ENDINGS.split())
"""What Gmail, Outlook and Exchange block, without what honest people send every day (scripts of other systems, certificates)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Annotated[
        Path,
        _doc(
            "Directory for everything that must survive: the embedded Redis, large and waiting bodies, the self-signed certificate."
        ),
    ] = Path("gatepost-data")
    redis_url: Annotated[
        str,
        _doc(
            "An outside Redis or Valkey: redis://host:6379/0, unix:///path.sock, redis+sentinel://host1:26379,host2:26379/NAME or redis+cluster://host1:6379,host2:6379; with rediss in place of redis over TLS. See docs/redis.md. Empty: start the embedded one."
        ),
    ] = ""
    redis_user: Annotated[
        str, _doc("Name of the user of the outside Redis (ACL). Empty: that of redis_url, or the default user.")
    ] = ""
    redis_password_file: Annotated[
        str,
        _doc(
            "File with the password for the outside Redis. It is read for each new connection, so a changed password holds from then on. Empty: that of redis_url, if any."
        ),
    ] = ""
    redis_tls_ca: Annotated[
        str,
        _doc(
            "PEM file with the authority that signed the outside Redis's certificates. Empty: those the system trusts."
        ),
    ] = ""
    redis_tls_cert: Annotated[
        str, _doc("PEM file with our certificate for the outside Redis, where it asks for one. Empty: none.")
    ] = ""
    redis_tls_key: Annotated[str, _doc("PEM file with the private key of redis_tls_cert.")] = ""
    redis_replicas: Annotated[
        int,
        _doc(
            "How many replicas of the outside Redis must have a message before its 250 is said, and every other step before it counts. With fewer of them new mail gets 451 4.3.0 and the rest waits. 0: what the master alone has counts, and a failover may lose the last of it. See docs/redis.md."
        ),
    ] = 0
    redis_binary: Annotated[
        str,
        _doc(
            "Server program for the embedded Redis. Empty: the one that comes with the package, else valkey-server or redis-server on PATH."
        ),
    ] = ""
    redis_memory: Annotated[
        Size,
        _doc(
            "maxmemory of the embedded Redis. At nine tenths of it new mail gets 452 4.3.1, and the sender keeps it. The events of a message take about 1 KiB, until they go to the archive."
        ),
    ] = Size(2 << 30)
    redis_fsync: Annotated[
        str,
        _doc(
            "always: every 250 is on disk before it is said. everysec: faster, and up to a second of accepted mail is lost when the machine (not the program) dies."
        ),
    ] = "always"
    hot_bodies: Annotated[
        str,
        _doc(
            "Where bodies of 32 to 256 KiB are while mail is in motion. redis; files: in the data directory, which all workers have to share; auto: files with the embedded Redis, redis with another. See docs/bodies.md."
        ),
    ] = "auto"
    partitions: Annotated[int, _doc("Number of partitions; fixed when the store is created.")] = 8

    smtp: Annotated[Endpoint, _doc("Where to accept mail. Port 25 in production.")] = Endpoint("0.0.0.0:2525")
    hostname: Annotated[str, _doc("Our name in the greeting, in EHLO and in Received. Empty: this machine's name.")] = (
        ""
    )
    receivers: Annotated[
        int, _doc("Receiver processes on the port. 0: one per processor, at most 8; one where there are only two.")
    ] = 0
    scanners: Annotated[int, _doc("Scanner processes.")] = 1
    deliverers: Annotated[int, _doc("Deliverer processes.")] = 1
    max_message_size: Annotated[Size, _doc("Announced as SIZE; a larger message is refused with 552 5.3.4.")] = Size(
        35_883_008
    )
    max_recipients: Annotated[int, _doc("Recipients of one message; more get 452 4.5.3.")] = 1000
    max_received: Annotated[int, _doc("Received lines of a message; more means a loop: 554 5.4.6.")] = 50
    bare_newlines: Annotated[
        str, _doc("What to do with a bare CR or LF in a message: refuse (550 5.6.0) or normalise (make it CRLF).")
    ] = "refuse"
    command_timeout: Annotated[
        Duration, _doc("How long a client may be silent between commands and within the data (RFC 5321 4.5.3.2.7).")
    ] = Duration(300 * SECOND)
    max_sessions: Annotated[int, _doc("Sessions at once per receiver; more get 421 4.7.0.")] = 1000
    hello_time: Annotated[
        Duration, _doc("How long a client may take to say HELO or EHLO, whatever it says instead; then 421 4.4.2.")
    ] = Duration(300 * SECOND)
    envelope_time: Annotated[
        Duration, _doc("How long a client may take from MAIL to DATA, whatever it says meanwhile; then 421 4.4.2.")
    ] = Duration(600 * SECOND)
    data_time: Annotated[Duration, _doc("How long a client may take to send one message; then 421 4.4.2.")] = Duration(
        3600 * SECOND
    )
    session_time: Annotated[
        Duration, _doc("How long a session may last; then 421 4.4.2, after the transaction that is under way.")
    ] = Duration(7200 * SECOND)
    session_messages: Annotated[
        int, _doc("MAIL commands over one connection, announced as MAILMAX (RFC 9422); the next one gets 421 4.7.0.")
    ] = 1000
    session_wasted: Annotated[
        int,
        _doc(
            "Commands of one session that lead to nothing (errors, NOOP, RSET, VRFY, HELP, another EHLO) since its last message; the next one gets 421 4.7.0."
        ),
    ] = 30
    session_unknown: Annotated[
        int,
        _doc(
            "Unknown recipients of one session: after half of them each answer is held back for 2 s, and instead of the last one there is 421 4.7.0."
        ),
    ] = 20
    client_connections: Annotated[
        int,
        _doc(
            "Connections at once of one client, over all receivers; more get 421 4.7.0. As for all client_ settings a client is an IPv4 address or an IPv6 /64, and 0 means no limit."
        ),
    ] = 100
    client_connection_rate: Annotated[int, _doc("Connections of one client in a minute; more get 421 4.7.0.")] = 1000
    client_message_rate: Annotated[int, _doc("Messages of one client in a minute; more get 451 4.7.1 at MAIL.")] = 3000
    client_recipient_rate: Annotated[int, _doc("Recipients of one client in a minute; more get 451 4.7.1 at RCPT.")] = (
        10_000
    )
    client_wasted_rate: Annotated[
        int,
        _doc(
            "Commands of one client that lead to nothing, in an hour; then its connections get 421 4.7.0. Up to four before a message do not count."
        ),
    ] = 1000
    client_unknown_rate: Annotated[
        int, _doc("Unknown recipients of one client in an hour; then its connections get 421 4.7.0.")
    ] = 300
    unlimited_networks: Annotated[
        tuple[Network, ...],
        _doc(
            "Clients for whom the client_ limits, the session_ limits, greeting_delay and greylisting do not hold: your own servers, and whoever sends you more mail than strangers may."
        ),
    ] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
    proxy_networks: Annotated[
        tuple[Network, ...],
        _doc(
            "Load balancers: connections from these networks must begin with a PROXY header (version 1 or 2) within 5 s, or they are dropped; the client that it names is the client. Nobody else's is believed."
        ),
    ] = ()
    greeting_delay: Annotated[
        Duration,
        _doc(
            "How long the greeting is held back, at most 60s, from a client that has delivered no mail in the last 7 days. One that talks meanwhile is no mail server, and gets 554 5.5.1. 6s stops many of them; 0: no wait."
        ),
    ] = Duration(0)
    greylist_delay: Annotated[
        Duration, _doc("How long a suspicious client has to wait where a domain has greylisting.")
    ] = Duration(120 * SECOND)
    greylist_window: Annotated[
        Duration, _doc("How long after its first attempt a client may come back to be let in.")
    ] = Duration(2 * 86400 * SECOND)
    greylist_memory: Annotated[
        Duration, _doc("How long a client that came back is remembered, since it was last seen.")
    ] = Duration(36 * 86400 * SECOND)
    tls_certificate: Annotated[
        str,
        _doc("PEM file with our certificate and its chain. Empty: a self-signed one is made in the data directory."),
    ] = ""
    tls_key: Annotated[str, _doc("PEM file with the private key of tls_certificate.")] = ""

    authserv_id: Annotated[
        str,
        _doc(
            "Our name in Authentication-Results (RFC 8601 2.5). Fields that come in with this name are forged, and are removed. Empty: hostname."
        ),
    ] = ""
    arc_domain: Annotated[
        str, _doc("Domain in whose name forwarded messages are sealed (ARC, RFC 8617). Empty: they are not.")
    ] = ""
    arc_selector: Annotated[str, _doc("Selector of the seal's key: it is published at SELECTOR._domainkey.DOMAIN.")] = (
        "gatepost"
    )
    arc_key: Annotated[str, _doc("PEM file with the private key of the seal, RSA or Ed25519.")] = ""

    clamav: Annotated[
        EngineAddress,
        _doc(
            "Where clamd listens: HOST:PORT or unix:/PATH. Empty: ClamAV is not used. See docs/engines.md for all engines."
        ),
    ] = EngineAddress()
    clamav_deadline: Annotated[
        Duration, _doc("How long ClamAV may take for one message; scan_budget holds for all engines together.")
    ] = Duration(2 * SECOND)
    clamav_connections: Annotated[
        int,
        _doc(
            "Messages at once that each scanner process gives to clamd; its MaxThreads should be as many for all of them."
        ),
    ] = 10
    rspamd: Annotated[
        EngineAddress, _doc("Where Rspamd's normal worker listens: HOST:PORT or unix:/PATH. Empty: Rspamd is not used.")
    ] = EngineAddress()
    rspamd_deadline: Annotated[Duration, _doc("How long Rspamd may take for one message.")] = Duration(2 * SECOND)
    rspamd_connections: Annotated[int, _doc("Messages at once that each scanner process gives to Rspamd.")] = 20
    rspamd_password_file: Annotated[
        str, _doc("File with the password for Rspamd, where it asks for one. Empty: it does not.")
    ] = ""
    spamassassin: Annotated[
        EngineAddress, _doc("Where spamd listens: HOST:PORT or unix:/PATH. Empty: SpamAssassin is not used.")
    ] = EngineAddress()
    spamassassin_deadline: Annotated[Duration, _doc("How long SpamAssassin may take for one message.")] = Duration(
        2 * SECOND
    )
    spamassassin_connections: Annotated[
        int,
        _doc(
            "Messages at once that each scanner process gives to spamd; its --max-children should be as many for all of them."
        ),
    ] = 5
    spamassassin_max_size: Annotated[
        Size, _doc("Larger messages are not given to SpamAssassin, which takes seconds for them.")
    ] = Size(512 << 10)
    engines_missing: Annotated[
        str,
        _doc(
            "What happens to a message at which ClamAV, Rspamd or SpamAssassin should have looked and did not: pass (it goes on, marked with X-Gatepost-Not-Scanned-By), wait (it is scanned again later), quarantine. A domain may say otherwise."
        ),
    ] = "pass"
    engines_retry: Annotated[
        Duration, _doc("How long a message that waits for an engine does so until it is scanned again.")
    ] = Duration(60 * SECOND)
    engines_wait: Annotated[
        Duration,
        _doc(
            "How long a message waits for an engine in all, or half of its queue_lifetime where that is less; then it is kept in quarantine."
        ),
    ] = Duration(4 * 3600 * SECOND)

    scan_budget: Annotated[Duration, _doc("Time for all engines together to look at one message.")] = Duration(
        2 * SECOND
    )
    spam_threshold: Annotated[
        float, _doc("Score from which a message is spam. A domain, and a person, may have another one.")
    ] = 5.0
    phishing_threshold: Annotated[
        float,
        _doc(
            "Score from which a message is phishing, or has a forged sender: what the tests for these find has to come to it by itself."
        ),
    ] = 4.0
    learning_minimum: Annotated[
        int,
        _doc(
            "Messages of either kind, spam and other mail, that the classifier has to have learnt before it says anything: for all domains and for the message's own together."
        ),
    ] = 50
    quarantine_retention: Annotated[
        Duration, _doc("How long a quarantined message is kept before it is discarded, where its domain does not say.")
    ] = Duration(30 * 86400 * SECOND)
    blocked_extensions: Annotated[
        tuple[str, ...],
        _doc("File name endings that are quarantined, of attachments and of files within archives."),
    ] = BLOCKED_EXTENSIONS
    blocked_types: Annotated[
        tuple[str, ...],
        _doc(
            "What is quarantined by its content, whatever it is called: program, script (HTA, WSF), shortcut (LNK and other links of Windows), help (CHM), disk (ISO, UDF, VHD)."
        ),
    ] = ("program", "script", "shortcut", "help", "disk")
    encrypted_archives: Annotated[
        str,
        _doc(
            "Archives and documents that need a password: pass (a small score, more when the password is in the text) or block."
        ),
    ] = "pass"
    macros: Annotated[
        str,
        _doc(
            "Documents with macros: pass, score, auto (quarantine those whose macros run when the document is opened, score the others), block."
        ),
    ] = "auto"

    trusted_relays: Annotated[
        tuple[Network, ...],
        _doc(
            "Servers that hand us the mail of others, such as a provider's filter in front of us: the client that is looked into is the one that their Received field names. A domain may have more of its own. See docs/lists.md."
        ),
    ] = ()
    trusted_sealers: Annotated[
        tuple[str, ...],
        _doc(
            "Domains whose word is taken that a message was proved before they forwarded it (ARC, RFC 8617). Then it does not count as forged because forwarding broke the proof."
        ),
    ] = ("fastmail.com", "google.com", "messagingengine.com", "microsoft.com")
    country_table: Annotated[
        str,
        _doc(
            "A MaxMind DB of countries of your own, in place of the one that comes with Gatepost. Read when a worker starts; empty: ours."
        ),
    ] = ""
    address_lists: Annotated[
        tuple[DnsList, ...],
        _doc(
            "DNS lists that are asked about the client's address, each with the answers that count and their scores: zen.example=127.0.0.2:3,127.0.0.4-127.0.0.7:3. Negative scores are for lists of good senders. None is asked unless it is named: see docs/lists.md."
        ),
    ] = ()
    domain_lists: Annotated[
        tuple[DnsList, ...],
        _doc("DNS lists that are asked about the domains of the sender and of links, written in the same way."),
    ] = ()

    retry_interval: Annotated[Duration, _doc("How long to wait after a failed attempt.")] = Duration(15 * 60 * SECOND)
    watch_interval: Annotated[
        Duration,
        _doc(
            "How often to look whether the port of a server answers that could not be connected to; its mail is then tried at once. 0: not at all, it waits for its next attempt."
        ),
    ] = Duration(SECOND)
    queue_lifetime: Annotated[
        Duration, _doc("How long to hold a message that cannot be delivered before it is returned to the sender.")
    ] = Duration(7 * 86400 * SECOND)
    bounces_per_address: Annotated[
        int,
        _doc(
            "Bounces and other reports to one address in an hour. What there is to say beyond that is not said, and the message is kept as undeliverable. 0: no limit."
        ),
    ] = 20
    bounces_per_domain: Annotated[
        int, _doc("The same for all addresses of one domain; big mail providers are the ones that come near it.")
    ] = 1000
    delay_warnings: Annotated[
        str,
        _doc(
            "Whose sender is told that a message still waits: asked (who asked for it, NOTIFY=DELAY), always (also who said nothing of it), never."
        ),
    ] = "asked"
    delay_warning_after: Annotated[
        Duration, _doc("How long a message has waited when its sender is told so, once.")
    ] = Duration(4 * 3600 * SECOND)
    undo_time: Annotated[
        Duration, _doc("How long `gatepost queue bounce` and `gatepost queue delete` can be taken back.")
    ] = Duration(600 * SECOND)
    allow_networks: Annotated[
        tuple[Network, ...], _doc("Loopback, link-local and private networks that routes may reach, e.g. 10.1.0.0/16.")
    ] = ()
    trust_resolver_ad: Annotated[
        bool,
        _doc(
            "The resolver validates DNSSEC, and nobody can come between it and us (it runs on this machine, say). Then TLSA records hold: servers that have them are spoken to with TLS and that certificate, or not at all (DANE, RFC 7672)."
        ),
    ] = False
    resolver: Annotated[str, _doc("DNS server, host or host:port. Empty: the system's.")] = ""
    source_addresses: Annotated[
        tuple[SourceAddress, ...],
        _doc(
            "Addresses of this machine to forward mail from, IPv4 and IPv6, each perhaps with its name for EHLO behind it: 192.0.2.1 mail1.example.net. The first one that a server does not refuse is used; a domain may choose among them. Servers of a family that has none here are not dialled. Empty: the system chooses."
        ),
    ] = ()
    source_memory: Annotated[
        Duration, _doc("How long one of source_addresses is not used at a server that refused or limited it.")
    ] = Duration(6 * 3600 * SECOND)
    connections_per_server: Annotated[
        int,
        _doc(
            "Connections at once to one server, over all workers: with each message that it takes one more is opened, up to this many."
        ),
    ] = 10
    messages_per_minute: Annotated[
        int, _doc("Messages to one server in a minute, over all workers and all domains that use it. 0: no limit.")
    ] = 0
    messages_per_connection: Annotated[int, _doc("Messages over one connection before it is closed.")] = 500
    keep_connection: Annotated[
        Duration, _doc("How long an idle connection to a server is kept for the next message.")
    ] = Duration(2 * SECOND)
    connect_timeout: Annotated[Duration, _doc("Time for a connection to a server.")] = Duration(30 * SECOND)
    greeting_timeout: Annotated[Duration, _doc("Time for a server's greeting (RFC 5321 4.5.3.2.1).")] = Duration(
        300 * SECOND
    )
    reply_timeout: Annotated[
        Duration,
        _doc("Time for a server's reply to EHLO, STARTTLS, MAIL, RCPT and RSET each (RFC 5321 4.5.3.2.2, 4.5.3.2.3)."),
    ] = Duration(300 * SECOND)
    data_timeout: Annotated[Duration, _doc("Time for a server's reply to DATA (RFC 5321 4.5.3.2.4).")] = Duration(
        120 * SECOND
    )
    block_timeout: Annotated[
        Duration, _doc("How long a server may take no data while a message is sent (RFC 5321 4.5.3.2.5).")
    ] = Duration(180 * SECOND)
    dot_timeout: Annotated[Duration, _doc("Time for a server's reply to the final dot (RFC 5321 4.5.3.2.6).")] = (
        Duration(600 * SECOND)
    )

    replies_table: Annotated[
        str,
        _doc(
            "A table of replies of your own, in place of the one that comes with Gatepost: see docs/replies.md. Read when a worker starts; empty: ours."
        ),
    ] = ""

    brands: Annotated[
        str,
        _doc(
            "A table of brands of your own, in place of the one that comes with Gatepost: see docs/phishing.md. Read when a worker starts; empty: ours."
        ),
    ] = ""

    bodies_store: Annotated[
        str,
        _doc(
            "Where large and waiting bodies are: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, whose credentials come from the environment (AWS_ACCESS_KEY_ID, ...). Empty: `bodies` in the data directory, for workers on one machine. See docs/bodies.md."
        ),
    ] = ""
    bodies_timeout: Annotated[
        Duration,
        _doc(
            "How long one body may take to or from bodies_store, with all retries; then senders get 451 4.3.0 and workers wait."
        ),
    ] = Duration(30 * SECOND)

    archive: Annotated[
        bool,
        _doc(
            "Copy all events to the archive and take them out of Redis after hot_period. Needs DuckDB: pip install 'gatepost[archive]'. See docs/archive.md."
        ),
    ] = True
    archive_store: Annotated[
        str,
        _doc(
            "Where the archive is: a directory, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, whose credentials come from the environment (AWS_ACCESS_KEY_ID, ...). Empty: `archive` in the data directory."
        ),
    ] = ""
    archive_segment: Annotated[int, _doc("Entries of one segment of the archive, at most.")] = 100_000
    archive_retention: Annotated[
        Duration, _doc("How long the archive is kept; then whole days of it are removed. 0: for ever.")
    ] = Duration(400 * 86400 * SECOND)
    archive_cache: Annotated[
        Size,
        _doc("Of an archive in an object store: how much of it each machine keeps copies of, in its data directory."),
    ] = Size(2 << 30)
    hot_period: Annotated[
        Duration, _doc("How long events stay in Redis as well, where they are found a little faster.")
    ] = Duration(3 * 86400 * SECOND)
    log_memory: Annotated[
        Size,
        _doc(
            "How much memory of Redis events may use; with more, they go to the archive sooner than after hot_period. 0: half of maxmemory."
        ),
    ] = Size(0)

    lease: Annotated[
        Duration, _doc("A worker's work is given to another when nothing was heard from it for so long.")
    ] = Duration(60 * SECOND)
    max_tries_before_parked: Annotated[
        int, _doc("Work that failed so often for a reason of our own is set aside and shown by `gatepost parked`.")
    ] = 5
    min_free_disk: Annotated[Size, _doc("With less free disk than this, senders get 452 4.3.1.")] = Size(256 << 20)
    brake_scanning: Annotated[
        int,
        _doc(
            "Messages that wait to be scanned from which on MAIL is answered later and later; with four times as many, new mail gets 452 4.3.1 until half of them are scanned. 0: never."
        ),
    ] = 5_000
    brake_sending: Annotated[
        int,
        _doc(
            "Messages that could leave at once from which on MAIL is answered later and later, while this machine has more to do than processors. Mail for servers that are away does not count. 0: never."
        ),
    ] = 10_000
    brake_delay: Annotated[
        Duration, _doc("How long the answer to MAIL is held back at most, when more mail comes than can be handled.")
    ] = Duration(2 * SECOND)
    selfcheck_at: Annotated[
        str,
        _doc(
            "When each night every view is made anew from the events and compared, as HH:MM of this machine's time zone. Empty: never. See docs/replay.md."
        ),
    ] = "03:30"
    failures_kept: Annotated[int, _doc("Delivery errors shown per domain.")] = 50
    alert_mail: Annotated[
        tuple[str, ...],
        _doc("Who gets a mail about every alert: addresses that work when this gateway does not. See docs/alerts.md."),
    ] = ()
    alert_mail_interval: Annotated[
        Duration,
        _doc(
            "How long after a mail about alerts of one kind the next one to the same address waits, for all that comes meanwhile to be in one mail."
        ),
    ] = Duration(300 * SECOND)
    alert_webhook: Annotated[str, _doc("An http or https URL that every alert is posted to, signed. Empty: none.")] = ""
    alert_webhook_secret_file: Annotated[
        str, _doc("File with the secret that the posts to alert_webhook are signed with, at least 16 octets.")
    ] = ""
    alert_waiting: Annotated[
        int,
        _doc(
            "An alert when more messages wait for a domain; 0: none. A domain may say otherwise, as for alert_oldest."
        ),
    ] = 1000
    alert_oldest: Annotated[Duration, _doc("An alert when a message of a domain waits longer.")] = Duration(
        4 * 3600 * SECOND
    )
    alert_down: Annotated[
        Duration, _doc("An alert when no server of a domain could be used for so long, and mail waits for it.")
    ] = Duration(900 * SECOND)
    alert_held: Annotated[
        Duration, _doc("An alert when nothing was sent to a domain for so long because of what its server answers.")
    ] = Duration(300 * SECOND)
    alert_engine: Annotated[Duration, _doc("An alert when an engine did not answer for so long.")] = Duration(
        300 * SECOND
    )
    alert_books: Annotated[Duration, _doc("An alert when the books of a domain were wrong for so long.")] = Duration(
        120 * SECOND
    )
    alert_difference: Annotated[
        bool, _doc("An alert when the self-check finds a view that is not what the events say.")
    ] = True
    alert_lag: Annotated[Duration, _doc("An alert when a view is so far behind the events.")] = Duration(60 * SECOND)
    alert_work: Annotated[
        Duration,
        _doc("An alert when work for scanners or janitors was not done for so long: nobody does it, or too slowly."),
    ] = Duration(600 * SECOND)
    alert_parked: Annotated[
        int, _doc("An alert when so many pieces of work are set aside because they failed again and again.")
    ] = 1
    alert_receiver: Annotated[
        Duration, _doc("An alert when no receiver was heard of for so long; each is heard of hourly.")
    ] = Duration(3 * 3600 * SECOND)
    alert_disk: Annotated[Size, _doc("An alert when less of the data directory's disk is free.")] = Size(1 << 30)
    alert_memory: Annotated[
        int, _doc("An alert when more of Redis's memory is in use, in percent. At 90 new mail is not taken any more.")
    ] = 75
    alert_archive: Annotated[
        Duration, _doc("An alert when the archive was behind for so long, so that the log in Redis grows.")
    ] = Duration(6 * 3600 * SECOND)
    alert_certificate: Annotated[Duration, _doc("An alert when the certificate of tls_certificate ends sooner.")] = (
        Duration(14 * 86400 * SECOND)
    )
    log_format: Annotated[str, _doc("console or json.")] = "console"
    metrics: Annotated[
        EngineAddress,
        _doc(
            "Where `gatepost up` answers /metrics for Prometheus, /healthz and /readyz: HOST:PORT, such as 127.0.0.1:9125, or unix:/PATH. There is no password: let nobody but the operator reach it. Empty: nowhere. See docs/monitoring.md."
        ),
    ] = EngineAddress()
    metrics_domains: Annotated[
        int, _doc("Domains with the largest queues that are named in the metrics; all others are one.")
    ] = 20

    def __post_init__(self) -> None:
        _choice("redis_fsync", self.redis_fsync, "always", "everysec")
        self._check_outside_redis()
        _choice("hot_bodies", self.hot_bodies, "auto", "redis", "files")
        _choice("bare_newlines", self.bare_newlines, "refuse", "normalise")
        _choice("log_format", self.log_format, "console", "json")
        _time_of_day("selfcheck_at", self.selfcheck_at)
        _range("metrics_domains", self.metrics_domains, 0, 150)
        _range("bounces_per_address", self.bounces_per_address, 0, 1_000_000)
        _range("bounces_per_domain", self.bounces_per_domain, 0, 1_000_000)
        _choice("delay_warnings", self.delay_warnings, "asked", "always", "never")
        _range("partitions", self.partitions, 1, 1024)
        _range("max_recipients", self.max_recipients, 100, 100_000)
        _range("connections_per_server", self.connections_per_server, 1, 10_000)
        _range("messages_per_minute", self.messages_per_minute, 0, 1_000_000)
        _range("messages_per_connection", self.messages_per_connection, 1, 1_000_000)
        _range("retry_interval", self.retry_interval.seconds, 0.1, 86400 * 7)
        _range("watch_interval", self.watch_interval.seconds, 0, 86400)
        _range("lease", self.lease.seconds, 2, 3600)
        _range("brake_scanning", self.brake_scanning, 0, 10_000_000)
        _range("brake_sending", self.brake_sending, 0, 10_000_000)
        _range("brake_delay", self.brake_delay.seconds, 0, 60)
        _range("archive_segment", self.archive_segment, 1000, 1_000_000)
        _range("archive_retention", self.archive_retention.seconds, 0, 86400 * 36525)
        _range("hot_period", self.hot_period.seconds, 3600, 86400 * 3660)
        if 0 < self.archive_retention < self.hot_period:
            raise ValueError("archive_retention is shorter than hot_period")
        _range("undo_time", self.undo_time.seconds, 0, 86400)
        _range("source_memory", self.source_memory.seconds, 1, 86400 * 30)
        addresses = [source.address for source in self.source_addresses]
        if len(set(addresses)) < len(addresses):
            raise ValueError("source_addresses has an address twice")
        for name in ("receivers", "scanners", "deliverers"):
            _range(name, getattr(self, name), 0, 256)
        for name in ("command_timeout", "hello_time", "envelope_time", "data_time", "session_time"):
            _range(name, getattr(self, name).seconds, 0.1, 86400 * 7)
        for name in ("session_messages", "session_wasted", "session_unknown"):
            _range(name, getattr(self, name), 1, 1_000_000)
        for name in ("connections", "connection_rate", "message_rate", "recipient_rate", "wasted_rate", "unknown_rate"):
            _range(f"client_{name}", getattr(self, f"client_{name}"), 0, 10_000_000)
        for name in ("connect", "greeting", "reply", "data", "block", "dot"):
            _range(f"{name}_timeout", getattr(self, f"{name}_timeout").seconds, 0.01, 86400)
        _range("greeting_delay", self.greeting_delay.seconds, 0, 60)
        if bool(self.arc_domain) != bool(self.arc_key):
            raise ValueError("arc_domain and arc_key go together")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together")
        self._check_scanning()
        self._check_alerts()

    def _check_alerts(self) -> None:
        for name in ("waiting", "parked"):
            _range(f"alert_{name}", getattr(self, f"alert_{name}"), 0, 1_000_000_000)
        _range("alert_memory", self.alert_memory, 0, 99)
        _range("alert_mail_interval", self.alert_mail_interval.seconds, 0, 86400)
        if bool(self.alert_webhook) != bool(self.alert_webhook_secret_file):
            raise ValueError("alert_webhook and alert_webhook_secret_file go together")
        if self.alert_webhook and not re.fullmatch(r"https?://[^\s\x00-\x1f]{1,2000}", self.alert_webhook):
            raise ValueError("alert_webhook is no http or https URL")
        for address in self.alert_mail:
            if not re.fullmatch(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}", address):
                raise ValueError(f"alert_mail has {address!a}, which is no address")

    def _check_outside_redis(self) -> None:
        _range("redis_replicas", self.redis_replicas, 0, 10)
        for name in ("user", "password_file", "tls_ca", "tls_cert", "tls_key", "replicas"):
            if getattr(self, f"redis_{name}") and not self.redis_url:
                raise ValueError(f"redis_{name} is for an outside Redis, and redis_url names none")
        if bool(self.redis_tls_cert) != bool(self.redis_tls_key):
            raise ValueError("redis_tls_cert and redis_tls_key go together")

    def _check_scanning(self) -> None:
        _choice("encrypted_archives", self.encrypted_archives, "pass", "block")
        _choice("macros", self.macros, "pass", "score", "auto", "block")
        for group in self.blocked_types:
            _choice("blocked_types", group, "program", "script", "shortcut", "help", "disk")
        for name in (
            "spam_threshold",
            "phishing_threshold",
        ):  # of which no message may come below, and none reach them, by a slip
            _range(name, getattr(self, name), 0.5, 1000)
        _range("learning_minimum", self.learning_minimum, 1, 1_000_000)
        for name in ("clamav", "rspamd", "spamassassin"):
            _range(f"{name}_deadline", getattr(self, f"{name}_deadline").seconds, 0.05, 600)
            _range(f"{name}_connections", getattr(self, f"{name}_connections"), 1, 1000)
        _choice("engines_missing", self.engines_missing, "pass", "wait", "quarantine")
        _range("engines_retry", self.engines_retry.seconds, 0.2, 86400)
        _range("bodies_timeout", self.bodies_timeout.seconds, 0.1, 300)
        _range("engines_wait", self.engines_wait.seconds, 0, 86400 * 5)


def _choice(name: str, value: str, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected {' or '.join(choices)}")


def _time_of_day(name: str, value: str) -> None:
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError(f"{name} is {value!a}; expected HH:MM, or nothing")


def _range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; expected {low:g} to {high:g}")
