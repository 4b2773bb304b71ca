"""Everything the product itself raises, in one tree.

    CoursepulseError
    ├── Refused                 the caller's doing: a 4xx with what to do about it
    │   ├── Unauthenticated     401: no valid credentials
    │   ├── Forbidden           403: valid, but not for this
    │   ├── NotFound            404: no such course, lesson, module, student or receipt
    │   ├── Conflict            409: the id or idempotency key is taken by other content
    │   ├── PreconditionFailed  412: the course has changed since it was read
    │   ├── TooLarge            413: the body exceeds the limit
    │   ├── Invalid             422: the content breaks a rule of the contract
    │   └── TooMany             429: the user, or the process, has its most connections
    ├── Unavailable             503: a dependency is down or saturated; repeat later
    └── SettingsError           the start is refused: one line naming the variable

Each edge (HTTP, WebSocket, task, console) renders them in exactly one place.
"""

from __future__ import annotations


class CoursepulseError(Exception):
    """The root of the tree."""


class Refused(CoursepulseError):
    """The request cannot be carried out as it stands.

    `kind` is the last part of the problem document's stable `type`.
    """

    status = 400
    kind = "bad-request"
    title = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unauthenticated(Refused):
    """No valid credentials."""

    status = 401
    kind = "unauthenticated"
    title = "Authentication needed"


class Forbidden(Refused):
    """The credentials are valid, but not for this."""

    status = 403
    kind = "forbidden"
    title = "Not allowed"


class NotFound(Refused):
    """What the request names does not exist."""

    status = 404
    kind = "not-found"
    title = "Not found"


class Conflict(Refused):
    """The id or the idempotency key already stands for other content."""

    status = 409
    kind = "conflict"
    title = "Conflict"


class PreconditionFailed(Refused):
    """`If-Match` names a version that is no longer the present one."""

    status = 412
    kind = "precondition-failed"
    title = "The course has changed"


class TooLarge(Refused):
    """The body exceeds the limit."""

    status = 413
    kind = "too-large"
    title = "Body too large"


class Invalid(Refused):
    """The content breaks a rule of the contract."""

    status = 422
    kind = "invalid"
    title = "Invalid content"


class TooMany(Refused):
    """A limit of connections is reached."""

    status = 429
    kind = "too-many"
    title = "Too many connections"


class Unavailable(CoursepulseError):
    """A dependency is down or saturated; the same request may succeed in `retry_after` seconds."""

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class SettingsError(CoursepulseError):
    """A setting is missing or bad; the message is one line with an example."""
