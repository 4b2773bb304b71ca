"""Ids are the clients' own text; here is what may be one, and how it becomes a field name.

MongoDB gives dots and dollars in field names a meaning, so an id that serves as a field name is
escaped (`field_key`), never refused.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

from pydantic import StringConstraints

# No control characters (C0, DEL, C1); any other text.
ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
# The same where nothing has looked at the text before: JSON can hold halves of characters.
_WHOLE_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")

Id = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=ID_PATTERN)
]

_ESCAPES = str.maketrans({"%": "%25", ".": "%2E", "$": "%24"})
_UNESCAPES = (("%2E", "."), ("%24", "$"), ("%25", "%"))


def is_id(text: str) -> bool:
    """Say whether text that came by another way than a body may be an id."""
    return _WHOLE_ID.fullmatch(text) is not None


def field_key(identifier: str) -> str:
    """Return a field name for an id: no dots, no dollars, and never a bare number.

    The leading underscore keeps "0" from being read as an array position.
    """
    return "_" + identifier.translate(_ESCAPES)


def from_field_key(key: str) -> str:
    """Return the id that `field_key` was given."""
    text = key[1:]
    for escape, character in _UNESCAPES:
        text = text.replace(escape, character)
    return text


def new_id() -> str:
    """Return 24 random hexadecimal digits."""
    return secrets.token_hex(12)


def digest(*parts: str) -> str:
    """Return a short, stable fingerprint of texts, each part told apart from the next."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
