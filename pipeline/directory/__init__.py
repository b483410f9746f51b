"""Domains and addresses: whose mail is accepted, and where it goes. Configuration, every change of which is an event.

model.py      what a domain and an address are, and how they are stored
options.py    how the servers of a route are spoken to, and what would be nonsense
inherit.py    what holds for a domain that is an alias or a child of another: pure
change.py     a change in the making: events and effects on top of what there is
rules.py      what a directory may not become (cycles, aliases of aliases, a domain that still has mail): pure
reading.py    the domains in memory, the addresses behind a cache
directory.py  reading and changing together: what workers and commands use
merging.py    one domain into another
history.py    past changes, and taking them back
policy.py     what happens to mail of each class: what a domain and a person may say of it, and what then holds
lists/        allow and block lists
policies.py   policy and lists together: what holds for each recipient of a message
"""

from pipeline.directory.directory import Directory
from pipeline.directory.model import Address, Domain, Hold, Kind
from pipeline.directory.options import RouteOptions

__all__ = ["Address", "Directory", "Domain", "Hold", "Kind", "RouteOptions"]
