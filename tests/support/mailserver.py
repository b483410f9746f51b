"""Customers' servers as customers have them: Postfix, Exim and OpenSMTPD of Debian, delivering into a maildir.

Each is configured as its own manual does it, with two listeners: `port` takes mail and offers STARTTLS, `tls_port` wants it.
`wait()` gives what it has delivered, without exactly those fields that it put on top itself; when these are not what its
version writes, the test fails.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trustme

from tests.support.customer import Arrived
from tests.support.rooted import KEEPER, Root, unpacked
from tests.support.servers import Process, free_port, listens, missing, need, wait_until

CROWD = tuple(f"u{number}" for number in range(100))
USERS = ("anna", "ben", "postmaster", "o'neil", *CROWD)
SPACED = "anna smith"
"""A mailbox whose name has to be quoted; of those that take such names."""
FOREIGN = "j\u00fcrgen"
"""A mailbox of those that take SMTPUTF8."""
LIMIT = 8 << 20
"""Octets that each server takes."""


class MailServer:
    """`keeps`: the fields on top of a delivered message that are the server's, with groups `sender` and `recipient`.

    Its mailboxes are USERS of `domain`.
    """

    name: str
    keeps: re.Pattern[bytes]
    rich = True
    """Whether it has SPACED and FOREIGN."""
    tls = True
    """Whether the TLS that it offers works: OpenSMTPD 6.8 with OpenSSL 3, as in Debian 12, breaks off every handshake."""
    separates = False
    """Whether it puts an empty line behind a message that has a header and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.domain = f"{self.name}.example.test"
        self.port, self.tls_port = free_port(), free_port()
        self.route = f"127.0.0.1:{self.port}"
        self.process: Process | None = None
        certificate = trustme.CA().issue_cert("customer.test")
        self.key = certificate.private_key_pem.bytes()
        self.certificate = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.configure()

    # What each does its own way

    def configure(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def maildir(self) -> Path:
        raise NotImplementedError

    # Up and down

    def start(self) -> None:
        process = self.process = Process(self.command(), self.directory / "server.log")
        process.wait_ready(lambda: listens(self.port) and listens(self.tls_port), timeout=30)

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    # What came

    def files(self, message_id: str = "") -> list[Path]:
        """Oldest first, of one message of the gateway's or of all. A maildir's `new` only has what is whole."""
        found = sorted((self.maildir() / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [file for file in found if message_id.encode() in _head(file)]

    def wait(self, count: int, message_id: str = "", *, within: float = 30) -> list[Arrived]:
        """A message for each recipient of a transaction, as all three deliver them one by one."""
        what = f"{count} messages at {self.name}"
        files = wait_until(lambda: len(found := self.files(message_id)) >= count and found, within=within, what=what)
        return [self._arrived(file) for file in files]

    def transactions(self, message_id: str) -> int:
        """How often it took a message. One that is stopped in the midst of a delivery may deliver again what it took once."""
        heads = [self.keeps.match(file.read_bytes().replace(b"\n", b"\r\n")) for file in self.files(message_id)]
        return len({head[0] for head in heads if head})

    def _arrived(self, file: Path) -> Arrived:
        # They keep mail with the line ends of Unix; the gateway lets no bare LF through, so this is undone exactly.
        content = file.read_bytes()
        assert b"\r" not in content, f"a CR in {self.name}'s maildir"
        content = content.replace(b"\n", b"\r\n")
        found = self.keeps.match(content)
        assert found, f"{self.name} begins a message otherwise than it is known to: {content[:1000]!r}"
        sender, recipient = ((found[part] or b"").decode() for part in ("sender", "recipient"))
        return Arrived(sender, (recipient,), content[found.end() :], file.stat().st_mtime)


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(4096)


def _fields(*patterns: str) -> re.Pattern[bytes]:
    return re.compile("".join(pattern + r"\r\n" for pattern in patterns).encode())


# --- Postfix

_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/lib
mail_owner = postfix
setgid_group = postdrop
myhostname = customer.test
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {directory}/etc/cert.pem
smtpd_tls_key_file = {directory}/etc/key.pem
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = texthash:{directory}/etc/users, regexp:{directory}/etc/spaced
local_header_rewrite_clients =
virtual_mailbox_base = {directory}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = {limit}
alias_maps =
alias_database =
"""
_MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
"""


class Postfix(MailServer):
    name = "postfix"
    keeps = _fields(
        r"Return-Path: <(?P<sender>[^\r\n]*)>",
        r"X-Original-To: [^\r\n]*",
        r"Delivered-To: (?P<recipient>[^\r\n]*)",
        r"Received: from gateway\.test \(localhost \[127\.0\.0\.1\]\)"
        r"(?:\r\n\t\(using [^\r\n]*)?(?:\r\n\t [^\r\n]*)?(?:\r\n\t\(No client certificate requested\))?"
        r"\r\n\tby customer\.test \(Postfix\) with (?:UTF8SMTP|ESMTP)S? id [0-9A-F]+(?:\r\n\tfor <[^\r\n]*>)?;"
        r"[ \r\n\t]+[^\r\n]*",
    )

    def configure(self) -> None:
        need("postfix")
        if os.geteuid() != 0:
            missing("root, which Postfix's master runs as,")
        nobody = pwd.getpwnam("nobody")
        for name, owner in (("etc", "root"), ("spool", "root"), ("lib", "postfix"), ("mail", "nobody")):
            (self.directory / name).mkdir(mode=0o755)
            shutil.chown(self.directory / name, pwd.getpwnam(owner).pw_uid)
        files = {"cert.pem": self.certificate, "key.pem": self.key, "users": self._users()}
        files["spaced"] = f"/^{SPACED}@/ all/\n".encode()
        files["main.cf"] = _MAIN_CF.format(
            directory=self.directory, domain=self.domain, uid=nobody.pw_uid, gid=nobody.pw_gid, limit=LIMIT
        ).encode()
        files["master.cf"] = _MASTER_CF.format(port=self.port, tls_port=self.tls_port).encode()
        for name, content in files.items():
            (self.directory / "etc" / name).write_bytes(content)

    def _users(self) -> bytes:
        return "".join(f"{user}@{self.domain} all/\n" for user in (*USERS, FOREIGN)).encode()

    def command(self) -> list[str | Path]:
        return [need("postfix"), "-c", self.directory / "etc", "start-fg"]

    def stop(self) -> None:
        # What was started is a shell around the master, and a signal would end the shell alone.
        if self.process:
            stop = [need("postfix"), "-c", str(self.directory / "etc"), "stop"]
            subprocess.run(stop, capture_output=True, timeout=60, check=False)
        super().stop()

    def maildir(self) -> Path:
        return self.directory / "mail" / "all"


# --- Exim

_EXIM_CONF = """
primary_hostname = customer.test
daemon_smtp_ports = {port} : {tls_port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = /etc/cert.pem
tls_privatekey = /etc/key.pem
message_size_limit = {limit}
recipients_max = 1000
keep_environment =
domainlist ours = {domain}
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
mail:
  deny condition = ${{if eq{{$received_port}}{{{tls_port}}}}}
       !encrypted = *
       message = encryption required
  accept
rcpt:
  require message = relay not permitted
          domains = +ours
  require verify = recipient
  accept
data:
  accept

begin routers
users:
  driver = accept
  domains = +ours
  local_parts = lsearch;/etc/users
  transport = keep
  cannot_route_message = Unknown user

begin transports
keep:
  driver = appendfile
  directory = /mail/all
  maildir_format
  user = {keeper}
  envelope_to_add
  return_path_add
"""


class Exim(MailServer):
    name = "exim"
    separates = True
    keeps = _fields(
        r"Return-path: <(?P<sender>[^\r\n]*)>",
        r"Envelope-to: (?P<recipient>[^\r\n]*)",
        r"Received: from \[127\.0\.0\.1\] \(helo=gateway\.test\)\r\n\tby customer\.test with (?:utf8)?esmtps? [^\r\n]*"
        r"(?:\r\n\t[^\r\n]*)*",
    )

    def configure(self) -> None:
        package = unpacked("exim4")
        root = self.root = Root(self.directory / "root", "Debian-exim")
        root.install(package / "usr/sbin/exim4", "usr/sbin/exim4")
        root.folders({"var/spool/exim4": (0o750, "Debian-exim", "Debian-exim")})
        root.folders({"var/log/exim4": (0o750, "Debian-exim", "Debian-exim"), "run": (0o755, "root", "root")})
        root.write("etc/cert.pem", self.certificate)
        root.write("etc/key.pem", self.key)
        root.write("etc/users", "".join(f'"{user}":\n' for user in (*USERS, SPACED, FOREIGN)))
        conf = _EXIM_CONF.format(port=self.port, tls_port=self.tls_port, limit=LIMIT, domain=self.domain, keeper=KEEPER)
        root.write("etc/exim4/exim4.conf", conf)

    def command(self) -> list[str | Path]:
        # A run over the queue every second: what a stopped server had taken and not delivered is delivered when it is back.
        return ["chroot", self.root.directory, "/usr/sbin/exim4", "-bdf", "-q1s"]

    def maildir(self) -> Path:
        return self.root.directory / "mail" / "all"


# --- OpenSMTPD

_SMTPD_CONF = """
pki customer.test cert "/etc/cert.pem"
pki customer.test key "/etc/key.pem"
smtp max-message-size "{limit}"
table users file:/etc/users
listen on 127.0.0.1 port {port} tls pki customer.test hostname customer.test
listen on 127.0.0.1 port {tls_port} tls-require pki customer.test hostname customer.test
action "keep" maildir "/mail/all" virtual <users>
action "people" maildir
match from any for domain "{domain}" action "keep"
match from any for domain "people.test" action "people"
"""


class OpenSmtpd(MailServer):
    name = "opensmtpd"
    rich = False
    tls = False
    keeps = _fields(
        # It has no such field for the null sender.
        r"(?:Return-Path: <(?P<sender>[^\r\n]*)>\r\n)?Delivered-To: (?P<recipient>[^\r\n]*)",
        r"Received: from gateway\.test \(localhost \[127\.0\.0\.1\]\)\r\n\tby customer\.test \(OpenSMTPD\) with [^\r\n]*"
        r"(?:\r\n\t[^\r\n]*)*",
    )

    def configure(self) -> None:
        package = unpacked("smtpd")
        root = self.root = Root(self.directory / "root", "opensmtpd", "opensmtpq")
        root.install(package / "usr/sbin/smtpd", "usr/sbin/smtpd")
        root.install(Path("/bin/sh").resolve(), "bin/sh")
        for program in (package / "usr/libexec/opensmtpd").iterdir():
            root.install(program, f"usr/libexec/opensmtpd/{program.name}")
        root.folders({"var/spool": (0o711, "root", "root"), "var/run": (0o755, "root", "root")})
        root.folders({"var/lib/opensmtpd/empty": (0o711, "root", "root"), "run": (0o755, "root", "root")})
        root.write("etc/cert.pem", self.certificate)
        root.write("etc/key.pem", self.key, 0o600)
        root.write("etc/users", "".join(f"{user}@{self.domain} {KEEPER}\n" for user in USERS))
        conf = _SMTPD_CONF.format(port=self.port, tls_port=self.tls_port, limit=LIMIT, domain=self.domain)
        root.write("etc/smtpd.conf", conf)

    def command(self) -> list[str | Path]:
        return ["chroot", self.root.directory, "/usr/sbin/smtpd", "-d"]

    def maildir(self) -> Path:
        return self.root.directory / "mail" / "all"


KINDS: dict[str, type[MailServer]] = {kind.name: kind for kind in (Postfix, Exim, OpenSmtpd)}


@contextlib.contextmanager
def mail_server(name: str) -> Iterator[MailServer]:
    """One that runs, in a directory under a short path that its own users can enter."""
    with tempfile.TemporaryDirectory(prefix="gp-") as path:
        directory = Path(path)
        directory.chmod(0o755)
        server = KINDS[name](directory)
        try:
            server.start()
            yield server
        finally:
            server.stop()
