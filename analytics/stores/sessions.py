"""Browser sessions: the cookie is a random id, its fingerprint and identity stand in MongoDB.

So an ended session stays ended whatever happens to Redis, and the database holds nothing that
could be replayed as a cookie.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Collection
from datetime import UTC, datetime

from analytics.identity import Principal
from analytics.stores.async_mongo import AsyncCollections


class Sessions:
    """The collection of sessions, for requests and handshakes."""

    def __init__(self, collections: AsyncCollections) -> None:
        self._sessions = collections.sessions

    async def begin(self, principal: Principal) -> str:
        """Store a session that ends with the token; return the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        await self._sessions.insert_one(
            {
                "_id": _fingerprint(cookie),
                "sub": principal.sub,
                "role": principal.role,
                "name": principal.name,
                "expires": principal.expires_at,
                "expires_at": datetime.fromtimestamp(principal.expires_at, UTC),
            }
        )
        return cookie

    async def find(self, cookie: str) -> Principal | None:
        """Return whose session the cookie is, None where it is unknown, ended or expired."""
        session = await self._sessions.find_one({"_id": _fingerprint(cookie)})
        if session is None or session["expires"] <= time.time():
            return None
        return Principal(
            session["sub"], session["role"], session["expires"], session["name"], session["_id"]
        )

    async def living(self, ids: Collection[str]) -> set[str]:
        """Return those of the sessions that nobody has ended."""
        found = self._sessions.find({"_id": {"$in": list(ids)}}, {"_id": 1})
        return {session["_id"] async for session in found}

    async def end(self, cookie: str) -> None:
        """End the session; from now on the cookie is refused."""
        await self._sessions.delete_one({"_id": _fingerprint(cookie)})

    async def end_all_of(self, user_id: str) -> None:
        """End every session of a person whose data is erased."""
        await self._sessions.delete_many({"sub": user_id})


def _fingerprint(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).hexdigest()
