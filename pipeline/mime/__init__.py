"""Reading mail: a small reader of our own over the octets of a message, which never raises and never copies a large one.

A `Header` is read when it is asked for something; `walk` finds the parts as offsets; `Part.decoded` gives a part's octets in
chunks. The work is linear in the size of the message, whatever the message is, and every list is bounded.
"""

from pipeline.mime.fields import Mailbox, date_of, mailboxes
from pipeline.mime.header import Header
from pipeline.mime.structure import Flaw, Part, Structure, walk
from pipeline.mime.transfer import Buffer
from pipeline.mime.words import decode_words, parameters, plain

__all__ = [
    "Buffer",
    "Flaw",
    "Header",
    "Mailbox",
    "Part",
    "Structure",
    "date_of",
    "decode_words",
    "mailboxes",
    "parameters",
    "plain",
    "walk",
]
