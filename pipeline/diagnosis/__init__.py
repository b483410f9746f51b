"""What a server's refusal is about, what is to be done about it, and what its owner can do: a table, and a look into it.

    table.toml    classes with their tips, and rules: data, versioned, read from above
    table.py      reading the table
    diagnose.py   which rule an attempt meets

The table explains and proposes. What follows for a message is decided in `pipeline/decide.py`.
"""

from pipeline.diagnosis.diagnose import Diagnosis, diagnose
from pipeline.diagnosis.table import Action, Table, in_force, load, read

__all__ = ["Action", "Diagnosis", "Table", "diagnose", "in_force", "load", "read"]
