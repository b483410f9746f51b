"""Doing a delivery test: what `pipeline/probing/` judges is looked at here.

test.py      the whole test, step by step, within its time
names.py     what the DNS says
visit.py     one address of one server: what is said there
quick.py     many connections at once
dialogue.py  one connection: lines both ways, each written down with its moment
patience.py  how long each thing may take
"""

from workers.probing.delivery import Began, DeliveryTest, Happening, LookedUp, Said, Visited
from workers.probing.patience import Patience

__all__ = ["Began", "DeliveryTest", "Happening", "LookedUp", "Patience", "Said", "Visited"]
