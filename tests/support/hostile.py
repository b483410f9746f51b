"""What strangers send on purpose: ends of a message that are none, addresses that want to be two, other protocols."""

from __future__ import annotations

import asyncio
import itertools

from tests.support.receiver import Client, Receiver

END = b"\r\n.\r\n"

GLUE = [b"".join(letters) for length in range(3) for letters in itertools.product((b"\r", b"\n", b"\0"), repeat=length)]
"""Everything that some server once took for a line end, or overlooked, up to two octets."""
ALMOST = [before + b"." + after for before in GLUE for after in GLUE if (before, after) != (b"\r\n", b"\r\n")]
"""All ways to put a dot between two of these, but for the one that ends a message."""

SMUGGLED = b"MAIL FROM:<ceo@bank.example>\r\nRCPT TO:<other@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n"
"""What is to be executed behind an end that is none, up to the end of its own message."""

CATCH_ALL = [
    "user%strange.example@all.test", '"user@strange.example"@all.test', "strange.example!user@all.test",
    '"@strange.example:user"@all.test', '"other\\@strange.example"@all.test', '"strange.example!user%x"@all.test',
    '">,<user@strange.example"@all.test', '"user@strange.example> SIZE=1 "@all.test', '"a\\"b@strange.example"@all.test', '""@all.test',
    "user%strange.example%all.test@all.test", "|/bin/sh@all.test", '"| /bin/sh"@all.test', "-oQ/tmp@all.test", '"../../etc/passwd"@all.test',
]  # fmt: skip
"""Recipients that a domain which takes everything takes, and which some server may want to read as another's."""


def is_clean(content: bytes) -> bool:
    """Whether there is no line end but CRLF in it, and no NUL. A CR at the very end is none either."""
    return b"\0" not in content and content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")


async def asked(
    client: Client, *recipients: bytes, sender: bytes = b"<stranger@elsewhere.example>"
) -> dict[bytes, str]:
    """What is said to each of these in one transaction, which stays open."""
    client.send(b"MAIL FROM:" + sender + b"\r\n" + b"".join(b"RCPT TO:" + one + b"\r\n" for one in recipients))
    await client.expect("250 2.1.0")
    return {one: await client.reply() for one in recipients}


async def nothing_came(gate: Receiver, client: Client) -> None:
    """No message and no draft; and the session is as usable as ever."""
    assert await client.ask(b"RSET") == "250 2.0.0 OK"
    assert gate.intake.accepted == []
    assert gate.drafts.left_behind == []
    assert (await client.deliver(b"Subject: proper\r\n\r\n")).startswith("250 2.0.0 accepted as ")
    assert len(gate.intake.accepted) == 1


async def in_pieces(client: Client, pieces: list[bytes]) -> None:
    """Each in a segment of its own: the receiver, in the same loop, has its turn in between."""
    for piece in pieces:
        client.send(piece)
        await client.writer.drain()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def rest(client: Client) -> bytes:
    """All that is still said, up to the end of the connection."""
    async with asyncio.timeout(20):
        try:
            return await client.reader.read()
        except ConnectionError:
            return b""
