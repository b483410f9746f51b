"""A delivery test as JSON: all that was seen, and what it means. Times are RFC 3339, durations seconds, sizes octets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cli.render import rfc3339
from pipeline.probing import Finding, Report, Visit, Weight, texts
from pipeline.probing.model import Answer, Certificate, Quick, Tls


def report_form(report: Report, findings: Sequence[Finding]) -> dict[str, Any]:
    plan, lookup = report.plan, report.lookup
    weights = [finding.weight for finding in findings]
    return {
        "domain": plan.domain,
        "at": rfc3339(report.at),
        "took": _seconds(report.took),
        "complete": report.complete,
        "ok": Weight.BAD not in weights,
        "counts": {weight.value: weights.count(weight) for weight in Weight},
        "route": list(plan.route),
        "known": plan.known,
        "random": plan.random,
        "sender": plan.sender,
        "size": plan.size,
        "sent": plan.send if any(visit.sent for visit in report.visits) else None,
        "dns": {
            "took": _seconds(lookup.took),
            "problem": lookup.problem,
            "mx": [{"preference": preference, "host": host} for preference, host in lookup.mx],
            "servers": [
                {
                    "server": name.server,
                    "addresses": list(name.addresses),
                    "closed": [{"address": address, "reason": why} for address, why in name.closed],
                    "problem": name.problem,
                    "ourselves": name.ours,
                }
                for name in lookup.names
            ],
        },
        "visits": [_visit(visit) for visit in report.visits],
        "findings": [_finding(finding) for finding in findings],
    }


def _seconds(duration: int) -> float:
    return round(duration / 1e9, 6)


def _visit(visit: Visit) -> dict[str, Any]:
    return {
        "server": visit.server,
        "address": visit.address,
        "port": visit.port,
        "family": visit.family,
        "source": visit.source.address or None,
        "software": visit.software or None,
        "connections": visit.connections,
        "complete": visit.complete,
        "sent": visit.sent,
        "tls": _tls(visit.tls) if visit.tls is not None else None,
        "quick": _quick(visit.quick) if visit.quick is not None else None,
        "answers": [_answer(answer) for answer in visit.answers],
        "transcript": [{"at": _seconds(line.at), "who": line.who, "text": line.text} for line in visit.transcript],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "step": answer.step.value,
        "command": answer.command,
        "code": answer.code,
        "enhanced": answer.enhanced,
        "reply": answer.text,
        "took": _seconds(answer.took),
    }


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "version": tls.version or None,
        "cipher": tls.cipher or None,
        "failed": tls.failed or None,
        "verified": bool(tls.version) and not tls.untrusted,
        "untrusted": tls.untrusted or None,
        "certificate": _certificate(tls.certificate) if tls.certificate is not None else None,
    }


def _certificate(certificate: Certificate) -> dict[str, Any]:
    return {
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "not_before": rfc3339(certificate.not_before),
        "not_after": rfc3339(certificate.not_after),
        "self_signed": certificate.self_signed,
    }


def _quick(quick: Quick) -> dict[str, Any]:
    return {
        "wanted": quick.wanted,
        "opened": quick.opened,
        "greeted": quick.greeted,
        "refused": _answer(quick.refused) if quick.refused is not None else None,
        "took": _seconds(quick.took),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "weight": finding.weight.value,
        "kind": finding.kind,
        "where": finding.where or None,
        "source": finding.source or None,
        "values": dict(finding.values),
        "reply": _answer(finding.answer) if finding.answer is not None else None,
        **msgspec.to_builtins(texts(finding)),
    }
