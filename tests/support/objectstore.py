"""Real object stores on free ports, for the archive and for bodies: an S3 server (moto's), and by hand Azure's (Azurite).

`GATEPOST_TEST_AZURITE` is the folder that `npm install azurite` was called in; the tests of what any store has to do then use it as well.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

from tests.support.servers import Process, free_port, listens, need

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-test",
    "AWS_REGION": "us-east-1",
}


AZURITE = os.environ.get("GATEPOST_TEST_AZURITE", "")
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's, printed in its manual."""
SERVERS = ["S3", "Azure"] if AZURITE else ["S3"]


class StoreServer:
    """A process whose objects are in memory, so a stop that keeps them is `paused()`."""

    environment: Mapping[str, str]
    address: str
    """Of its bucket."""
    endpoint: str
    """The variable that says where the server is."""
    secret: str
    """What nobody may repeat."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.process: Process | None = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are taken, and nothing is answered."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            return connection.getresponse().read()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()


class S3Server(StoreServer):
    address = f"s3://{BUCKET}"
    endpoint = "AWS_ENDPOINT_URL"
    secret = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment = {**ENVIRONMENT, self.endpoint: f"http://127.0.0.1:{self.port}"}

    def start(self, *, bucket: bool = True) -> None:
        program = Path(sys.executable).with_name("moto_server")
        self.process = Process([program, "-H", "127.0.0.1", "-p", str(self.port)], self.directory / "moto.log")
        self.process.wait_ready(lambda: listens(self.port), timeout=60)
        if bucket:
            self.request("PUT", f"/{BUCKET}")

    def names(self, prefix: str) -> list[str]:
        """Of all objects whose names begin so, without that."""
        listing = self.request("GET", f"/{BUCKET}?list-type=2&prefix={prefix}").decode()
        return [name.removeprefix(prefix) for name in re.findall(r"<Key>([^<]*)</Key>", listing)]

    def use(self) -> None:
        """It is the store of this process, and of those that it starts."""
        os.environ.update(self.environment)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self._request(
            method, path, {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}, body
        )


class AzureServer(StoreServer):
    address = f"az://{BUCKET}"
    endpoint = "AZURE_ENDPOINT"
    secret = KEY

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            self.endpoint: f"http://127.0.0.1:{self.port}/{ACCOUNT}",
        }

    def start(self) -> None:
        program = Path(AZURITE, "node_modules", "azurite", "dist", "src", "blob", "main.js")
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence"]
        options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        self.process = Process([need("node"), program, *where, *options], self.directory / "azurite.log")
        self.process.wait_ready(lambda: listens(self.port), timeout=60)
        self._signed("PUT", "restype:container", f"/{BUCKET}?restype=container")

    def names(self, prefix: str) -> list[str]:
        listing = self._signed(
            "GET",
            f"comp:list\nprefix:{prefix}\nrestype:container",
            f"/{BUCKET}?restype=container&comp=list&prefix={prefix}",
        )
        return [name.removeprefix(prefix) for name in re.findall(r"<Name>([^<]*)</Name>", listing.decode())]

    def _signed(self, method: str, query: str, path: str) -> bytes:
        """Shared Key of the Blob service; `query`: the parameters as they are signed."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
        named = "\n".join(f"{name}:{value}" for name, value in headers.items())
        signed = method + "\n" * 12 + f"{named}\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\n{query}"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
        return self._request(
            method, f"/{ACCOUNT}{path}", {**headers, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
        )


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    with store_server("S3") as server:
        assert isinstance(server, S3Server)
        yield server


@contextlib.contextmanager
def store_server(kind: str) -> Iterator[S3Server | AzureServer]:
    """One of `SERVERS`."""
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        server = S3Server(Path(directory)) if kind == "S3" else AzureServer(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()
