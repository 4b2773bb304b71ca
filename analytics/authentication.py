"""From credentials to a principal, the same for REST and for WebSocket handshakes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from analytics.errors import Unauthenticated
from analytics.identity import JwksVerifier, Principal, SecretVerifier, TokenVerifier
from analytics.settings import Settings
from analytics.stores.sessions import Sessions


class Authenticator:
    """Verifies bearer tokens and session cookies."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._verifier = token_verifier(settings)
        self._sessions = sessions
        self._cookie_name = settings.session_cookie
        self._origins = frozenset(settings.origins)

    def origin_allowed(self, origin: str) -> bool:
        """Say whether pages of this origin may act with the session cookie."""
        return origin in self._origins

    async def bearer(self, token: str) -> Principal:
        """Return whose token it is; raise `Unauthenticated`."""
        if self._verifier.blocking:
            return await asyncio.to_thread(self._verifier.verify, token)
        return self._verifier.verify(token)

    async def header(self, value: str) -> Principal:
        """Return whose `Authorization` header it is; raise `Unauthenticated`."""
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("The Authorization header must be: Bearer TOKEN.")
        return await self.bearer(token.strip())

    async def cookie(self, cookies: Mapping[str, str]) -> Principal | None:
        """Return whose session the request's cookie is, None without a living one."""
        value = cookies.get(self._cookie_name)
        return None if not value else await self._sessions.find(value)


def token_verifier(settings: Settings) -> TokenVerifier:
    """Return the verifier that the settings ask for: the shared secret, or the platform's keys."""
    if settings.jwt_jwks_url is not None:
        return JwksVerifier(settings.jwt_jwks_url)
    return SecretVerifier(settings.require_jwt_secret())
