"""Whoever the operator's webhook belongs to: a real HTTP server that takes posts, refuses them, hangs, or is away.

with webhook() as hook:
    Settings(alert_webhook=hook.url)
    hook.mode = "500"
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.support.servers import ROOT, free_port


class Post(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes
    taken: bool

    @property
    def form(self) -> Any:
        return json.loads(self.body)


class Webhook:
    """`mode`: ok; a status, as text; hang (never answers); drop (closes without a word); flood (an answer without end); garbage (no HTTP).

    `answer`, `headers`: what else it says.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = "ok"
        self.answer = b""
        self.headers: dict[str, str] = {}
        self.posts: list[Post] = []
        self.released = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts?from=gatepost"

    @property
    def taken(self) -> list[Post]:
        return [post for post in self.posts if post.taken]

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mode = hook.mode
                hook.posts.append(Post(self.path, dict(self.headers.items()), body, mode == "ok"))
                if mode == "hang":
                    hook.released.wait(60)
                elif mode == "garbage":
                    self.wfile.write(b"\x1b[31mHTTP/9 so what\r\n\r\n")
                elif mode != "drop":
                    self._answer(mode)

            def _answer(self, mode: str) -> None:
                self.send_response(200 if mode in ("ok", "flood") else int(mode))
                if mode.startswith("3"):
                    self.send_header("Location", hook.url)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(hook.answer)
                with contextlib.suppress(OSError):
                    while mode == "flood" and not hook.released.is_set():
                        self.wfile.write(b"x" * 65536)

            def log_message(self, *_: Any) -> None:
                """Nothing: the posts are kept."""

        return Handler


def verified(secret: bytes, post: Post, now: float | None = None) -> bool:
    """As the code in docs/alerts.md says it: whether a post is Gatepost's, whole, and of these minutes."""
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    if now is not None:
        names["time"] = SimpleNamespace(time=lambda: now)
    return bool(names["verified"](secret, post.headers, post.body))


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    hook.start()
    try:
        yield hook
    finally:
        hook.stop()
