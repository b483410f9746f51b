"""Reports of what happened over a stretch of time: rows, totals and charts, and writing them. Nothing is stored."""
