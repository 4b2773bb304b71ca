"""Who asks, and what they may: bearer tokens, roles and ownership as the contract states them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import jwt

from analytics.errors import Forbidden, Unauthenticated, Unavailable
from analytics.ids import is_id

Role = Literal["student", "instructor", "admin", "service"]
ROLES: tuple[Role, ...] = get_args(Role)
_ASYMMETRIC = ("RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA")
_LATEST_EXPIRY = 253_402_300_799  # the end of year 9999: the last that a date can show


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller. `expires_at` is in seconds since 1970."""

    sub: str
    role: Role
    expires_at: float
    name: str | None = None
    session_id: str | None = None
    """Which browser session vouches for the caller; None for the bearer of a token."""

    def require(self, *roles: Role) -> None:
        """Raise `Forbidden` unless the role is one of these; an admin may do all."""
        if self.role != "admin" and self.role not in roles:
            allowed = ", ".join(dict.fromkeys((*roles, "admin")))
            message = f"The role {self.role!r} may not do this; it takes one of: {allowed}."
            raise Forbidden(message)

    def may_see_course(self, instructor_id: str) -> bool:
        """Say whether a course's analytics are this caller's to see."""
        return self.role == "admin" or (self.role == "instructor" and self.sub == instructor_id)

    def may_edit_course(self, instructor_id: str) -> bool:
        """Say whether a course is this caller's to edit."""
        return self.role == "service" or self.may_see_course(instructor_id)

    def student(self, user_id: str | None) -> str:
        """Return the student acted for: `sub` for a student, the body's `user_id` for others."""
        if self.role == "student":
            if user_id not in {None, self.sub}:
                raise Forbidden("A student acts only for itself; leave user_id out.")
            return self.sub
        self.require("service")
        return user_id or ""


class TokenVerifier(Protocol):
    """Turns a bearer token into a principal; blocking only where `blocking` says so."""

    blocking: bool

    def verify(self, token: str) -> Principal:
        """Return the principal, or raise `Unauthenticated`."""


class SecretVerifier:
    """HS256 with the shared secret."""

    blocking = False

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def verify(self, token: str) -> Principal:
        """Return the principal, or raise `Unauthenticated`."""
        return _principal(_decode(token, self._secret, ("HS256",)))


class JwksVerifier:
    """The learning platform's own public keys, fetched from its JWKS document and cached."""

    blocking = True  # the first token of a new key fetches the document

    def __init__(self, url: str) -> None:
        self._keys = jwt.PyJWKClient(url, cache_keys=True, timeout=3)

    def verify(self, token: str) -> Principal:
        """Return the principal; raise `Unauthenticated`, or `Unavailable` without the keys."""
        try:
            key = self._keys.get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable("The token keys (JWT_JWKS_URL) cannot be fetched.") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(_explain(error)) from error
        return _principal(_decode(token, key.key, _ASYMMETRIC))


def issue_token(secret: str, *, sub: str, role: Role, ttl: float, name: str | None = None) -> str:
    """Return an HS256 token for development; the learning platform issues real ones."""
    claims: dict[str, Any] = {"sub": sub, "role": role, "exp": int(time.time() + ttl)}
    if name is not None:
        claims["name"] = name
    return jwt.encode(claims, secret, algorithm="HS256")


def _decode(token: str, key: Any, algorithms: tuple[str, ...]) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            options={"require": ["exp", "sub"], "verify_aud": False, "verify_iss": False},
        )
    except (jwt.PyJWTError, ValueError, OverflowError) as error:
        # PyJWT lets ValueError and OverflowError through for absurd numbers in claims.
        raise Unauthenticated(_explain(error)) from error


def _principal(claims: dict[str, Any]) -> Principal:
    sub, role, name = claims["sub"], claims.get("role"), claims.get("name")
    if not isinstance(sub, str) or not is_id(sub):
        message = "The token's sub must be text of 1 to 200 characters, none of them a control."
        raise Unauthenticated(message)
    if not isinstance(role, str) or role not in ROLES:
        message = f"The token's role must be one of: {', '.join(ROLES)}."
        raise Unauthenticated(message)
    expires_at = float(min(int(claims["exp"]), _LATEST_EXPIRY))
    return Principal(sub, role, expires_at, name if isinstance(name, str) and is_id(name) else None)


def _explain(error: Exception) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "The token has expired; get a new one from the learning platform."
    return "The token is not valid; get a new one from the learning platform."
