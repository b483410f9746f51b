"""Being looked at: each process answers /metrics, /healthz and /readyz, and `gatepost up` answers for all of its processes.

Nothing of this is loaded unless it is asked for (the setting `metrics`, `gatepost worker ROLE --metrics`).
"""
