"""Thresholds and actions: show, set, unset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.policy.scope import EVERYBODY, Scope, Whose, home_of

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory.policy import Policy, Resolved


async def show(*, whose: Whose = EVERYBODY, common: Common = DEFAULT) -> int:
    """What holds, and who said it: for the operator, a domain, or a person.

    For example:

      gatepost policy show
      gatepost policy show --domain example.com
      gatepost policy show --address anna@example.com
    """
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.directory.lists.changes import Lists

    scope = whose.scope()
    async with session(common) as opened:
        await opened.wiring.directory.refresh()
        scope = await scope.at_home(opened)
        resolved = await _resolved(opened, scope)
        counts = {}
        for each in _above(scope):
            summary = (await Lists(opened.wiring.store, each.domain).summaries([each.person]))[each.person]
            counts[each.words] = summary.entries
    if common.json:
        document({"of": scope.words, **policy_form(resolved), "lists": counts})
        return 0
    screen = Screen()
    screen.heading(f"Policy {scope.words}")
    screen.table(["what", "value", "from"], _rows(resolved))
    screen.say()
    for words, number in counts.items():
        screen.say(f"allow and block lists {words}: ", (f"{number:,} entries", "bold" if number else "dim"))
    return 0


def _above(scope: Scope) -> list[Scope]:
    scopes = [Scope("")]
    if scope.domain:
        scopes.insert(0, Scope(scope.domain))
    if scope.person:
        scopes.insert(0, scope)
    return scopes


async def _resolved(opened: Session, scope: Scope) -> Resolved:
    """Raises NotFoundError."""
    from pipeline.directory.policies import unlisted
    from pipeline.faults import NotFoundError

    wiring = opened.wiring
    if not scope.domain:
        return unlisted(wiring.settings).domain.policy
    if not scope.person:
        return wiring.policies.resolved(scope.domain)
    row = (await wiring.directory.rows(scope.domain, [scope.person])).get(scope.person)
    if row is None:
        raise NotFoundError(
            f"{scope.person}@{scope.domain} is not listed", remedy=f"See `gatepost address list {scope.domain}`."
        )
    return wiring.policies.resolved(scope.domain, scope.person, row.policy)


def _rows(resolved: Resolved) -> list[list[Any]]:
    from cli.render import clean
    from pipeline.directory.policy import CLASSES, SAID

    rows: list[list[Any]] = [
        ["spam from", f"{resolved.spam_threshold:g}", resolved.origins["spam_threshold"]],
        [
            "phishing and forged senders from",
            f"{resolved.phishing_threshold:g}",
            resolved.origins["phishing_threshold"],
        ],
    ]
    rows += [[SAID[kind], resolved.acts[kind], resolved.origins[kind]] for kind in CLASSES]
    rows.append(["subject of tagged mail", clean(resolved.prefix) or "as it is", resolved.origins["prefix"]])
    return [[what, value, (clean(origin), "" if "set " in origin else "dim")] for what, value, origin in rows]


def policy_form(resolved: Resolved) -> dict[str, Any]:
    values = {
        "spam_threshold": resolved.spam_threshold,
        "phishing_threshold": resolved.phishing_threshold,
        **resolved.acts,
        "prefix": resolved.prefix,
    }
    return {"policy": {name: {"value": value, "from": resolved.origins[name]} for name, value in values.items()}}


async def set_(
    *,
    whose: Whose = EVERYBODY,
    spam_threshold: Annotated[float | None, Parameter(help="Score from which a message is spam.")] = None,
    phishing_threshold: Annotated[
        float | None, Parameter(help="Score from which it is phishing, or has a forged sender.")
    ] = None,
    action: Annotated[
        tuple[str, ...],
        Parameter(
            help="CLASS=ACTION: bulk, spam, phishing, spoof, content, virus; deliver, tag, quarantine, discard. Repeat it for more."
        ),
    ] = (),
    prefix: Annotated[
        str | None, Parameter(help="Put before the subject of tagged mail, such as '[SPAM]'; `none`: nothing is.")
    ] = None,
    common: Common = DEFAULT,
) -> int:
    """Say what happens to mail of a domain, or of a person; what is not mentioned stays.

    A domain below takes over what it does not say itself. A person may set the
    thresholds within bounds, and what happens to bulk mail and spam. A changed
    subject no longer has a valid signature: prefer the field X-Gatepost-Verdict,
    which tagged mail has in any case.

    For example:

      gatepost policy set --domain example.com --spam-threshold 6 --action spam=tag
      gatepost policy set --domain example.com --action virus=discard --action bulk=tag
      gatepost policy set --domain example.com --prefix '[SPAM]'
      gatepost policy set --address anna@example.com --action bulk=quarantine
    """
    from pipeline.directory.policy import check_act
    from pipeline.faults import ConfigurationError

    said: dict[str, Any] = {}
    for text in action:
        name, found, act = text.partition("=")
        if not found:
            raise ConfigurationError(f"--action {text}: expected CLASS=ACTION", remedy="Such as spam=tag.")
        check_act(name.strip().lower(), act.strip().lower())
        said[name.strip().lower()] = act.strip().lower()
    for field, value in (("spam_threshold", spam_threshold), ("phishing_threshold", phishing_threshold)):
        if value is not None:
            if value <= 0:
                raise ConfigurationError(f"{field} is {value:g}", remedy="A threshold is above 0.")
            said[field] = value
    if prefix is not None:
        said["prefix"] = prefix.strip() or "none"
    if not said:
        raise ConfigurationError("nothing was said", remedy="Say --spam-threshold, --action or --prefix.")
    return await _change(whose, said, common)


async def unset(
    *names: Annotated[
        str, Parameter(help="spam-threshold, phishing-threshold, a class, or prefix; none of them: everything.")
    ],
    whose: Whose = EVERYBODY,
    common: Common = DEFAULT,
) -> int:
    """Take back what was set for a domain or a person: then the parent's holds, or the default.

    For example:

      gatepost policy unset --domain example.com spam-threshold spam
      gatepost policy unset --address anna@example.com
    """
    from pipeline.directory.policy import FIELDS, NOTHING
    from pipeline.faults import ConfigurationError

    wanted = [name.replace("-", "_").lower() for name in names] or list(FIELDS)
    unknown = [name for name in wanted if name not in FIELDS]
    if unknown:
        raise ConfigurationError(
            f"nothing is called {unknown[0]!a}", remedy=f"One of {', '.join(FIELDS).replace('_', '-')}."
        )
    return await _change(whose, {name: getattr(NOTHING, name) for name in wanted}, common)


async def _change(whose: Whose, said: dict[str, Any], common: Common) -> int:
    import msgspec

    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.directory.policy import NOTHING
    from pipeline.faults import ConfigurationError

    scope = whose.scope()
    if not scope.domain:
        raise ConfigurationError(
            "whose policy? What holds for all domains is in the settings (spam_threshold, phishing_threshold)",
            remedy="Say --domain or --address.",
        )

    def alter(policy: Policy) -> Policy:
        return msgspec.structs.replace(policy, **said)

    async with session(common) as opened:
        home = await home_of(opened, scope.domain)
        scope = Scope(home.name, scope.person)
        directory, now = opened.wiring.directory, opened.now()
        if scope.person:
            before, after = await directory.set_policy(scope.domain, scope.person, alter, by=actor(), now=now)
            changed = before != after
        else:
            was, became = await directory.update_domain(
                scope.domain,
                lambda domain: msgspec.structs.replace(domain, policy=_or_none(alter(domain.policy or NOTHING))),
                by=actor(), now=now,
            )  # fmt: skip
            changed = was != became
        resolved = await _resolved(opened, scope)
    if common.json:
        document({"of": scope.words, "changed": changed, **policy_form(resolved)})
        return 0
    screen = Screen()
    screen.say(f"Policy {scope.words}", "" if changed else " was so already")
    screen.table(["what", "value", "from"], _rows(resolved))
    return 0


def _or_none(policy: Policy) -> Policy | None:
    from pipeline.directory.policy import NOTHING

    return None if policy == NOTHING else policy
