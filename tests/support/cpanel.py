"""An account on a cPanel server, as far as its UAPI goes: what it answers is what the documentation shows.

    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        CpanelSource(url=cpanel.url, user=cpanel.user, ...)

Knobs: `account.spoil["Email/list_pops"] = Page(...)` puts another answer, or a list of them, in the place of a call's;
`account.failing["Email/list_forwarders example.test"] = "words"` lets one call fail in cPanel's own way.
"""

from __future__ import annotations

import dataclasses
import json
import ssl
from typing import Any

from aiohttp import web

from tests.support.pages import Page, Pages

TOKEN = "U7HMR63FGY292DQZ4H5BFH16JLYMO01M"  # the documentation's


@dataclasses.dataclass
class Account:
    main: str = "example.test"
    addon: list[str] = dataclasses.field(default_factory=list)
    parked: list[str] = dataclasses.field(default_factory=list)
    sub: list[str] = dataclasses.field(default_factory=list)
    mailboxes: list[str] = dataclasses.field(default_factory=list)
    suspended: list[str] = dataclasses.field(default_factory=list)
    """Mailboxes whose incoming mail is suspended, besides the others."""
    forwarders: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    defaults: dict[str, str] = dataclasses.field(default_factory=dict)
    lists: list[str] = dataclasses.field(default_factory=list)
    failing: dict[str, str] = dataclasses.field(default_factory=dict)
    spoil: dict[str, Page | list[Page]] = dataclasses.field(default_factory=dict)
    nested: bool = False
    """Answers within `result`, as the documentation prints them."""


class Cpanel(Pages):
    def __init__(self, *, tls: ssl.SSLContext | None = None, user: str = "example", **account: Any) -> None:
        super().__init__({}, tls=tls)
        self.user = user
        self.account = Account(**account)
        self.calls: list[str] = []

    def page(self, request: web.BaseRequest) -> Page:
        if request.headers.get("Authorization") != f"cpanel {self.user}:{TOKEN}":
            return Page(b"<html>Login</html>", 401)
        call = request.path.removeprefix("/execute/")
        domain = request.query.get("domain", "")
        self.calls.append(f"{call} {domain}".strip())
        if call in self.account.spoil:
            self.pages[request.path] = self.account.spoil[call]
            return super().page(request)
        for key in (call, f"{call} {domain}"):
            if key in self.account.failing:
                return self._answer(0, None, [self.account.failing[key]])
        return self._answer(1, self._data(call, domain, request), None)

    def _answer(self, status: int, data: object, errors: list[str] | None) -> Page:
        inner = {"status": status, "errors": errors, "messages": None, "warnings": None, "metadata": {}, "data": data}
        whole = {"apiversion": 3, "func": "x", "module": "y", "result": inner} if self.account.nested else inner
        return Page(json.dumps(whole).encode(), headers={"Content-Type": "application/json"})

    def _data(self, call: str, domain: str, request: web.BaseRequest) -> object:
        account = self.account
        if call == "DomainInfo/list_domains":
            return {
                "main_domain": account.main,
                "addon_domains": account.addon,
                "parked_domains": account.parked,
                "sub_domains": account.sub,
            }
        if call == "Email/list_pops":
            assert request.query.get("skip_main") == "1"
            rows = [(name, 0) for name in account.mailboxes] + [(name, 1) for name in account.suspended]
            return [
                {"email": name, "login": name, "suspended_incoming": off, "suspended_login": 0} for name, off in rows
            ]
        if call == "Email/list_forwarders":
            rows_ = [(dest, to) for dest, to in account.forwarders if dest.endswith(f"@{domain}")]
            return [{"dest": dest, "forward": to, "html_dest": dest, "html_forward": to} for dest, to in rows_]
        if call == "Email/list_default_address":
            assert request.query["user"] == self.user
            return [{"domain": domain, "defaultaddress": account.defaults.get(domain, '":fail: No Such User Here"')}]
        assert call == "Email/list_lists", call
        return [{"list": name, "listid": name.replace("@", "_"), "accesstype": "private"} for name in account.lists]
