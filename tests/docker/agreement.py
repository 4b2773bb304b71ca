"""Where `docker/` and the project disagree.

No container is started: the files are read as data and each thing they name is looked up in the
project, in the lock files and in the installed programs. Every check answers a list of sentences,
empty where all is well, so that a test can also show that it notices a fault.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml
from flower.urls import handlers as flower_routes
from starlette.routing import Match

from analytics.errors import SettingsError
from analytics.settings import EXAMPLES, Settings
from api.app import create_app
from tests.docker.commands import command_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
INTERPOLATION = re.compile(r"\$\{(\w+)(:[-?][^}]*)?\}")
SERVERS = {"mongo", "valkey"}
ROLES = {"api", "worker", "beat", "flower"}


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, continuations joined."""

    name: str
    words: list[str]


# The Dockerfile


def instructions(dockerfile: str) -> list[Instruction]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), shlex.split(rest)) for name, rest in parts]


def dockerfile_faults(dockerfile: str, ignored: str) -> list[str]:
    """Compare the Dockerfile and `.dockerignore` with the repository."""
    steps = instructions(dockerfile)
    return [
        *_base_faults(steps),
        *_copy_faults(steps, ignored),
        *_install_faults(steps),
        *_user_faults(steps),
    ]


def _base_faults(steps: list[Instruction]) -> Iterator[str]:
    least = tuple(map(int, _project()["requires-python"].removeprefix(">=").split(".")))
    for step in steps:
        if step.name == "FROM":
            found = re.match(r"python:(\d+)\.(\d+)-slim$", step.words[0])
            if found is None or tuple(map(int, found.groups())) < least:
                yield f"FROM {step.words[0]}: not a slim Python of {least} or newer"


def _copy_faults(steps: list[Instruction], ignored: str) -> Iterator[str]:
    allowed = {line[1:].rstrip("/") for line in ignored.splitlines() if line.startswith("!")}
    stages = {step.words[-1] for step in steps if step.name == "FROM" and "AS" in step.words}
    copied: set[str] = set()
    for step in steps:
        if step.name != "COPY":
            continue
        origin = [word for word in step.words if word.startswith("--from=")]
        if origin:
            if origin[0].removeprefix("--from=") not in stages:
                yield f"COPY {origin[0]}: no such stage"
            continue
        copied |= {word.rstrip("/") for word in step.words[:-1]}
    for source in sorted(copied):
        if not (ROOT / source).exists():
            yield f"COPY {source}: not in the repository"
        if source not in allowed:
            yield f"COPY {source}: held back by .dockerignore"
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    needed = {pattern.rstrip("*") for pattern in tools["packages"]["find"]["include"]}
    needed |= {f"{module}.py" for module in tools["py-modules"]}
    needed |= {"pyproject.toml", _project()["readme"], *_project()["license-files"]}
    for missing in sorted(needed - copied):
        yield f"{missing}: part of the project, but not copied"


def _install_faults(steps: list[Instruction]) -> Iterator[str]:
    locked = False
    made: set[str] = set()
    runs = [" ".join(step.words) for step in steps if step.name == "RUN"]
    for command in [command for run in runs for command in run.split(" && ")]:
        words = command.split()
        made |= {path for sign, path in pairwise(words) if sign == ">"}
        for path in words:
            known = path in made or (ROOT / path).exists()
            if re.fullmatch(r"requirements/\w+\.txt", path) and not known:
                yield f"{path}: not in the repository"
        if words[0] == "pip" and {"install", "wheel"} & set(words):
            if not {"--require-hashes", "--no-deps"} & set(words):
                yield f"{command}: neither locked by hashes nor --no-deps"
            if "requirements/dev.txt" in words:
                yield f"{command}: development's dependencies in the image"
            locked |= "requirements/production.txt" in words
    if not locked:
        yield "requirements/production.txt: not installed"


def _user_faults(steps: list[Instruction]) -> Iterator[str]:
    last_stage = max(i for i, step in enumerate(steps) if step.name == "FROM")
    users = [step.words[0] for step in steps[last_stage:] if step.name == "USER"]
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield "USER: the image runs as root"


# compose.yaml


def compose_faults(compose: str, dockerfile: str, readme: str) -> list[str]:
    """Compare compose.yaml with the project, the Dockerfile and the folder's README."""
    services = yaml.safe_load(compose)["services"]
    faults = [
        f"{name}: no such service" for name in sorted(SERVERS | ROLES) if name not in services
    ]
    faults += [
        f"{variable}: not explained in docker/README.md"
        for variable in sorted({found[0] for found in INTERPOLATION.findall(compose)})
        if variable not in readme and variable not in EXAMPLES
    ]
    if faults:
        return faults
    for name, service in services.items():
        faults += [f"{name}: {fault}" for fault in _upkeep_faults(service, services)]
        if name in ROLES:
            faults += [f"{name}: {fault}" for fault in _role_faults(service, services)]
    return faults + list(_publishing_faults(services, dockerfile))


def _upkeep_faults(service: dict[str, Any], services: dict[str, Any]) -> Iterator[str]:
    if service.get("restart") != "unless-stopped":
        yield "does not restart"
    if service.get("stop_grace_period") != "30s":
        yield "does not get 30 s to stop"
    if "test" not in service.get("healthcheck", {}):
        yield "has no health check"
    for needed, how in service.get("depends_on", {}).items():
        if needed not in services or how != {"condition": "service_healthy"}:
            yield f"does not wait until {needed} is healthy"


def _role_faults(service: dict[str, Any], services: dict[str, Any]) -> Iterator[str]:
    build = service["build"]
    if not (ROOT / "docker" / build["context"] / build["dockerfile"]).is_file():
        yield f"{build['dockerfile']}: no such file"
    environment = {name: _filled(str(value)) for name, value in service["environment"].items()}
    known = {field.upper() for field in Settings.model_fields}
    for variable in sorted(set(environment) - known):
        yield f"{variable}: not a setting"
    try:
        settings = settings_of(environment)
    except SettingsError as error:
        yield str(error)
        return
    if settings.demo:
        yield "DEMO: is on"
    if set(service.get("depends_on", ())) != SERVERS:
        yield "does not wait for both servers"
    yield from _url_faults(settings, services)
    yield from command_faults(service["command"], environment)
    yield from _health_faults(service, settings, environment)


def _url_faults(settings: Settings, services: dict[str, Any]) -> Iterator[str]:
    for url in (settings.require_redis_url(), settings.broker_url):
        if urlsplit(url).hostname != "valkey":
            yield f"{url}: not the service valkey"
    mongo = urlsplit(settings.require_mongo_url())
    names = parse_qs(mongo.query).get("replicaSet", ["none"])
    flags = services["mongo"]["command"]
    initiated = services["mongo"]["healthcheck"]["test"][-1]
    if mongo.hostname != "mongo":
        yield "MONGO_URL: not the service mongo"
    if flags[flags.index("--replSet") + 1 :][:1] != names or f'_id: "{names[0]}"' not in initiated:
        yield f"MONGO_URL: no replica set {names[0]} is made"
    if f'host: "{mongo.netloc}"' not in initiated:
        yield f"MONGO_URL: the replica set's member is not {mongo.netloc}"


def _publishing_faults(services: dict[str, Any], dockerfile: str) -> Iterator[str]:
    port = str(services["api"]["environment"]["PORT"])
    exposed = [step.words for step in instructions(dockerfile) if step.name == "EXPOSE"]
    if exposed != [[port]]:
        yield f"EXPOSE {exposed}: the API listens on {port}"
    if services["api"]["ports"] != [f"{port}:{port}"]:
        yield f"api: publishes another port than {port}"
    if services["api"]["environment"].get("HOST") != "0.0.0.0":
        yield "api: cannot be reached from outside its container"
    if not str(services["api"]["environment"].get("JWT_SECRET", "")).startswith("${JWT_SECRET:?"):
        yield "api: starts without JWT_SECRET"
    flower_port = next(
        (word[7:] for word in services["flower"]["command"] if word.startswith("--port=")), None
    )
    if services["flower"]["ports"] != [f"127.0.0.1:{flower_port}:{flower_port}"]:
        yield f"flower: not published on loopback alone, at {flower_port}"
    password = str(services["flower"]["environment"].get("FLOWER_BASIC_AUTH", ""))
    if not re.search(r":\$\{\w+:\?", password):
        yield "flower: starts without a password"
    for name in sorted(SERVERS & {name for name in services if "ports" in services[name]}):
        yield f"{name}: published, though it has no password"


def _health_faults(
    service: dict[str, Any], settings: Settings, environment: dict[str, str]
) -> Iterator[str]:
    kind, *words = service["healthcheck"]["test"]
    plain_flower_routes = {route[0] for route in flower_routes if isinstance(route, tuple)}
    if kind == "CMD-SHELL":
        yield from command_faults(shlex.split(words[0]), environment)
        return
    yield from command_faults(words, environment)
    for url in re.findall(r"http://[^\"']+", words[-1]):
        if "api" in service["command"]:
            port, exists = settings.port, api_has_route(settings, urlsplit(url).path)
        else:
            port = int(service["ports"][0].rpartition(":")[2])
            exists = urlsplit(url).path in plain_flower_routes
        if urlsplit(url).port != port:
            yield f"{url}: the service listens on {port}"
        if not exists:
            yield f"{url}: no such route"


# What the project has


def settings_of(environment: dict[str, str]) -> Settings:
    """Read settings as a process in the container would: from this environment alone."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return Settings.from_environment()
    finally:
        os.environ.clear()
        os.environ.update(before)


def api_has_route(settings: Settings, path: str) -> bool:
    """Tell whether the API answers a GET of the path."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in create_app(settings).routes)


def _filled(value: str) -> str:
    """Put a value an operator might give in place of each `${…}`."""
    examples = EXAMPLES | {"JWT_SECRET": "0" * 32, "FLOWER_PASSWORD": "a-long-password"}
    return INTERPOLATION.sub(lambda found: examples.get(found[1], ""), value)


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project
