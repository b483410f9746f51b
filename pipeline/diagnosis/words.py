"""What follows from a class, in words that a domain's postmaster reads. They are what the table proposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.diagnosis.table import Action

DOES: Final[Mapping[Action, Mapping[str, str]]] = {
    Action.FAIL: {
        "en": "The message goes back to its sender; the domain's other mail flows on.",
        "de": "Die Nachricht geht an ihren Absender zurück; die übrige Mail der Domain fließt weiter.",
    },
    Action.RETRY: {
        "en": "This message waits and is tried again; the domain's other mail flows on.",
        "de": "Diese Nachricht wartet und wird wieder versucht; die übrige Mail der Domain fließt weiter.",
    },
    Action.BACK_OFF: {
        "en": "All mail of the domain waits, and is tried again after its interval.",
        "de": "Alle Mail der Domain wartet und wird nach ihrem Intervall wieder versucht.",
    },
    Action.OTHER_SOURCE: {
        "en": "The next attempt goes out from another of our addresses; where there is no other, a 5xx puts the domain on hold, and a 4xx makes its mail wait.",
        "de": "Der nächste Versuch geht von einer anderen unserer Adressen aus; gibt es keine, wird bei 5xx die Domain angehalten, bei 4xx wartet ihre Mail.",
    },
    Action.HOLD: {
        "en": "Nothing goes back: a 5xx puts the domain on hold until somebody has mended the server, a 4xx makes its mail wait.",
        "de": "Nichts geht zurück: bei 5xx wird die Domain angehalten, bis jemand den Server in Ordnung gebracht hat, bei 4xx wartet ihre Mail.",
    },
}
OWNER: Final = {"en": "If you run the server", "de": "Wenn Sie den Server betreiben"}
RENTER: Final = {"en": "If you rent it", "de": "Wenn Sie ihn mieten"}
