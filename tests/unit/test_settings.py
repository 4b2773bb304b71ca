"""The environment is checked once, and a bad value is one line with an example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analytics.errors import SettingsError
from analytics.settings import EXAMPLES, Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("FLOWER_PORT", "0"),
        ("MONGO_URL", "http://db"),
        ("REDIS_URL", "db:6379"),
        ("MONGO_DATABASE", "no/slash"),
        ("JWT_SECRET", "short"),
        ("JWT_JWKS_URL", "lms"),
        ("ALLOWED_ORIGINS", "school.example"),
        ("ALLOWED_ORIGINS", "https://school.example/path"),
        ("REFRESH_WINDOW_MS", "0"),
        ("DEMO", "maybe"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_one_line_naming_the_variable_and_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert f"{name}={EXAMPLES[name]}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("JWT_SECRET", "tooshort", "tooshort"),
        ("FLOWER_BASIC_AUTH", "operator:pass", "pass\b(?!word)"),
        ("REDIS_URL", "user:hidden@cache:6379", "hidden"),
    ],
)
def test_a_secret_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, secret: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    assert not re.search(secret, str(caught.value))


def test_every_pattern_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    patterned = [
        name.upper()
        for name, field in Settings.model_fields.items()
        if any(getattr(each, "pattern", None) for each in field.metadata)
    ]
    assert patterned
    for name in patterned:
        monkeypatch.setenv(name, "/")
        with pytest.raises(SettingsError, match=f"^{name}: must be "):
            Settings.from_environment()
        monkeypatch.delenv(name)


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URL", "")
    monkeypatch.setenv("PORT", "")
    settings = Settings.from_environment()
    assert settings.mongo_url is None
    assert settings.port == 8000


def test_the_documented_table_names_every_variable_and_no_other() -> None:
    table = (ROOT / "docs/settings.md").read_text()
    documented = {
        name
        for line in table.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1])
    }
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_variable_has_an_example() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(EXAMPLES)
