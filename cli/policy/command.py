"""The commands of `gatepost policy`, put together."""

from __future__ import annotations

from cli.options import noun
from cli.policy.entries import allow, block, list_, remove
from cli.policy.explain import explain
from cli.policy.files import export, import_
from cli.policy.values import set_, show, unset

app = noun(
    "policy",
    """What happens to bad mail: thresholds, actions, allow and block lists.

There are three levels: the operator's (no option), a domain's (--domain), and a
person's (--address). See docs/policy.md.

For example:

  gatepost policy show --domain example.com
  gatepost policy set --domain example.com --spam-threshold 6 --action spam=tag
  gatepost policy allow partner.example --domain example.com
  gatepost policy block 203.0.113.0/24 country:XX
  gatepost policy list --domain example.com
  gatepost policy import partners.csv --as allow --domain example.com
  gatepost policy explain 1nx9s4tkh2v6c8jq0d7w03
""",
)

app.command(show)
app.command(set_, name="set")
app.command(unset)
app.command(allow)
app.command(block)
app.command(remove)
app.command(list_, name="list")
app.command(import_, name="import")
app.command(export)
app.command(explain)
