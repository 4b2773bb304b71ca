"""Leftovers of a killed run are ended, strangers are not."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from console.leftovers import end_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started:
        yield started
        started.kill()


def test_a_process_of_a_pid_file_is_ended(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    (tmp_path / "api.pid").write_text(f"{process.pid} {time.time()}\n")
    assert end_leftovers(tmp_path) == 1
    assert process.poll() is not None
    assert not list(tmp_path.iterdir())


def test_a_stranger_with_a_reused_pid_lives(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "api.pid").write_text(f"{process.pid} {time.time() - 3600}\n")
    assert end_leftovers(tmp_path) == 0
    assert process.poll() is None


@pytest.mark.parametrize("content", ["", "12", "x y", "4194304999 1.0"])
def test_a_broken_pid_file_is_only_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "api.pid").write_text(content)
    assert end_leftovers(tmp_path) == 0
    assert not list(tmp_path.iterdir())
