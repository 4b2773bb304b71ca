"""`coursepulse token`: a development JWT on stdout and nothing else, ready for `$(…)`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from analytics.identity import ROLES, issue_token
from console.arguments import identifier, positive
from console.instance import environment_path, signing_secret

if TYPE_CHECKING:
    import argparse

    from analytics.settings import Settings

DAY = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say for whom and for how long."""
    parser.add_argument("--role", required=True, choices=ROLES)
    parser.add_argument("--sub", required=True, type=identifier, metavar="ID", help="the user's id")
    parser.add_argument(
        "--ttl", type=positive, default=DAY, metavar="SECONDS", help="one day by default"
    )
    parser.add_argument("--name", help="the user's name, for greeting only")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the token."""
    if settings.jwt_secret is None and not environment_path(settings.data_dir).exists():
        hint = f"coursepulse: nothing has run in DATA_DIR={settings.data_dir}; only what is started"
        print(f"{hint} there will accept this token", file=sys.stderr)
    secret = signing_secret(settings)
    print(issue_token(secret, sub=args.sub, role=args.role, ttl=args.ttl, name=args.name))
    return 0
