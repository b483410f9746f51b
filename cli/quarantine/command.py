"""The commands of `gatepost quarantine`."""

from __future__ import annotations

from cli.options import noun
from cli.quarantine.acting import delete, release
from cli.quarantine.finding import list_, reports, stats
from cli.quarantine.looking import download, preview, show
from cli.quarantine.reporting import report

app = noun(
    "quarantine",
    """Find, look at, release, report and delete mail kept in quarantine.

Besides bad mail this is mail that the customer's server refused, or that waited
as long as it may, and whose sender is not to be told (class undeliverable).

For example:

  gatepost quarantine list --domain example.com
  gatepost quarantine search --sender @partner.example --subject invoice
  gatepost quarantine preview 1nx9s4tkh2v6c8jq0d7w03
  gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03 --allow-sender --learn
""",
)
app.command(list_, name="list")
app.command(list_, name="search")
app.command(show)
app.command(preview)
app.command(download)
app.command(release)
app.command(delete)
app.command(report)
app.command(reports)
app.command(stats)
