"""The environment, typed and checked once at start; nothing else configures the product.

`docs/settings.md` lists every variable; a test holds that table against this file.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from analytics.errors import SettingsError

EXAMPLES = {
    "HOST": "127.0.0.1",
    "PORT": "8000",
    "DATA_DIR": ".data",
    "MONGO_URL": "mongodb://db.example:27017/?replicaSet=rs0",
    "MONGO_DATABASE": "coursepulse",
    "REDIS_URL": "redis://cache.example:6379/0",
    "CELERY_BROKER_URL": "redis://broker.example:6379/0",
    "JWT_SECRET": "at least 32 bytes of your choice",
    "JWT_JWKS_URL": "https://lms.example/.well-known/jwks.json",
    "ALLOWED_ORIGINS": "https://school.example,https://admin.school.example",
    "FLOWER_PORT": "5555",
    "FLOWER_BASIC_AUTH": "operator:a-long-password",
    "REFRESH_WINDOW_MS": "100",
    "DEMO": "on",
    "LOG_FORMAT": "json",
    "WORKER_CONCURRENCY": "2",
    "SOCKETS_PER_USER": "10",
    "SOCKETS_PER_PROCESS": "20000",
    "SOCKET_HANDSHAKES_PER_SECOND": "1000",
    "SOCKET_HANDSHAKE_SECONDS": "5",
    "SOCKET_MESSAGE_BYTES": "4096",
    "SOCKET_MESSAGES_PER_MINUTE": "100",
    "SOCKET_STALL_SECONDS": "10",
    "SOCKET_PING_SECONDS": "20",
    "SOCKET_DRAIN_SECONDS": "3",
}
MINIMUM_SECRET_BYTES = 32
_PATTERNS = {
    "MONGO_DATABASE": "1 to 63 letters, digits, _ and -",
    "FLOWER_BASIC_AUTH": "user:password, the password of 8 characters or more, none a comma",
    "LOG_FORMAT": "text or json",
}


class Settings(BaseSettings):
    """What the environment says. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(env_prefix="", case_sensitive=False, extra="ignore")

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=1, le=65535)
    data_dir: Path = Path(".data")
    mongo_url: str | None = None
    mongo_database: str = Field("coursepulse", pattern=r"^[A-Za-z0-9_-]{1,63}$")
    redis_url: str | None = None
    celery_broker_url: str | None = None
    jwt_secret: str | None = None
    jwt_jwks_url: str | None = None
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    flower_port: int = Field(5555, ge=1, le=65535)
    flower_basic_auth: str | None = Field(None, pattern=r"^[^:,]+:[^,]{8,}$")
    refresh_window_ms: int = Field(100, ge=10, le=60_000)
    demo: bool = False
    log_format: str = Field("text", pattern="^(text|json)$")
    worker_concurrency: int = Field(2, ge=1, le=256)
    sockets_per_user: int = Field(10, ge=1, le=1_000_000)
    sockets_per_process: int = Field(20_000, ge=1, le=1_000_000)
    socket_handshakes_per_second: int = Field(1_000, ge=10, le=100_000)
    socket_handshake_seconds: float = Field(5, ge=0.1, le=60)
    socket_message_bytes: int = Field(4_096, ge=1_024, le=65_536)
    socket_messages_per_minute: int = Field(100, ge=1, le=10_000)
    socket_stall_seconds: float = Field(10, ge=0.1, le=300)
    socket_ping_seconds: float = Field(20, ge=1, le=300)
    socket_drain_seconds: float = Field(3, ge=0, le=5)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: Any) -> Any:
        """Treat `NAME=` as unset, as compose files and shells produce it."""
        if isinstance(value, str) and not value.strip():
            return cls.model_fields[info.field_name].default
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        origins = tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path:
                message = f"{origin!r} is not an origin (scheme://host[:port])"
                raise ValueError(message)
        return origins

    @field_validator("mongo_url")
    @classmethod
    def _mongo_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must begin with mongodb:// or mongodb+srv://")
        return value

    @field_validator("redis_url", "celery_broker_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(
            ("redis://", "rediss://", "unix://", "redis+socket://", "sentinel://")
        ):
            raise ValueError("must begin with redis:// or rediss://")
        return value

    @field_validator("jwt_jwks_url")
    @classmethod
    def _jwks_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https://")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _secret_length(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"is shorter than {MINIMUM_SECRET_BYTES} bytes")
        return value

    @classmethod
    def from_environment(cls) -> Settings:
        """Read and check the environment.

        Raises `SettingsError` with one line: the variable, what is wrong, an example.
        """
        try:
            return cls()  # type: ignore[call-arg]  # every field has a default or a variable
        except ValidationError as error:
            first = error.errors(include_input=True)[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "settings"
            problem = first["msg"].removeprefix("Value error, ")
            if first["type"] == "string_pattern_mismatch":
                problem = f"must be {_PATTERNS[name]}"
            is_secret = any(word in name for word in ("SECRET", "URL", "AUTH"))
            shown = "" if is_secret else f" (it is {first['input']!r})"
            message = f"{name}: {problem}{shown}; for example {name}={EXAMPLES.get(name, '…')}"
            raise SettingsError(message) from None

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins whose pages may use the session cookie."""
        return self.allowed_origins or (
            f"http://127.0.0.1:{self.port}",
            f"http://localhost:{self.port}",
        )

    @property
    def session_cookie(self) -> str:
        """The cookie's name; it holds the port because cookies ignore ports."""
        return f"coursepulse_session_{self.port}"

    @property
    def broker_url(self) -> str:
        """Where Celery's messages go."""
        return self.celery_broker_url or self.require_redis_url()

    def require_mongo_url(self) -> str:
        """Return the database's URL, or refuse: only `coursepulse run` starts embedded servers."""
        if self.mongo_url is None:
            raise SettingsError(_unset("MONGO_URL"))
        return self.mongo_url

    def require_redis_url(self) -> str:
        """Return the cache's URL, or refuse as `require_mongo_url` does."""
        if self.redis_url is None:
            raise SettingsError(_unset("REDIS_URL"))
        return self.redis_url

    def require_jwt_secret(self) -> str:
        """Return the shared secret, or refuse: only `coursepulse run` makes one up."""
        if self.jwt_secret is None:
            raise SettingsError(_unset("JWT_SECRET"))
        return self.jwt_secret

    def development_secret_path(self) -> Path:
        """Where the random secret of an embedded installation is kept."""
        return self.data_dir / "jwt-secret"

    def ensure_development_secret(self) -> str:
        """Read the development secret, making it on the first call. Needs `data_dir`."""
        path = self.development_secret_path()
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Complete under a name of its own first: half a secret would be kept for ever.
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(48) + "\n")
            draft.replace(path)
            return path.read_text().strip()


def _unset(name: str) -> str:
    return (
        f"{name}: is not set, and only `coursepulse run` can do without; "
        f"for example {name}={EXAMPLES[name]}"
    )
