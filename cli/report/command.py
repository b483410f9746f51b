"""The commands of `gatepost report`."""

from __future__ import annotations

from cli.options import noun
from cli.report.outbound import outbound
from cli.report.schedule import app as schedule

app = noun(
    "report",
    """What happened in a stretch of time: a row for each attempt, and what they add up to.

For example:

  gatepost report outbound --domain example.com --from 2026-11-01 --to 2026-11-22 --tz Europe/Berlin
  gatepost report outbound --domain example.com --days 1 --status failed --output report.html
  gatepost report schedule add example.com --every week --at 07:00 --to boss@elsewhere.example
""",
)
app.command(outbound)
app.command(schedule)
