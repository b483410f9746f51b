"""A real Postfix is recognised, talked to and limited as it limits everybody."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from bench.systems import Postfix
from tests.support import servers
from tests.support.servers import free_port
from tests.workers.probing.support import found, kinds, plan, run
from workers.probing import Patience

DOMAIN = "relayed.example"


class Tight(Postfix):
    """With TLS, and no more than four connections of one client at once."""

    def _main_cf(self) -> str:
        chain = self.directory / "chain.pem"
        trustme.CA().issue_cert("peer.example").private_key_and_cert_chain_pem.write_to_path(chain)
        more = ["smtpd_client_connection_count_limit = 4", "smtpd_client_event_limit_exceptions =",
                "smtpd_tls_security_level = may", f"smtpd_tls_chain_files = {chain}"]  # fmt: skip
        return "\n".join([super()._main_cf(), *more, ""])


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    servers.need("postfix")
    if os.geteuid() != 0:
        servers.missing("root, which Postfix's master runs as,")
    with tempfile.TemporaryDirectory(prefix="gpp-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Tight(directory / "postfix", {DOMAIN: free_port()}) as started:
            yield started


async def test_a_real_postfix_is_looked_at(postfix):
    wanted = plan(
        f"127.0.0.1:{postfix.port}", domain=DOMAIN, known=f"user@{DOMAIN}", random=f"nobody@{DOMAIN}", quick=False
    )
    report = await run(wanted, Patience())
    (visit,) = report.visits
    assert visit.software == "postfix"
    assert report.complete
    assert visit.tls is not None
    assert visit.tls.version == "TLSv1.3"
    assert visit.tls.certificate is not None
    assert visit.tls.certificate.names == ("peer.example",)
    assert kinds(report) == {
        "certificate-untrusted": "warning",
        "postmaster-refused": "warning",
        "quick-refused": "warning",
    }
    assert "User unknown in relay recipient table" in str(found(report, "unknown-refused").values["words"])
    assert visit.quick is not None
    assert visit.quick.greeted == 4
    assert visit.quick.refused is not None
    assert visit.quick.refused.code == 421


async def test_a_real_postfix_takes_the_marked_message(postfix):
    wanted = plan(
        f"127.0.0.1:{postfix.port}", domain=DOMAIN, known=f"user@{DOMAIN}", random=f"nobody@{DOMAIN}", send="ab12cd"
    )
    report = await run(wanted, Patience())
    assert "queued as" in str(found(report, "sent").values["words"])


async def test_a_domain_that_a_real_postfix_does_not_know_is_refused_as_relaying(postfix):
    wanted = plan(
        f"127.0.0.1:{postfix.port}", domain="else.example", known="user@else.example", random="x@else.example"
    )
    report = await run(wanted, Patience())
    assert kinds(report)["recipient-refused"] == "bad"
    assert "Relay access denied" in str(found(report, "recipient-refused").values["words"])
