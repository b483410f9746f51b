"""What connections to Redis are encrypted with: one context, made of the files as they are now."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from pipeline.faults import ConfigurationError
from pipeline.topology.address import Tls
from pipeline.topology.tls import Contexts


def write(directory: Path) -> Tls:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    made = authority.issue_cert("localhost")
    made.cert_chain_pems[0].write_to_path(directory / "own.pem")
    made.private_key_pem.write_to_path(directory / "own.key")
    return Tls(str(directory / "ca.pem"), str(directory / "own.pem"), str(directory / "own.key"))


def test_an_authority_that_is_named_is_the_only_one_trusted(tmp_path):
    assert len(Contexts(write(tmp_path)).get().get_ca_certs()) == 1


def test_a_context_serves_all_connections_until_its_files_change(tmp_path):
    contexts = Contexts(write(tmp_path))
    first = contexts.get()
    assert contexts.get() is first
    write(tmp_path)
    second = contexts.get()
    assert second is not first
    assert contexts.get() is second
    assert first.get_ca_certs() != second.get_ca_certs()


def test_files_that_are_being_replaced_leave_the_context_that_was_there(tmp_path):
    tls = write(tmp_path)
    contexts = Contexts(tls)
    first = contexts.get()
    (tmp_path / "own.key").write_text("half a key")
    assert contexts.get() is first
    (tmp_path / "own.key").unlink()
    assert contexts.get() is first
    write(tmp_path)
    assert contexts.get() is not first
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(ConfigurationError, match="redis_tls_ca"):
        Contexts(tls)
