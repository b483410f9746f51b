"""Allow and block lists: whose mail is wanted, and whose is not.

entries.py   what an entry is, how it is written and stored: pure
matching.py  which entries speak of a message, and which one holds: pure
changes.py   changing lists, as a part of a change of the directory
file.py      lists as files: pure
"""
