"""Steering what waits: `gatepost queue hold`, `resume`, `redirect`, `bounce`, `delete` and `undo`."""
