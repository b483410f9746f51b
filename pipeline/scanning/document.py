"""What is read of one part of text: what is seen of it, its links and forms, and what is not seen."""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.mime import Part

MAX_PAGE: Final = 256 << 10
"""Characters of a page, without what nobody sees, that are read."""
MAX_LINKS: Final = 1000
"""Of one document."""
MAX_URL: Final = 2000
MAX_LINK_TEXT: Final = 300
MAX_TEXT: Final = 128 << 10
"""Characters of text of one document."""


class Link(msgspec.Struct, frozen=True):
    target: str
    """As it is written, without white space at its ends; at most 2,000 characters."""
    text: str
    """What is shown in its place; empty for a picture, and for an address in plain text that shows itself."""


class Form(msgspec.Struct, frozen=True):
    action: str
    fields: tuple[str, ...]
    """`type:name` of its inputs, in lower case."""

    @property
    def password(self) -> bool:
        return any(field.startswith("password:") or "passw" in field or "pwd" in field for field in self.fields)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One part of text."""

    part: Part
    attached: bool
    """It is a file that has to be opened, not what the mail program shows."""
    is_html: bool
    text: str
    """What is seen of it; blocks are lines."""
    links: tuple[Link, ...] = ()
    forms: tuple[Form, ...] = ()
    images: tuple[str, ...] = ()
    """Their sources; of several for screens of different sizes the first."""
    frames: tuple[str, ...] = ()
    """Other pages that it shows within itself: addresses of <iframe>, <frame>, <object>, <embed>."""
    base: str = ""
    """What links that are no whole addresses start from: <base href>."""
    refresh: str = ""
    """Where the page goes by itself: <meta http-equiv=refresh>."""
    scripts: tuple[str, ...] = ()
    """The beginning of each, at most 20,000 characters; of one elsewhere its address."""
    handlers: tuple[str, ...] = ()
    """Scripts in attributes: onload, onclick."""
    hidden: str = ""
    """Text that is there and not seen."""
