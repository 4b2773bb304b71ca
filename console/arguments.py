"""Types of the subcommands' arguments; each refuses with what would have been right."""

from __future__ import annotations

import argparse
import math

MOST = 1e9
LONGEST_ID = 200


def positive(text: str) -> float:
    """Read a number above zero, up to a billion: more is a mistake in whatever unit."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST:
        message = f"{text!r} is not a number above 0 and up to a billion, for example 60"
        raise argparse.ArgumentTypeError(message)
    return value


def identifier(text: str) -> str:
    """Read a user's id, as the product takes it from tokens."""
    if not 0 < len(text) <= LONGEST_ID or not text.isprintable():
        message = f"an id has 1 to {LONGEST_ID} printable characters, for example instructor-1"
        raise argparse.ArgumentTypeError(message)
    return text
