"""Domains that belong together, and mail for each of their names."""

from __future__ import annotations

import smtplib

from pipeline.events import Received
from tests.support.gateway import send_on
from tests.support.servers import wait_until

MESSAGE = b"From: a@elsewhere.test\r\nSubject: hello\r\n\r\nbody\r\n"


def test_mail_for_an_alias_is_mail_for_the_same_mailboxes_and_the_log_says_which_name_was_used(running, server, domain):
    alias = f"alias-{domain}"
    running.cli("domain", "add", alias, "--alias-of", domain)
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("sender.test")
        message_id = wait_until(
            lambda: send_on(client, MESSAGE, f"Anna@{alias}", f"anna@{domain}", f"ben@{domain}"), what="the alias"
        )
        client.mail("a@elsewhere.test")
        assert client.rcpt(f"nobody@{alias}")[0] == 550
    (arrived,) = server.wait(1)
    assert arrived.recipients == (f"Anna@{domain}", f"ben@{domain}"), "one mailbox is one copy"
    received = running.message_events()[message_id][0]
    assert isinstance(received, Received)
    assert received.domain == domain
    assert [spec.original for spec in received.recipients] == [f"Anna@{alias}", ""]
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    assert f"Anna@{alias}" in running.cli("trace", message_id).stdout
    assert f"{alias} is an alias of {domain}" in running.cli("trace", message_id).stdout


def test_a_child_has_its_parents_route_and_its_own_people(running, server, domain):
    child = f"child.{domain}"
    running.cli("domain", "add", child, "--parent", domain)
    running.cli("address", "add", f"cleo@{child}")
    message_id = running.send(MESSAGE, f"cleo@{child}")
    (arrived,) = server.wait(1)
    assert (arrived.recipients, arrived.id) == ((f"cleo@{child}",), message_id)
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("sender.test")
        client.mail("a@elsewhere.test")
        assert client.rcpt(f"anna@{child}")[0] == 550


def test_mail_that_waits_while_its_domain_becomes_an_alias_arrives_where_that_is_at_home(running, server, domain):
    old = f"old-{domain}"
    running.add("127.0.0.1:9", f"anna@{old}", domain=old)
    message_id = running.send(MESSAGE, f"anna@{old}")
    wait_until(
        lambda: "RouteDeferred" in running.kinds("@" + old) or running.json("queue", old)["domains"], what="a queue"
    )
    running.cli("domain", "merge", old, domain, "--yes")
    (arrived,) = server.wait(1)
    assert (arrived.recipients, arrived.id) == ((f"anna@{domain}",), message_id)
