"""What it means for a message whether its sender is proved (RFC 7208, RFC 6376, RFC 9989).

Proof says who somebody is and not what they are worth, so it speaks for a message only a little, and so does its absence against
it. What weighs is DMARC's failure where the author's domain asks for it to count. It counts little for what a forwarder or a mailing
list has changed: a chain of seals by forwarders that are trusted, one of whom saw it pass (RFC 8617), or a list that is proved
itself. What could not be checked for now says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.authentication.together import Authentication
from pipeline.events import Finding
from pipeline.mime import Header, plain
from pipeline.mime.words import unfold
from pipeline.scanning.builtin.bulk import is_list
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import registrable

REJECTED: Final = 4.0
"""Enough for the threshold of phishing as it comes, unless something speaks for the message."""
QUARANTINED: Final = 3.0
IGNORED: Final = 0.3
"""The author's domain publishes DMARC and asks for nothing."""
FORWARDED: Final = 0.3
ON_A_LIST: Final = 1.0
_SCORES: Final = {"reject": REJECTED, "quarantine": QUARANTINED, "none": IGNORED}
_RELAXED: Final = {"reject": "quarantine", "quarantine": "none"}
"""One level less, for a domain that only tests (RFC 9989 4.7)."""

_SPF_FAIL: Final = Finding(
    name="SPF_FAIL",
    score=1.0,
    text="the envelope sender's domain says that this client may not send for it",
    kind="spoof",
)
_SPF_SOFTFAIL: Final = Finding(
    name="SPF_SOFTFAIL",
    score=0.5,
    text="the envelope sender's domain says that this client probably may not send for it",
    kind="spoof",
)
_DKIM_BROKEN: Final = Finding(name="DKIM_BROKEN", score=0.2, text="its signatures do not verify")
_NOTHING: Final = Finding(name="NOT_AUTHENTICATED", score=0.3, text="nothing proves who sent it: no SPF, no signature")
_FORGED: Final = Finding(
    name="AUTH_RESULTS_FORGED",
    score=0.5,
    text="it came with results of authentication in our name, which are removed",
    kind="spoof",
)
_SEVERAL: Final = Finding(name="FROM_SEVERAL", score=1.5, text="From names authors of several domains", kind="spoof")
_DMARC_PASS: Final = Finding(name="DMARC_PASS", score=-0.3, text="the author's domain stands behind it (DMARC)")
_DKIM_PASS: Final = Finding(name="DKIM_PASS", score=-0.1, text="a signature of its verifies")

_INSTANCE: Final = re.compile(rb"\s*+i\s*+=\s*+(\d{1,2}+)\s*+;")
_PASSED: Final = re.compile(rb";\s*+dmarc\s*+=\s*+pass\b", re.IGNORECASE)
_COMMENT: Final = re.compile(rb"\([^()]*+\)|\"[^\"]*+\"")


class Authenticity:
    def __init__(self, sealers: Sequence[str]) -> None:
        """`sealers`: domains whose word about what they forwarded is taken (ARC)."""
        # Asked here, so that no message waits while the list of public suffixes is read.
        self._sealers = frozenset(map(registrable, sealers))

    def look(self, mail: Mail) -> list[Finding]:
        found = mail.authentication
        if not found.results:
            return [_FORGED] if found.drop else []
        findings = [*self._dmarc(mail), *_spf(found), *_signatures(mail, found)]
        if found.drop:
            findings.append(_FORGED)
        if (
            any(result.method == "dmarc" and result.result == "permerror" for result in found.results)
            and not found.dmarc
        ):
            findings.append(_SEVERAL)
        return findings

    def _dmarc(self, mail: Mail) -> Iterator[Finding]:
        found = mail.authentication
        result = found.dmarc
        if result is None:
            return
        if result.result == "pass":
            yield _DMARC_PASS
        elif result.result == "fail":
            policy = _RELAXED.get(result.policy, "none") if result.testing else result.policy
            score = _SCORES.get(policy, IGNORED)
            asked = {"reject": "to be refused", "quarantine": "to be kept back"}.get(policy, "nothing")
            text = f"{plain(result.domain, 100)} does not stand behind it, and asks for such mail {asked} (DMARC)"
            if self._was_proved(mail.header, found):
                score, text = min(score, FORWARDED), f"{text}; it passed at a forwarder"
            elif is_proved_list(mail):
                score, text = min(score, ON_A_LIST), f"{text}; it is from a mailing list"
            yield Finding(name=f"DMARC_{policy.upper() or 'FAIL'}", score=score, text=text, kind="spoof")

    def _was_proved(self, header: Header, found: Authentication) -> bool:
        """Whether one of the trusted forwarders, with none but trusted ones after it, saw DMARC pass."""
        chain = found.chain
        if chain is None or chain.result != "pass":
            return False
        said = {
            int(match[1]): value
            for value in header.values(b"arc-authentication-results")
            if (match := _INSTANCE.match(value)) is not None
        }
        for number in range(len(chain.seals), 0, -1):
            if registrable(chain.seals[number - 1][0]) not in self._sealers:
                return False
            if _PASSED.search(_COMMENT.sub(b"", unfold(said.get(number, b"")))):
                return True
        return False


def is_proved_list(mail: Mail) -> bool:
    """It says that it is from a list, and whoever sent it is proved to be who they are, by SPF or a signature of theirs."""
    if not is_list(mail.header):
        return False
    found = mail.authentication
    sender = registrable(mail.message.sender.rpartition("@")[2])
    if not sender:
        return False
    if found.spf is not None and found.spf.result == "pass":
        return True
    return any(one.result == "pass" and registrable(one.domain) == sender for one in found.dkim)


def _spf(found: Authentication) -> Iterator[Finding]:
    spf = found.spf
    # Where DMARC passes, a signature has survived a forwarder.
    if spf is None or (found.dmarc is not None and found.dmarc.result == "pass"):
        return
    if spf.result == "fail":
        yield _SPF_FAIL
    elif spf.result == "softfail":
        yield _SPF_SOFTFAIL


def _signatures(mail: Mail, found: Authentication) -> Iterator[Finding]:
    """A broken signature is hardly worse than none (RFC 6376 6.1): lists and forwarders break them."""
    passed = any(one.result == "pass" and not one.testing for one in found.dkim)
    broken = any(one.result in ("fail", "permerror") for one in found.dkim)
    # Somebody else's signature is no word for an author whose domain disowns the message.
    disowned = found.dmarc is not None and found.dmarc.result == "fail"
    if passed and not disowned:
        yield _DKIM_PASS
    elif not passed and broken and not is_list(mail.header):
        yield _DKIM_BROKEN
    results = {result.method: result.result for result in found.results}
    proved = passed or results.get("spf") == "pass"
    if not proved and not broken and "temperror" not in results.values() and results.get("spf") in ("none", "neutral"):
        yield _NOTHING
