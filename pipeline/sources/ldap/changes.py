"""Whether a directory surely is as it was, told by one word of the server's.

*Active Directory* counts every change that it makes or takes over, of contents and of rights; `highestCommittedUSN` is the count.
It is the domain controller's own, and starts from another life (`invocationId`) when it is restored from a backup, so all
three have to be the same. What nobody may read is no state: then everything is read every time.

*OpenLDAP* names its state (contextCSN) to the servers that it synchronises (RFC 4533). The attribute alone is not enough: without
the overlay that keeps it, it is there and stands still. So it is asked for with the control that only the overlay answers,
critically: a server that does not keep the state has to refuse.

What an account may see can also change in OpenLDAP's configuration, and what a database glued below another holds need not show
in the state of the one above: so a caller had better read everything now and then, once a day say, by giving no marker.

Reading only what changed is not done. It would miss entries that left the base because their container was moved (their own
change number stays), and deleted ones wherever the account may not list deleted objects, which is by default; both silently. A
full list of 100,000 entries takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.sources.ldap import messages
from pipeline.sources.ldap.answers import SUCCESS
from pipeline.sources.ldap.connection import Connection

_ROOT: Final = ("highestCommittedUSN", "dsServiceName", "supportedControl")


async def state(connection: Connection, bases: Iterable[str]) -> bytes:
    """Of all that is below `bases`, now; empty when this server has no such word for one of them.

    Ask before reading: what changes meanwhile is read again.
    """
    root, _ = await connection.look("", _ROOT)
    if root is None:
        return b""
    usn, service, controls = (root.attributes.get(name.lower(), []) for name in _ROOT)
    if usn and service:
        return await _active_directory(connection, service[0], usn[0])
    if messages.SYNC_REQUEST.encode() not in controls:
        return b""
    states = [await _openldap(connection, base) for base in bases]
    return msgspec.msgpack.encode(states) if all(states) else b""


async def _openldap(connection: Connection, base: str) -> bytes:
    """Each base may be in a database of its own."""
    _, result = await connection.look(base, ("1.1",), sync=True)
    return result.sync_cookie if result.code == SUCCESS else b""


async def _active_directory(connection: Connection, service: bytes, usn: bytes) -> bytes:
    life, _ = await connection.look(service.decode("utf-8", "replace"), ("invocationId",))
    values = life.attributes.get("invocationid", []) if life is not None else []
    return msgspec.msgpack.encode((service, values[0], usn)) if values else b""
