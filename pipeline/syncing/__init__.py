"""Keeping a domain's addresses as its source has them: Active Directory, another LDAP directory, cPanel, a list.

    model.py        what a sync is, and what is remembered of it between runs
    difference.py   what a listing would change: pure
    memory.py       definitions, staged runs and the state of each sync, in Redis
    runs.py         a run from asking the source to the change it makes, or to waiting for approval

A run asks the source for everything (`pipeline/sources/`), compares that with the directory, and makes one change of it: all of it,
or nothing. Addresses that were entered by hand, or that another sync brought, are never touched. What is not listed any more
keeps working for a time of grace. A run that would take away too much waits until somebody has looked at it.
"""
