"""A real S3 server on a free port (moto's), as an object store for the archive and for bodies."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import Process, free_port, listens

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-test",
    "AWS_REGION": "us-east-1",
}


class S3Server:
    """`stop()` and `start()` as a test likes; its objects are in memory, so a stop that keeps them is `paused()`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.process: Process | None = None
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

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

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are taken, and nothing is answered."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def use(self) -> None:
        """It is the store of this process, and of those that it starts."""
        os.environ.update(self.environment)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(
                method,
                path,
                body,
                {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"},
            )
            return connection.getresponse().read()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        server = S3Server(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()
