"""Domains that share a server take turns."""

from __future__ import annotations

from workers.deliverer import crowds
from workers.deliverer.crowds import Crowds

A, B, C = (0, "a.test"), (1, "b.test"), (2, "c.test")


def test_a_domain_whose_server_has_enough_slots_waits_for_its_turn_and_is_told_once():
    crowd = Crowds(2)
    assert [crowd.enter("x:25", A), crowd.enter("x:25", A)] == [True, True]
    assert [crowd.enter("x:25", one) for one in (B, C, B)] == [False, False, False]
    assert crowd.leave("x:25") == B
    assert crowd.enter("x:25", B)
    assert crowd.leave("x:25") == C
    assert crowd.leave("x:25") is None
    assert crowd.enter("x:25", A)


def test_a_crowd_at_one_server_is_no_other_servers_and_nobody_waits_for_a_server_that_is_not_known():
    crowd = Crowds(1)
    assert crowd.enter("x:25", A)
    assert not crowd.enter("x:25", B)
    assert crowd.enter("y:25", C)
    assert all(crowd.enter("", one) for one in (A, B, C))
    assert [crowd.leave(server) for server in ("", "y:25", "x:25")] == [None, None, B]


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(crowds, "REMEMBERED", 2)
    crowd = Crowds(0)
    assert not any(crowd.enter("x:25", (0, f"d{number}.test")) for number in range(5))
    crowd._inside["x:25"] = 5
    assert [crowd.leave("x:25") for _ in range(3)] == [(0, "d0.test"), (0, "d1.test"), None]
