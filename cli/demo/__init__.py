"""`gatepost demo`: the whole gateway on one machine, and real mail through it, shown as it happens."""
