"""Where the Redis is: one server, a master that Sentinels watch, or a Cluster; chosen by the form of its URL.

`address.py` reads the URL and the settings beside it, `connections.py` makes connections of it. Whoever has a client need not know
which it is: `quick.py` is how they speak, `cluster.py` answers like a client of one server, `sentinel.py` makes connections that find the
master, and `masters.py` says which one that is. Only what must not span the nodes of a Cluster asks (`spread.py`).
"""
