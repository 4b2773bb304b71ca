"""The container files agree with the project, and each check notices when they do not."""

from __future__ import annotations

import pytest

from tests.docker.agreement import ROOT, compose_faults, dockerfile_faults

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text()
COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()
README = (ROOT / "docker" / "README.md").read_text()


def changed(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} is gone: change the fault that this test makes"
    return text.replace(old, new)


def test_the_dockerfile_agrees_with_the_project() -> None:
    assert dockerfile_faults(DOCKERFILE, IGNORED) == []


def test_the_compose_file_agrees_with_the_project() -> None:
    assert compose_faults(COMPOSE, DOCKERFILE, README) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("python:3.13-slim", "python:3.9-slim", "not a slim Python"),
        ("python:3.13-slim", "python:3.13", "not a slim Python"),
        ("COPY tasks/ tasks/", "COPY jobs/ jobs/", "COPY jobs: not in the repository"),
        ("COPY tasks/ tasks/", "COPY tests/ tests/", "COPY tests: held back by .dockerignore"),
        ("COPY tasks/ tasks/", "", "tasks: part of the project, but not copied"),
        (" celeryconfig.py", "", "celeryconfig.py: part of the project, but not copied"),
        ("--from=build", "--from=builder", "no such stage"),
        ("production.txt", "live.txt", "requirements/live.txt: not in the repository"),
        ("production.txt", "dev.txt", "development's dependencies"),
        ("--require-hashes", "", "neither locked by hashes nor --no-deps"),
        ("--no-deps dist", "dist", "neither locked by hashes nor --no-deps"),
        ("USER 10001:10001", "", "runs as root"),
        ("USER 10001:10001", "USER 10001\nUSER root", "runs as root"),
    ],
)
def test_a_fault_in_the_dockerfile_is_noticed(old: str, new: str, fault: str) -> None:
    faults = dockerfile_faults(changed(DOCKERFILE, old, new), IGNORED)
    assert any(fault in found for found in faults), faults


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"python", "-m", "api"', '"python", "-m", "apis"', "python -m apis: no such program"),
        ('"python", "-m", "api"', '"python", "-m", "analytics"', "no such program"),
        ('"python", "-m", "api"', '"uvicorn", "api:app"', "an unknown command"),
        ('"tasks", "worker"', '"jobs", "worker"', "celery -A jobs: cannot be loaded"),
        ('"--quiet", "beat"', '"--quiet", "beet"', "celery beet: no such subcommand"),
        ("--without-mingle", "--without-mixing", "--without-mixing: no such option"),
        ("--pidfile=", "--pid=", "celery beat --pid: no such option"),
        ("--address=", "--adress=", "celery flower --adress: no such option"),
        ("inspect ping --timeout", "inspect ping --limit", "--limit: no such option"),
        ("  DEMO:", "  DEMONSTRATION:", "DEMONSTRATION: not a setting"),
        ('DEMO: "off"', 'DEMO: "on"', "DEMO: is on"),
        ("LOG_FORMAT: json", "LOG_FORMAT: xml", "LOG_FORMAT"),
        ("${FLOWER_PASSWORD:?", "${FLOWER_SECRET:?", "FLOWER_SECRET: not explained"),
        ("${JWT_SECRET:?", "${JWT_SECRET:-", "starts without JWT_SECRET"),
        ("${FLOWER_PASSWORD:?", "${FLOWER_PASSWORD:-", "starts without a password"),
        ('"8000:8000"', '"8000:8080"', "publishes another port"),
        ('PORT: "8000"', 'PORT: "8080"', "the service listens on 8080"),
        ("HOST: 0.0.0.0", "HOST: 127.0.0.1", "cannot be reached"),
        ("/health/ready", "/health/steady", "/health/steady"),
        ("5555/healthcheck", "5555/health-check", "/health-check: no such route"),
        ("127.0.0.1:5555/", "127.0.0.1:5556/", "the service listens on 5555"),
        ("127.0.0.1:5555:5555", "5555:5555", "not published on loopback alone"),
        ("--port=5555", "--port=5556", "not published on loopback alone"),
        ("import ensure_conf", "import assure_conf", "assure_conf: does not exist"),
        ("celery.app.utils", "celery.app.tools", "celery.app.tools: no such module"),
        ("replicaSet=rs0", "replicaSet=rs1", "no replica set rs1 is made"),
        ('host: "mongo:27017"', 'host: "localhost:27017"', "member is not mongo:27017"),
        ("//valkey:6379/1", "//redis:6379/1", "not the service valkey"),
        ("dockerfile: docker/Dockerfile", "dockerfile: Dockerfile", "Dockerfile: no such file"),
        ("mongo: { condition: service_healthy }", "mongo: { condition: service_started }", "wait"),
        ("restart: unless-stopped", "restart: no", "does not restart"),
        ("stop_grace_period: 30s", "stop_grace_period: 1s", "does not get 30 s"),
        ('volumes: ["valkey:/data"]', 'ports: ["6379:6379"]', "valkey: published"),
        ("\n  beat:", "\n  clock:", "beat: no such service"),
    ],
)
def test_a_fault_in_the_compose_file_is_noticed(old: str, new: str, fault: str) -> None:
    faults = compose_faults(changed(COMPOSE, old, new), DOCKERFILE, README)
    assert any(fault in found for found in faults), faults


def test_a_port_that_the_image_does_not_expose_is_noticed() -> None:
    faults = compose_faults(COMPOSE, changed(DOCKERFILE, "EXPOSE 8000", "EXPOSE 80"), README)
    assert any("EXPOSE" in found for found in faults), faults
