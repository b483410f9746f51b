"""Where links lead, and what they pretend."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote

from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.scanning.builtin import tables
from pipeline.scanning.builtin.lookalike import Likeness, decoded, mixes_scripts, shown
from pipeline.scanning.builtin.tables import standing
from pipeline.scanning.builtin.targets import INVISIBLE, Target, target_of
from pipeline.scanning.builtin.view import Proof, View
from pipeline.scanning.organisation import is_known_name, organisation, registered_label

MAX_HOSTS: Final = 100
"""Different hosts of a message that are compared with other names."""
_SHOWN: Final = re.compile(
    r"(?:\A|[\s(<\"'])((?:https?://|www\.)?(?:[^\s/@<>()\"'.:,;?#]{1,63}\.){1,8}[^\W\d_]{2,24})(?=[:/?#][^\s]*|[\s)>\"',.!]|\Z)",
    re.IGNORECASE,
)
_LEAVING: Final = re.compile(r"unsub|abmeld|abbestell|opt-?out|preferenc|subscri|verteiler|newsletter", re.IGNORECASE)


def links(view: View) -> Iterator[Finding]:
    if not view.targets:
        return
    yield from mismatched(view)
    yield from _written(view)
    yield from _named(view)
    yield from _hosted(view)
    yield from _addressed(view)


def _finding(name: str, score: float, text: str, kind: str = "phishing") -> Finding:
    return Finding(name=name, score=score, text=plain(text, 300), kind=kind)


def shown_host(text: str) -> str:
    """The host that a link's text shows; empty when it shows none."""
    if "." not in text:
        return ""
    if not text.isascii():
        text = INVISIBLE.sub("", text)
    match = _SHOWN.search(text[:200])
    if match is None:
        return ""
    whole = (
        match.start(1) <= 1
        and len(text.strip("<>()\"' \t.,")) <= len(match[1]) + len(text[match.end() :].split(" ", 1)[0]) + 2
    )
    named = match[1].lower().startswith(("http", "www."))
    # A name without http:// or www among other words (`built with Node.js`) is no address.
    if not (whole or named):
        return ""
    target = target_of(match[1] if match[1].lower().startswith(("http", "www.")) else "//" + match[1])
    return target.host if is_known_name(target.host) and not target.numeric else ""


def mismatched(view: View) -> Iterator[Finding]:
    """The worst link that shows another domain than it leads to."""
    worst: tuple[float, str, str] | None = None
    for link, target in view.targets:
        if link.text and target.host and not target.private:
            host = shown_host(link.text)
            if host and organisation(host) != target.organisation:
                score = _mismatch(view, host, target)
                if score and (worst is None or score > worst[0]):
                    worst = score, host, target.host
    if worst is not None:
        yield _finding("LINK_MISMATCH", worst[0], f"a link shows {shown(worst[1])} and leads to {shown(worst[2])}")


def _mismatch(view: View, host: str, target: Target) -> float:
    place = target.organisation
    followed = followed_target(target)
    if followed is not None and followed.organisation == organisation(host):
        return 0.0
    # The same house under another of its names; a tracker; a shortener that shows what is behind it.
    owner = view.brands.owner(host)
    if standing(target.host).tracker or (owner is not None and owner.owns(target.host)):
        return 0.0
    if place in view.own_organisations or registered_label(host) == registered_label(target.host):
        return 0.0
    precious = owner is not None or organisation(host) in view.own_organisations
    if place == view.organisation:
        # Its own counter of clicks; a shop's mailing that shows where its partner is.
        return {
            Proof.YES: 0.3 if precious else 0.0,
            Proof.UNKNOWN: 0.5 if precious else 0.0,
            Proof.NO: 3.0 if precious else 1.0,
        }[view.proof]
    if organisation(host) == view.organisation and view.owner is None and not view.is_own:
        score = {Proof.YES: 0.3, Proof.UNKNOWN: 0.5, Proof.NO: 2.0}[view.proof]
    elif precious:
        # A colleague passes on what somebody's counter has rewritten.
        score = {Proof.YES: 0.5 if view.is_own else 1.5, Proof.UNKNOWN: 1.0 if view.is_own else 2.5, Proof.NO: 3.5}[
            view.proof
        ]
    else:
        score = {Proof.YES: 0.5, Proof.UNKNOWN: 0.7, Proof.NO: 1.5}[view.proof]
    return round(score * (0.4 if _is_counter(view, target.host) else 1.0), 2)


def _is_counter(view: View, host: str) -> bool:
    """Most links of a mailing go through one host, whatever they show."""
    through = sum(target.host == host for _, target in view.targets)
    return view.is_bulk and through >= 4 and through * 2 > len(view.targets)


def followed_target(target: Target) -> Target | None:
    """Where a big site's redirection leads; None when it is none."""
    entry = standing(target.host).redirector
    if not entry:
        return None
    for path, parameters in tables.hosts().redirectors[entry]:
        if target.rest.startswith(path):
            query = target.rest.partition("?")[2].partition("#")[0]
            for name, value in parse_qsl(query[:2000], max_num_fields=100) if query.count("&") < 100 else ():
                if name in parameters and "." in value:
                    found = target_of(value)
                    if found.host:
                        return found
    return None


def _written(view: View) -> Iterator[Finding]:
    """What is odd about how addresses are written."""
    found: dict[str, Finding] = {}
    for _, target in view.targets:
        for finding in _oddities(view, target):
            found.setdefault(finding.name, finding)
    yield from found.values()


def _oddities(view: View, target: Target) -> Iterator[Finding]:
    if target.scheme == "data":
        if "html" in target.rest[:60].lower() or "svg" in target.rest[:60].lower():
            yield _finding("LINK_DATA", 3.5, "a link that holds a whole page in itself (data:)")
    elif target.scheme in ("javascript", "vbscript"):
        if len(target.rest) > 30:
            yield _finding("LINK_SCRIPT", 1.5, f"a link that runs a script ({target.scheme}:)")
    elif target.host:
        yield from _placed(target)
        followed = followed_target(target)
        if followed is not None and followed.organisation not in (target.organisation, view.organisation):
            score = 0.5 if view.proof is Proof.YES or view.is_bulk else 1.5
            yield _finding("LINK_REDIRECTED", score, f"a link to {shown(followed.host)} by way of {shown(target.host)}")


def _placed(target: Target) -> Iterator[Finding]:
    if target.disguised:
        yield _finding("LINK_DISGUISED", 3.0, f"a link whose host is written so that nobody can read it: {target.host}")
    elif target.numeric and not target.private:
        yield _finding("LINK_ADDRESS", 1.2, f"a link to an address in place of a name: {target.host}")
    if target.user and target.scheme != "ftp":
        # https://www.bank.example@evil.example/ shows a host to people and goes to another.
        hides = is_known_name(target_of("//" + unquote(target.user).partition(":")[0]).host)
        yield _finding(
            "LINK_USER",
            3.5 if hides else 1.0,
            f"a link that shows {target.user[:60]} and leads to {shown(target.host)}",
        )
    if target.port and target.scheme in ("http", "https") and target.port not in (8080, 8443) and not target.private:
        yield _finding("LINK_PORT", 0.3, f"a link to port {target.port} of {shown(target.host)}")


def _named(view: View) -> Iterator[Finding]:
    """Hosts that look like others."""
    worst: dict[str, Finding] = {}
    hosts = list(view.hosts)[:MAX_HOSTS]
    hosts += [found.host for _, target in view.targets[:MAX_HOSTS] if (found := followed_target(target)) is not None]
    for host in hosts:
        if host == view.domain:
            continue
        # Of the sender's own domain it is said once, where it stands in From.
        like = lookalike(view, host, "LINK") if organisation(host) != view.organisation else None
        for finding in (like, _below(view, host), _mixed(host)):
            if finding is not None and (finding.name not in worst or worst[finding.name].score < finding.score):
                worst[finding.name] = finding
    yield from worst.values()


def _mixed(host: str) -> Finding | None:
    if "xn--" in host and any(mixes_scripts(decoded(label)) for label in host.split(".")):
        return _finding(
            "LINK_SCRIPTS", 3.5, f"a link to a name in letters of several alphabets: {shown(host)} ({host})"
        )
    return None


LIKE: Final = {"same": 4.0, "letter": 2.0, "word": 3.0, "part": 1.0}
_TOLD: Final = {
    "same": "looks the same as",
    "letter": "is one letter off",
    "word": "adds a word to",
    "part": "adds a word to",
}


def lookalike(view: View, host: str, place: str) -> Finding | None:
    """A name that a person takes for a brand's or for the recipient's own. `place`: LINK, FROM, REPLY."""
    label = registered_label(host)
    where = {"LINK": "a link leads to", "FROM": "the sender's domain", "REPLY": "answers go to"}[place]
    if organisation(host) not in view.own_organisations:
        like = view.own_index.alike(label)
        if like is not None:
            return _told(f"{place}_LIKE_OURS", LIKE[like.how], like, where, host, "the recipient's own domain")
    brand = view.brands.owner(host)
    if brand is not None:
        return None
    like = view.brands.index.alike(label)
    if like is not None:
        owner = view.brands.labels[like.name]
        if owner.has_member(host) and view.proof is not Proof.NO:
            return None
        short = like.how == "letter" and len(like.name) < 6
        score = LIKE[like.how] * (0.5 if short else 1.0)
        # Partners and dealers have such names, and prove that they are theirs.
        if view.proof is Proof.YES and like.how in ("letter", "part") and organisation(host) == view.organisation:
            score /= 2
        return _told(f"{place}_LIKE_BRAND", score, like, where, host, f"a name of {owner.name}")
    if label in view.brands.labels and not view.is_branch(host):
        owner = view.brands.labels[label]
        return _finding(
            f"{place}_LIKE_BRAND", 1.5, f"{where} {shown(host)}, which has the name of {owner.name} and is not its own"
        )
    return None


def _told(name: str, score: float, like: Likeness, where: str, host: str, whose: str) -> Finding:
    return _finding(
        name, round(score, 2), f"{where} {shown(host)}, which {_TOLD[like.how]} {shown(like.name)}, {whose}"
    )


def _below(view: View, host: str) -> Finding | None:
    """`paypal.com.security.example`: begins like another's name."""
    place = organisation(host)
    above = host[: -len(place) - 1] if host.endswith("." + place) else ""
    if not above or view.brands.owner(host) is not None or standing(host).tracker:
        return None
    labels = above.split(".")
    deep = len(labels) > 1 or "-" in place
    home = place == view.organisation and view.proof is Proof.YES
    if deep and place not in view.own_organisations:
        begins = _begins(view, [*labels, place.partition(".")[0]])
        if begins:
            # The proxies of libraries have such names, and prove that they are theirs.
            return _finding(
                "LINK_BEGINS_LIKE",
                1.5 if home else 4.0,
                f"a link whose host begins like {begins} and belongs to {shown(place)}",
            )
    if home:
        return None
    for label in labels[-6:]:
        brand = view.brands.labels.get(label)
        like = None if brand is not None else view.brands.index.alike(label) if len(label) > 6 else None
        if brand is not None and len(label) >= 5:
            return _finding(
                "LINK_NAMES_BRAND", 1.0, f"a link to {shown(host)}, which names {brand.name} and is not its own"
            )
        if like is not None and like.how in ("same", "word"):
            name = view.brands.labels[like.name].name
            return _finding(
                "LINK_NAMES_BRAND", 2.0, f"a link to {shown(host)}, which seems to name {name} and is not its own"
            )
    return None


def _begins(view: View, labels: list[str]) -> str:
    """The brand's or the recipient's domain that stands in a host, before what it really belongs to."""
    for at in range(min(len(labels) - 1, 6)):
        for length in (2, 3):
            name = ".".join(labels[at : at + length])
            # paypal.com-login.example is cut at the hyphen.
            for candidate in (
                (name, name.partition("-")[0]) if "-" in labels[min(at + length, len(labels)) - 1] else (name,)
            ):
                if candidate in view.own or (candidate in view.brands.organisations and len(candidate) > 5):
                    return candidate
    return ""


def _hosted(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        if standing(host).shortener:
            yield _finding("LINK_SHORTENED", 0.4, f"a link through a shortener: {host}")
            break
    for host in view.hosts:
        entry = standing(host).builder
        if entry:
            yield _finding(
                "LINK_BUILDER",
                0.3 if view.proof is Proof.YES else 0.6,
                f"a link to {host}: anybody can put a page at {entry}",
            )
            break


def _addressed(view: View) -> Iterator[Finding]:
    """The recipient's address in a link: the page is filled in for him."""
    people = [recipient.address.lower() for recipient in view.mail.message.recipients[:5] if len(recipient.address) > 5]
    encoded = [form for person in people for form in _forms(person)]
    for link, target in view.targets:
        if not target.host or len(target.rest) < 6:
            continue
        home = target.organisation == view.organisation and view.proof is Proof.YES
        where = shown(target.host)
        path, _, fragment = unquote(target.rest).lower().partition("#")
        if any(person in fragment for person in people):
            score, text = 2.5, f"a link to {where} that is filled in with the recipient's address"
        elif any(form in target.rest for form in encoded):
            score, text = 1.5, f"a link to {where} that holds the recipient's address in disguise"
        elif not view.is_bulk and not home and any(person in path for person in people):
            score, text = 0.7, f"a link to {where} that holds the recipient's address"
        else:
            continue
        if _LEAVING.search(link.target) or _LEAVING.search(link.text):
            continue
        yield _finding("LINK_FILLED_IN", 0.3 if view.is_bulk or home else score, text)
        return


def _forms(person: str) -> Iterator[str]:
    """An address in base64 and in hex, without what padding makes of its end."""
    data = person.encode("utf-8", "replace")
    text = base64.b64encode(data).decode()
    yield text.rstrip("=")[:-1] if len(data) % 3 else text
    yield binascii.hexlify(data).decode()
