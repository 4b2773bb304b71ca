"""Whether a command in a container file can run: each thing it names is looked up here."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import flower.options  # noqa: F401  # defines Flower's options for tornado
from celery.bin.celery import celery as celery_command
from tornado.options import options as tornado_options

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def command_faults(words: list[str], environment: dict[str, str]) -> Iterator[str]:
    """Look up what a command runs: a module, Python statements or a Celery subcommand."""
    match words:
        case ["python", "-m", module]:
            if importlib.util.find_spec(module) is None or not _spec(f"{module}.__main__"):
                yield f"python -m {module}: no such program"
        case ["python", "-c", code]:
            yield from _import_faults(code)
        case ["celery", "-A", app, "--quiet", *rest]:
            yield from command_faults(["celery", "-A", app, *rest], environment)
        case ["celery", "-A", app, subcommand, *arguments]:
            if not _celery_app_loads(app, tuple(sorted(environment.items()))):
                yield f"celery -A {app}: cannot be loaded"
            yield from _celery_faults(subcommand, arguments)
        case _:
            yield f"{' '.join(words)}: an unknown command"


def _celery_faults(subcommand: str, arguments: list[str]) -> Iterator[str]:
    command = celery_command.commands.get(subcommand)
    if command is None:
        yield f"celery {subcommand}: no such subcommand"
        return
    known = {option for parameter in command.params for option in parameter.opts}
    if subcommand == "flower":
        known |= {f"--{name.replace('_', '-')}" for name in tornado_options}
    for argument in arguments:
        option = argument.partition("=")[0]
        if option.startswith("-") and option not in known:
            yield f"celery {subcommand} {option}: no such option"


def _import_faults(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name is None or not _spec(name):
                yield f"{name}: no such module"
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(name)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        yield f"{name}.{alias.name}: does not exist"


@cache
def _celery_app_loads(app: str, environment: tuple[tuple[str, str], ...]) -> bool:
    command = [sys.executable, "-m", "celery", "-A", app, "report"]
    path = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, env=path | dict(environment), cwd=ROOT, capture_output=True, check=False
    )
    return done.returncode == 0


def _spec(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
