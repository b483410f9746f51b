"""The delivery test of a domain's servers: what is looked at, and what it means.

    model.py        what was seen: names, one visit per address, and the lines that were said
    replies.py      reading what a server offers
    certificate.py  reading a server's certificate
    message.py      the message that is sent when somebody asks for it
    findings.py     what was seen -> findings, good, warning or bad
    server.py       the findings about one visit
    texts.py        findings in words: explanation and remedy, for owners and renters, English and German
    texts.toml      the words

All of it is pure: `workers/probing/` does what is looked at here.
"""

from pipeline.probing.findings import judge, worst
from pipeline.probing.model import Finding, Plan, Report, Source, Visit, Weight
from pipeline.probing.texts import Texts, texts

__all__ = ["Finding", "Plan", "Report", "Source", "Texts", "Visit", "Weight", "judge", "texts", "worst"]
