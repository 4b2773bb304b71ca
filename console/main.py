"""The `coursepulse` command: one module per subcommand, imported only when it is chosen.

Each of them has `add_arguments(parser)` and `run(args, settings) -> exit code`; what the product
refuses is shown here, as one line on stderr and exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

from analytics.errors import CoursepulseError
from analytics.settings import Settings
from console.instance import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "start everything the product needs on this machine and keep it running",
    "token": "print a development JWT and nothing else",
    "simulate": "play learners on the running system",
    "watch": "show a course's or the platform's numbers as they change",
    "doctor": "check every dependency; say what is wrong and the mend",
    "audit": "compare the running totals with a full recompute",
    "retry": "let refreshes that were parked after repeated failures be tried again at once",
}
INTERRUPTED = 130  # what shells answer after Ctrl-C


class OneLineParser(argparse.ArgumentParser):
    """Refuses in one line; the usage is a `--help` away."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line on stderr."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = OneLineParser(prog="coursepulse", description="Real-time learning analytics.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    chosen = next((word for word in words if not word.startswith("-")), None)
    module = importlib.import_module(f"console.{chosen}") if chosen in COMMANDS else None
    for name, purpose in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=purpose, description=purpose)
        if name == chosen and module is not None:
            module.add_arguments(subparser)
    args = parser.parse_args(words)
    if module is None:  # argparse refuses unknown commands itself; this satisfies the types
        parser.error(f"unknown command {chosen!r}")
    try:
        # What an earlier run left is for those who look for it, not for the one who replaces it.
        settings = Settings.from_environment() if chosen == "run" else load_settings()
        code: int = module.run(args, settings)
    except CoursepulseError as error:
        print(f"coursepulse: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
