"""From credentials to a principal, the same for REST and for WebSocket handshakes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from cachetools import TTLCache

from analytics.errors import Unauthenticated
from analytics.identity import JwksVerifier, Principal, SecretVerifier, TokenVerifier
from analytics.settings import Settings
from analytics.stores.sessions import Sessions

TOKENS_REMEMBERED = 10_000
REMEMBERED_SECONDS = 60.0
"""A key withdrawn by the learning platform counts no longer than this."""


class Authenticator:
    """Verifies bearer tokens and session cookies; a token's signature once a minute."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._verifier = token_verifier(settings)
        self._verified: TTLCache[str, Principal] = TTLCache(TOKENS_REMEMBERED, REMEMBERED_SECONDS)
        self._sessions = sessions
        self._cookie_name = settings.session_cookie
        self._origins = frozenset(settings.origins)

    def origin_allowed(self, origin: str) -> bool:
        """Say whether pages of this origin may act with the session cookie."""
        return origin in self._origins

    async def bearer(self, token: str) -> Principal:
        """Return whose token it is; raise `Unauthenticated`."""
        known = self._verified.get(token)
        if known is not None and known.expires_at > time.time():
            return known
        if self._verifier.blocking:
            principal = await asyncio.to_thread(self._verifier.verify, token)
        else:
            principal = self._verifier.verify(token)
        self._verified[token] = principal
        return principal

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
