"""Each subcommand's outside: what it prints, and how it refuses."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from analytics.settings import Settings
from console.preflight import choose_port
from tests.console.instances import COURSEPULSE, OURS

SECRET = "a secret of at least thirty-two bytes"


def coursepulse(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.run(
        [*COURSEPULSE, *words],
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode in {1, 2}
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_token_prints_a_token_and_nothing_else() -> None:
    result = coursepulse(
        "token", "--role", "instructor", "--sub", "i-1", "--name", "Ida", JWT_SECRET=SECRET
    )
    assert (result.returncode, result.stderr) == (0, "")
    claims = jwt.decode(result.stdout.strip(), SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["role"], claims["name"]) == ("i-1", "instructor", "Ida")


def test_token_without_a_secret_is_signed_with_the_one_kept_in_data_dir(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    result = coursepulse("token", "--role", "admin", "--sub", "a", DATA_DIR=str(data_dir))
    kept = (data_dir / "jwt-secret").read_text().strip()
    assert jwt.decode(result.stdout.strip(), kept, algorithms=["HS256"])["role"] == "admin"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--role", "wizard", "--sub", "x"), "instructor"),
        (("--role", "student", "--sub", ""), "1 to 200"),
        (("--role", "student", "--sub", "x", "--ttl", "nan"), "above 0"),
        (("--role", "student", "--sub", "x", "--ttl", "-1"), "above 0"),
        (("--role", "student"), "--sub"),
    ],
)
def test_token_refuses_in_one_line(words: tuple[str, ...], part: str) -> None:
    assert_refused(coursepulse("token", *words, JWT_SECRET=SECRET), part)


def test_an_unknown_subcommand_is_refused_in_one_line() -> None:
    assert_refused(coursepulse("dance"), "dance", "doctor")


def test_a_bad_setting_stops_the_start_in_one_line() -> None:
    assert_refused(coursepulse("run", PORT="eighty"), "PORT", "PORT=8000")


def test_a_data_dir_that_cannot_be_made_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = coursepulse("run", DATA_DIR=str(tmp_path / "file" / "data"))
    assert_refused(result, "DATA_DIR", "cannot be written")


@pytest.mark.parametrize("variable", ["PORT", "FLOWER_PORT"])
def test_a_port_in_use_stops_the_start_in_one_line(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        free = {"PORT": str(choose_port(None, set())), "DATA_DIR": str(tmp_path)}
        result = coursepulse("run", **{**free, variable: number})
    assert_refused(result, f"{variable}: {number}", "in use")


def test_one_port_for_two_servers_stops_the_start(tmp_path: Path) -> None:
    result = coursepulse("run", PORT="8123", FLOWER_PORT="8123", DATA_DIR=str(tmp_path))
    assert_refused(result, "FLOWER_PORT")


def test_an_address_of_another_machine_stops_the_start(tmp_path: Path) -> None:
    assert_refused(coursepulse("run", HOST="192.0.2.1", DATA_DIR=str(tmp_path)), "HOST")


@pytest.mark.parametrize(
    "variables", [{"MONGO_URL": "mongodb://db.invalid"}, {"REDIS_URL": "redis://cache.invalid"}]
)
def test_real_servers_without_a_secret_are_refused(variables: dict[str, str]) -> None:
    assert_refused(coursepulse("run", **variables), "JWT_SECRET")


def test_doctor_names_what_is_wrong_when_nothing_runs(tmp_path: Path) -> None:
    result = coursepulse("doctor", DATA_DIR=str(tmp_path), PORT="1", FLOWER_PORT="2")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = result.stdout.splitlines()
    assert any(re.match(r"ok +python", line) for line in lines)
    for name in ("settings", "mongodb", "redis", "api", "worker", "flower", "beat"):
        assert any(re.match(rf"wrong +{name}: .*\w", line) for line in lines), result.stdout


def test_simulate_says_that_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import console.simulate as s, console.main as m, sys; s.READY_PATIENCE = 0.5;"
        "sys.exit(m.main(['simulate', '--rate', '5', '--seconds', '1']))"
    )
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert_refused(result, "make run")


def test_the_documented_settings_are_the_settings() -> None:
    table = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    documented = re.findall(r"^\| `([A-Z_]+)`", table, flags=re.MULTILINE)
    assert sorted(documented) == sorted(name.upper() for name in Settings.model_fields)
