"""Progress: what learners did, and what they see of it."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from analytics.courses import Strict, lesson_ids
from analytics.errors import Invalid, NotFound
from analytics.events import Event, LessonCompleted, QuizAttempted, SecondsWatched, SpansWatched
from analytics.ids import Id
from analytics.numbers import to_units
from analytics.own_progress import own_progress
from analytics.subjects import PLATFORM, Subject
from api.dependencies import (
    Caller,
    IdempotencyKey,
    PathId,
    RequestId,
    TheServices,
    acted_for,
    progress_request,
)

router = APIRouter(tags=["progress"])

LONGEST_WATCH = 86_400
Seconds = Annotated[float, Field(ge=0, le=LONGEST_WATCH, strict=True, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1e9, strict=True, allow_inf_nan=False)]
MaxScore = Annotated[float, Field(ge=1e-6, le=1e9, strict=True, allow_inf_nan=False)]


class ProgressBody(Strict):
    """What every progress event says; a service adds for whom."""

    course_id: Id
    user_id: Id | None = None


class WatchTime(ProgressBody):
    """Seconds to add, or the stretches of the video that were watched."""

    watch_time: Seconds | None = None
    segments: list[tuple[Seconds, Seconds]] | None = Field(None, min_length=1, max_length=500)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.watch_time is None) == (self.segments is None):
            raise ValueError("give either watch_time (seconds) or segments ([[from, to], …])")
        for start, end in self.segments or ():
            if start > end:
                message = f"the segment [{start}, {end}] ends before it begins"
                raise ValueError(message)
        return self


class QuizAttempt(ProgressBody):
    """A score of a largest score."""

    score: Score
    max_score: MaxScore

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.score > self.max_score:
            raise ValueError("score must not exceed max_score")
        return self


@router.post("/progress/lessons/{lesson_id}/complete", status_code=202)
async def complete_lesson(  # noqa: PLR0913  # path, header, body and what every route asks for
    lesson_id: PathId,
    body: ProgressBody,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, str]:
    """Finish a lesson; finishing it again changes nothing."""
    event = LessonCompleted(lesson_id)
    return await _accept(event, body, caller, services, request_id, idempotency_key)


@router.post("/progress/lessons/{lesson_id}/watch-time", status_code=202)
async def add_watch_time(  # noqa: PLR0913  # as above
    lesson_id: PathId,
    body: WatchTime,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, str]:
    """Add watch time; segments watched before count once."""
    event: Event
    if body.segments is None:
        event = SecondsWatched(lesson_id, to_units(body.watch_time or 0, 1_000))
    else:
        spans = tuple((to_units(a, 1_000), to_units(b, 1_000)) for a, b in body.segments)
        event = SpansWatched(lesson_id, spans)
    return await _accept(event, body, caller, services, request_id, idempotency_key)


@router.post("/progress/lessons/{lesson_id}/quiz-attempts", status_code=202)
async def add_quiz_attempt(  # noqa: PLR0913  # as above
    lesson_id: PathId,
    body: QuizAttempt,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, str]:
    """Record a quiz attempt; every attempt counts."""
    event = QuizAttempted(lesson_id, body.score, body.max_score)
    return await _accept(event, body, caller, services, request_id, idempotency_key)


@router.get("/progress/courses/{course_id}")
async def read_progress(
    course_id: PathId,
    caller: Caller,
    services: TheServices,
    user_id: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> dict[str, Any]:
    """Return a student's progress in a course; zeros and nulls without any."""
    student = acted_for(caller, user_id)
    course = await services.courses.get(course_id)
    document = await services.progress.read(course_id, student)
    return own_progress(course_id, student, lesson_ids(course), document)


async def _accept(  # noqa: PLR0913  # the one path of all progress events
    event: Event,
    body: ProgressBody,
    caller: Caller,
    services: TheServices,
    request_id: str,
    key: str | None,
) -> dict[str, str]:
    """Store the event durably, then mark its course; answer with the receipt."""
    student = acted_for(caller, body.user_id)
    lesson_id: str = getattr(event, "lesson_id", "")
    if key is not None and not key.isprintable():
        raise Invalid("Idempotency-Key must be printable text of 1 to 200 characters.")
    content = body.model_dump(mode="json") if key is not None else {}
    request = progress_request(
        request_id, key, f"{type(event).__name__}\x1f{lesson_id}\x1f{caller.sub}", content
    )
    try:
        await services.outlines.require_lesson(body.course_id, lesson_id)
    except NotFound:
        # A repeat is answered as the first time, also where the lesson is gone since.
        repeated = await services.progress.remembered(body.course_id, student, request)
        if repeated is None:
            raise
        return {"receipt": _receipt(body.course_id, student, repeated), "course_id": body.course_id}
    accepted = await services.progress.append(body.course_id, student, event, request)
    if accepted.changed:
        subjects = [Subject(body.course_id)]
        if accepted.created:
            subjects.append(PLATFORM)
        services.queue.mark(*subjects, request_id=request_id)
    receipt = _receipt(body.course_id, student, accepted.event_id)
    return {"receipt": receipt, "course_id": body.course_id}


def _receipt(course_id: str, user_id: str, event_id: str) -> str:
    """Return the receipt: where the event stands, so that asking for it needs no index."""
    text = json.dumps([course_id, user_id, event_id], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
