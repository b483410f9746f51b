"""What happened, found by whom it concerns: in Redis and in the archive alike.

`past.py` is what others call. `hot.py` reads what the index views know of the log in Redis; `story.py` and `own.py` read all that was
written down of one message, or of many; `attempts.py` a domain's delivery attempts; `finding.py` says what somebody looks for, and
`search.py` and `walk.py` find it, the newest first.
"""

from projections.readers.past.past import ATTEMPTS, Past

__all__ = ["ATTEMPTS", "Past"]
