"""Where lists of addresses come from: directories over LDAP, cPanel, CSV.

    source = open_source(definition, allowed=settings.allow_networks)       # opening.py
    found = await source.fetch(marker=marker)                               # model.py

A `Listing` is everything that the source lists now; `Unchanged` says that it surely lists what it listed before; any trouble is a
`SourceError` (faults.py), and then nothing is known. What to do with a listing is not decided here.
"""
