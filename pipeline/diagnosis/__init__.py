"""What a server's refusal is about, what is to be done about it, and what its owner can do: a table, and a look into it.

    table.toml    classes with their tips, and rules: data, versioned, read from above
    table.py      reading the table
    diagnose.py   which rule an attempt meets, and why
    words.py      what follows from it, in words
    tally.py      many attempts, counted: by what was decided, by what would be, by what is not known

The table explains and proposes. What follows for a message is decided in `pipeline/decide.py`.
"""

from pipeline.diagnosis.diagnose import Diagnosis, Explained, diagnose, explain
from pipeline.diagnosis.table import Action, Table, in_force, load, read

__all__ = ["Action", "Diagnosis", "Explained", "Table", "diagnose", "explain", "in_force", "load", "read"]
