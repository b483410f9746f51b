"""Directory servers: OpenLDAP's slapd, for real, and one that answers as its script says.

with slapd(people(5000)) as server:
    LdapSource(servers=(server.url,), base=BASE, ...)
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import trustme

from tests.support.listening import Listening
from tests.support.servers import PATH, Process, free_port, listens, missing, need

BASE = "dc=example,dc=test"
ADMIN = f"cn=admin,{BASE}"
PASSWORD = "correct horse"
SCHEMAS = Path("/etc/ldap/schema")
OURS = Path(__file__).with_name("schema")
ROOT = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n"


def person(uid: str, *lines: str, classes: Sequence[str] = ("inetOrgPerson",)) -> str:
    """One entry of LDIF below BASE; `lines` such as `mail: anna@example.test`."""
    head = [
        f"dn: uid={uid},{BASE}",
        *(f"objectClass: {name}" for name in classes),
        f"uid: {uid}",
        f"cn: {uid}",
        f"sn: {uid}",
    ]
    return "\n".join([*head, *lines]) + "\n\n"


def entry(rdn: str, classes: Sequence[str], *lines: str) -> str:
    name, _, value = rdn.partition("=")
    return (
        "\n".join([f"dn: {rdn},{BASE}", *(f"objectClass: {one}" for one in classes), f"{name}: {value}", *lines])
        + "\n\n"
    )


def people(number: int) -> str:
    return "".join(
        person(f"u{n}", f"mail: user.{n}@example.test", f"mail: alias.{n}@example.test") for n in range(number)
    )


class Slapd:
    """slapd with one database, in a directory of its own. `database`: lines of slapd.conf that belong to it,
    `second`: those of another, which is empty."""

    def __init__(
        self,
        directory: Path,
        ldif: str,
        *,
        schemas: Sequence[str] = ("mail",),
        database: Sequence[str] = (),
        sync: bool = False,
        second: Sequence[str] = (),
        tls: trustme.CA | None = None,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
    ) -> None:
        self.program, self.slapadd = need("slapd"), need("slapadd")
        if not (SCHEMAS / "core.schema").exists():
            missing("slapd's schema files")
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port() if tls else 0
        self.url, self.tls_url = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.config = directory / "slapd.conf"
        self.process: Process | None = None
        (directory / "db").mkdir()
        lines = ["modulepath /usr/lib/ldap", "moduleload back_mdb", "moduleload syncprov"]
        lines += [f"include {SCHEMAS / name}.schema" for name in ("core", "cosine", "inetorgperson")]
        lines += [f"include {OURS / name}.schema" for name in schemas]
        if tls:
            lines += self._certify(tls, names)
        lines += ["database mdb", f"directory {directory / 'db'}", "maxsize 1073741824", f"suffix {BASE}"]
        lines += [f'rootdn "{ADMIN}"', f'rootpw "{PASSWORD}"', *database]
        if sync:
            lines += ["overlay syncprov"]
        if second:
            (directory / "second").mkdir()
            lines += ["database mdb", f"directory {directory / 'second'}", "maxsize 10485760", *second]
        self.config.write_text("\n".join(lines) + "\n", "utf-8")
        seed = directory / "seed.ldif"
        seed.write_text(ROOT + ldif, "utf-8")
        # -w writes contextCSN, as whoever sets up or restores a synchronised directory does.
        self._run([self.slapadd, "-q", "-w", "-b", BASE, "-f", str(self.config), "-l", str(seed)])

    def _certify(self, ca: trustme.CA, names: Sequence[str]) -> list[str]:
        certificate = ca.issue_cert(*names)
        (self.directory / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        (self.directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        ca.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        files = {"Certificate": "cert", "CertificateKey": "key", "CACertificate": "ca"}
        return [f"TLS{name}File {self.directory / file}.pem" for name, file in files.items()]

    def start(self) -> Self:
        urls = [self.url, *([self.tls_url] if self.tls_port else [])]
        arguments = [self.program, "-f", self.config, "-h", " ".join(urls), "-d", "0"]
        self.process = Process(arguments, self.directory / "log")
        self.process.wait_ready(lambda: listens(self.port) and (not self.tls_port or listens(self.tls_port)))
        return self

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def modify(self, ldif: str) -> None:
        """Changes as ldapmodify takes them (an entry alone is added), by the administrator."""
        ldapmodify(self.url, ADMIN, PASSWORD, ldif)

    def _run(self, arguments: Sequence[str]) -> None:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, env={"PATH": PATH})
        assert done.returncode == 0, done.stderr[-2000:]


def ldapmodify(url: str, who: str, password: str, ldif: str) -> None:
    arguments = [need("ldapmodify"), "-a", "-x", "-H", url, "-D", who, "-w", password]
    done = subprocess.run(arguments, input=ldif, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@contextlib.contextmanager
def slapd(ldif: str, **options: object) -> Iterator[Slapd]:
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        server = Slapd(Path(directory), ldif, **options)  # type: ignore[arg-type]
        try:
            yield server.start()
        finally:
            server.stop()


# --- Answers by hand (RFC 4511 4), for servers that no real one is


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes(4, "big")
    return bytes((tag, 0x84)) + length + body


def octets(text: str | bytes) -> bytes:
    return tlv(4, text.encode() if isinstance(text, str) else text)


def number(value: int, tag: int = 2) -> bytes:
    return tlv(tag, value.to_bytes((value.bit_length() // 8) + 1, "big"))


def result(tag: int, code: int = 0, words: str = "", *, matched: str = "", referral: str = "") -> bytes:
    referrals = tlv(0xA3, octets(referral)) if referral else b""
    return tlv(tag, number(code, 0x0A), octets(matched), octets(words), referrals)


def found(dn: str | bytes, **attributes: Sequence[str | bytes]) -> bytes:
    """An entry. Underscores in names stand for hyphens, `__` for a semicolon, and `_eq_` for =."""
    lists = []
    for name, values in attributes.items():
        plain = name.replace("_eq_", "=").replace("__", ";").replace("_", "-")
        lists.append(tlv(0x30, octets(plain), tlv(0x31, *map(octets, values))))
    return tlv(0x64, octets(dn), tlv(0x30, *lists))


def paged(cookie: bytes) -> bytes:
    value = tlv(0x30, number(0), octets(cookie))
    return tlv(0xA0, tlv(0x30, octets("1.2.840.113556.1.4.319"), octets(value)))


BIND_OK = result(0x61)
DONE = result(0x65)


class Raw(bytes):
    """Sent as it is, not as a message."""


class Scripted(Listening):
    """A server that gives each request its turn of the script: a list of operations, sent with the number of the request.

    The turns of `bind` (default: success), `starttls` and `search` are counted each for itself; the last one is repeated. The
    first search is for the root entry. A function in place of an operation is called with the writer and ends the turn.
    """

    def __init__(
        self, *search: Sequence[object], bind: Sequence[object] = (BIND_OK,), starttls: Sequence[object] = ()
    ) -> None:
        super().__init__()
        self.turns = {0x60: [bind], 0x77: [starttls], 0x63: list(search)}
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        used = dict.fromkeys(self.turns, 0)
        while True:
            message = await _read_message(reader)
            self.requests.append(message)
            identifier, operation = _split(message)
            turns = self.turns.get(operation)
            if turns is None:
                return
            turn = turns[min(used[operation], len(turns) - 1)]
            used[operation] += 1
            for part in turn:
                if callable(part):
                    await part(writer)
                else:
                    writer.write(part if isinstance(part, Raw) else tlv(0x30, identifier, part))
            await writer.drain()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    length = head[1]
    if length >= 0x80:
        more = await reader.readexactly(length - 0x80)
        head += more
        length = int.from_bytes(more, "big")
    return head + await reader.readexactly(length)


def _split(message: bytes) -> tuple[bytes, int]:
    """(the number as it came, the operation's tag) of a short-form or long-form message."""
    at = 2 + (message[1] - 0x80 if message[1] >= 0x80 else 0)
    end = at + 2 + message[at + 1]
    return message[at:end], message[end]
