"""What it means whether the sender is proved; and when forwarding has broken the proof."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.authentication.arc import Chain
from pipeline.authentication.dkim import Signature
from pipeline.authentication.dmarc import Result as DmarcResult
from pipeline.authentication.spf import Result as SpfResult
from pipeline.authentication.together import Authentication
from pipeline.events import AuthResult
from pipeline.scanning.builtin.authenticity import Authenticity
from pipeline.scanning.engine import Mail, Report
from pipeline.scanning.policy import judge
from pipeline.settings import Settings
from tests.support.mail import HEAD, SETTINGS, message

TEST = Authenticity(SETTINGS.trusted_sealers)
SPF = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]
LIST = "List-Id: <x.lists.example>\r\n"


def known(
    spf: str = "none", dkim: str = "", dmarc: str = "", policy: str = "reject", *, testing: bool = False, **more: object
) -> Authentication:
    results = [AuthResult(method="spf", result=spf), AuthResult(method="dkim", result=dkim or "none")]
    if dmarc:
        results.append(AuthResult(method="dmarc", result=dmarc))
    return Authentication(
        results=tuple(results),
        spf=SpfResult(spf, "a.example"),
        dkim=(Signature(result=dkim, domain="a.example"),) if dkim else (),
        dmarc=DmarcResult(dmarc, "a.example", "a.example", policy, testing) if dmarc else None,
        **more,
    )


def found(authentication: Authentication, head: str = "", sender: str = "some.one@a.example") -> dict[str, float]:
    received = msgspec.structs.replace(message(), sender=sender)
    return {
        finding.name: finding.score
        for finding in TEST.look(Mail(received, head.encode() + HEAD + b"\r\nx", authentication))
    }


@pytest.mark.parametrize(
    ("authentication", "names"),
    [
        (known("fail", dmarc="fail"), {"DMARC_REJECT": 4.0, "SPF_FAIL": 1.0}),
        (known("softfail", dmarc="fail", policy="quarantine"), {"DMARC_QUARANTINE": 3.0, "SPF_SOFTFAIL": 0.5}),
        (known("pass", dmarc="fail", policy="none"), {"DMARC_NONE": 0.3}),
        (known("pass", dmarc="fail", testing=True), {"DMARC_QUARANTINE": 3.0}),
        (known("pass", dmarc="fail", policy="quarantine", testing=True), {"DMARC_NONE": 0.3}),
        (known("fail", "pass", "pass"), {"DMARC_PASS": -0.3, "DKIM_PASS": -0.1}),
        (known("pass", "", "pass"), {"DMARC_PASS": -0.3}),
        (known("fail"), {"SPF_FAIL": 1.0}),
        (known("softfail"), {"SPF_SOFTFAIL": 0.5}),
        (known("none"), {"NOT_AUTHENTICATED": 0.3}),
        (known("none", "fail"), {"DKIM_BROKEN": 0.2}),
        (known("none", "pass"), {"DKIM_PASS": -0.1}),
        (known("pass"), {}),
        # Nobody knows for now.
        (known("temperror"), {}),
        (known("none", dmarc="temperror"), {}),
        (known("none", "temperror"), {}),
        (known("temperror", dmarc="temperror"), {}),
        (Authentication(), {}),
        (Authentication(drop=((0, 10),)), {"AUTH_RESULTS_FORGED": 0.5}),
        (known("pass", drop=((0, 10),)), {"AUTH_RESULTS_FORGED": 0.5}),
    ],
)
def test_what_each_result_counts(authentication, names):
    assert found(authentication) == names


def test_authors_of_several_domains_are_odd():
    several = Authentication(
        results=(AuthResult(method="spf", result="pass"), AuthResult(method="dmarc", result="permerror"))
    )
    assert found(several) == {"FROM_SEVERAL": 1.5}


def test_a_forged_author_whose_domain_asks_for_refusal_is_kept_back_as_forged():
    mail = Mail(message(), HEAD + b"\r\nx", known("fail", dmarc="fail"))
    assert judge(Report(findings=tuple(TEST.look(mail))), message(), Settings()).verdict == "spoof"


def test_somebody_else_s_signature_takes_nothing_from_a_forged_author():
    signed = msgspec.structs.replace(
        known("fail", dmarc="fail"), dkim=(Signature(result="pass", domain="elsewhere.example"),)
    )
    mail = Mail(message(), HEAD + b"\r\nx", signed)
    names = {finding.name: finding.score for finding in TEST.look(mail)}
    assert "DKIM_PASS" not in names
    assert judge(Report(findings=tuple(TEST.look(mail))), message(), Settings()).verdict == "spoof"


def sealed(*seals: str, result: str = "pass") -> Chain:
    return Chain(result=result, instances=len(seals), seals=tuple((domain, "arc") for domain in seals))


def said(number: int, results: str) -> str:
    return f"ARC-Authentication-Results: i={number}; mx.x.example;\r\n {results}\r\n"


PASSED, FAILED = (
    "spf=pass smtp.mailfrom=a.example; dmarc=pass (p=REJECT) header.from=a.example",
    "dmarc=fail header.from=a.example",
)


@pytest.mark.parametrize(
    ("chain", "fields", "score"),
    [
        (sealed("google.com"), said(1, PASSED), 0.3),
        (sealed("google.com", "microsoft.com"), said(2, FAILED) + said(1, PASSED), 0.3),
        (sealed("evil.example", "google.com"), said(2, PASSED) + said(1, FAILED), 0.3),
        # One that is not trusted may have changed everything after it passed.
        (sealed("google.com", "evil.example"), said(2, PASSED) + said(1, PASSED), 4.0),
        (sealed("evil.example"), said(1, PASSED), 4.0),
        (sealed("google.com"), said(1, FAILED), 4.0),
        (sealed("google.com"), said(1, "spf=fail (see; dmarc=pass)"), 4.0),
        (sealed("google.com"), said(1, 'spf=fail reason="; dmarc=pass"'), 4.0),
        (sealed("google.com"), "", 4.0),
        (sealed("google.com", result="fail"), said(1, PASSED), 4.0),
    ],
)
def test_what_passed_at_a_trusted_forwarder_is_hardly_held_against_it(chain, fields, score):
    assert found(known("pass", dmarc="fail", chain=chain), fields) == {"DMARC_REJECT": score}


def test_a_mailing_list_counts_little_when_it_is_proved_itself_and_nothing_when_it_only_says_so():
    assert found(known("pass", dmarc="fail"), LIST, "x-bounces@lists.example") == {"DMARC_REJECT": 1.0}
    assert found(known("none", dmarc="fail"), LIST, "x-bounces@lists.example")["DMARC_REJECT"] == 4.0
    signed = msgspec.structs.replace(
        known("none", dmarc="fail"), dkim=(Signature(result="pass", domain="lists.example"),)
    )
    assert found(signed, LIST, "x-bounces@lists.example")["DMARC_REJECT"] == 1.0
    assert found(known("pass", dmarc="fail"), LIST, "")["DMARC_REJECT"] == 4.0


@pytest.mark.parametrize("spf", SPF)
@pytest.mark.parametrize("dkim", ["", "pass", "fail", "policy", "neutral", "permerror", "temperror"])
@pytest.mark.parametrize("dmarc", ["", "pass", "fail", "none", "temperror", "permerror"])
def test_no_combination_is_worth_more_than_a_forged_author_nor_less_than_a_little_good(spf, dkim, dmarc):
    assert -0.41 <= sum(found(known(spf, dkim, dmarc)).values()) <= 5.3
