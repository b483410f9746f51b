"""A delivery test beside a running gateway: it sees the customer's server, and the gateway sees nothing of it."""

from __future__ import annotations

from pipeline.events import Acted


def test_a_delivery_test_leaves_the_running_gateway_alone(running, server, domain):
    before = running.events()
    found = running.json("test", domain)
    assert found["ok"]
    assert found["complete"]
    assert found["known"] == f"anna@{domain}"
    assert found["visits"][0]["quick"]["greeted"] == 10
    assert server.arrived == []
    assert running.events() == before


def test_a_message_of_a_delivery_test_arrives_and_is_none_of_the_queue(running, server, domain):
    before = running.events()
    found = running.json("test", domain, "--send", "--to", f"ben@{domain}", "--quick")
    (arrived,) = server.arrived
    assert arrived.recipients == (f"ben@{domain}",)
    assert f"X-Gatepost-Test: {found['sent']}\r\n".encode() in arrived.content
    assert arrived.id == ""
    (done,) = [one.event for one in running.events() if one not in before]
    assert isinstance(done, Acted)


def test_a_route_that_leads_to_the_gateway_is_found_before_it_is_taken(running, domain):
    refused = running.cli("domain", "set", domain, "--route", f"127.0.0.1:{running.port}", ok=False)
    assert refused.returncode == 4
    assert running.json("test", domain, "--quick")["ok"]
