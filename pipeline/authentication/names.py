"""Domain names as strangers write them, and as the DNS has them."""

from __future__ import annotations

import re
from typing import Final

from pipeline.address import AddressError, domain_name

MAX_LABEL: Final = 63
"""Octets, and so characters at most (RFC 1035 2.3.4)."""

DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
"""What ends a label, also in other scripts (UTS 46 4.5)."""


def a_labels(text: str) -> str:
    """`text` with its U-labels as A-labels; ASCII is left as it is. "" for what IDNA does not allow."""
    if text.isascii():
        return text
    # The rules for some characters make a look at the whole label for each of them: no long ones.
    if any(len(label) > MAX_LABEL for label in DOTS.split(text)):
        return ""
    try:
        return domain_name(text)
    except AddressError:
        return ""
