"""A real Active Directory domain controller: Samba's, which serves LDAP and nothing else here.

Its ports are fixed (389 and 636), so each has a loopback address of its own. Setting up a domain takes some seconds, and is
done once for all test workers; each then starts a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trustme

from tests.support.ldap import ldapmodify
from tests.support.servers import PATH, Process, listens, missing, need

BASE = "DC=ad,DC=example,DC=test"
USERS = f"CN=Users,{BASE}"
ADMIN = "Administrator@ad.example.test"
PASSWORD = "Passw0rd-1"

# Exchange adds these to the schema of a domain.
EXCHANGE = f"""\
dn: CN=ms-Exch-Target-Address,CN=Schema,CN=Configuration,{BASE}
changetype: add
objectClass: attributeSchema
attributeID: 1.2.840.113556.1.2.352
lDAPDisplayName: targetAddress
attributeSyntax: 2.5.5.12
oMSyntax: 64
isSingleValued: TRUE

dn: CN=ms-Exch-Recipient-Type-Details,CN=Schema,CN=Configuration,{BASE}
changetype: add
objectClass: attributeSchema
attributeID: 1.2.840.113556.1.4.7000.102.50855
lDAPDisplayName: msExchRecipientTypeDetails
attributeSyntax: 2.5.5.16
oMSyntax: 65
isSingleValued: TRUE

dn:
changetype: modify
add: schemaUpdateNow
schemaUpdateNow: 1
-

dn: CN=Mail-Recipient,CN=Schema,CN=Configuration,{BASE}
changetype: modify
add: mayContain
mayContain: targetAddress
mayContain: msExchRecipientTypeDetails
-

dn:
changetype: modify
add: schemaUpdateNow
schemaUpdateNow: 1
-
"""


def account(name: str, *lines: str, disabled: bool = False, where: str = USERS) -> str:
    """A user in LDIF; 512 is a normal account, 32 needs no password, 2 is disabled."""
    head = [f"dn: CN={name},{where}", "changetype: add", "objectClass: user", f"sAMAccountName: {name}"]
    return "\n".join([*head, f"userAccountControl: {512 + 32 + 2 * disabled}", *lines]) + "\n\n"


def thing(name: str, kind: str, *lines: str, where: str = USERS) -> str:
    return "\n".join([f"dn: CN={name},{where}", "changetype: add", f"objectClass: {kind}", *lines]) + "\n\n"


class DomainController:
    def __init__(self, directory: Path, address: str, *, exchange: bool) -> None:
        self.directory = directory
        self.address = address
        self.url, self.tls_url = f"ldap://{address}", f"ldaps://{address}"
        self.exchange = exchange
        self.process: Process | None = None
        self.ca_file = directory / "ca.pem"

    def start(self) -> None:
        ca = trustme.CA()
        certificate = ca.issue_cert(self.address)
        ca.cert_pem.write_to_path(str(self.ca_file))
        (self.directory / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        (self.directory / "key.pem").chmod(0o600)  # Samba starts no TLS with a key that others may read
        (self.directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        options = {
            "server services": "ldap",
            "interfaces": f"{self.address}/8",
            "ldap server require strong auth": "no",
            "dsdb:schema update allowed": "true",
            "pid directory": str(self.directory),
            "ncalrpc dir": str(self.directory / "ncalrpc"),
            "log file": str(self.directory / "log.%m"),
            "tls keyfile": str(self.directory / "key.pem"),
            "tls certfile": str(self.directory / "cert.pem"),
            "tls cafile": str(self.ca_file),
        }
        words = [f"--option={name}={value}" for name, value in options.items()]
        config = self.directory / "etc" / "smb.conf"
        arguments = [need("samba"), "-i", "-M", "single", "-s", config, "--debug-stdout", "-d1", *words]
        self.process = Process(arguments, self.directory / "samba.log")
        self.process.wait_ready(lambda: listens(389, self.address) and listens(636, self.address), timeout=60)
        if self.exchange:
            self.modify(EXCHANGE)

    def modify(self, ldif: str) -> None:
        ldapmodify(self.url, ADMIN, PASSWORD, ldif)

    def stop(self) -> None:
        if self.process:
            self.process.stop()


@contextlib.contextmanager
def domain_controller(shared: Path, worker: int, *, exchange: bool = True) -> Iterator[DomainController]:
    """`shared`: a directory of all workers, for the domain that is copied. `worker`: a number that no other worker has."""
    if os.geteuid() != 0:
        missing("root, which Samba's ports need,")
    need("samba-tool"), need("samba"), need("ldapmodify")
    original = _provisioned(shared)
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        copy = Path(directory) / "dc"
        shutil.copytree(original, copy, symlinks=True)
        config = copy / "etc" / "smb.conf"
        config.write_text(config.read_text("utf-8").replace(str(original), str(copy)), "utf-8")
        controller = DomainController(copy, f"127.53.{worker >> 8 & 255}.{worker & 255}", exchange=exchange)
        try:
            controller.start()
            yield controller
        finally:
            controller.stop()


def _provisioned(shared: Path) -> Path:
    domain = shared / "domain"
    with (shared / "domain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not domain.exists():
            growing = shared / "domain.growing"
            _provision(growing)
            config = growing / "etc" / "smb.conf"
            config.write_text(config.read_text("utf-8").replace(str(growing), str(domain)), "utf-8")
            growing.rename(domain)
    return domain


def _provision(directory: Path) -> None:
    options = ("--realm=AD.EXAMPLE.TEST", "--domain=ADTEST", "--server-role=dc", f"--adminpass={PASSWORD}")
    names = ("--host-name=dc1", "--host-ip=127.53.0.1", "--dns-backend=NONE", f"--targetdir={directory}")
    only = ("--option=interfaces=127.53.0.1/8", "--option=bind interfaces only=yes")
    # The rights to SYSVOL's files go into a database: as attributes of the files, a container's root may not set them.
    only += (f"--option=posix:eadb={directory / 'eadb.tdb'}",)
    arguments = [need("samba-tool"), "domain", "provision", *options, *names, *only]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "PATH": PATH}
    )
    assert done.returncode == 0, done.stderr[-3000:]
