"""The AsyncAPI document: valid by the standard, and true of the running system."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator
from pydantic import ValidationError
from websockets.sync.client import connect

from analytics.frame_models import CourseFrame, PlatformFrame
from realtime.closing import CloseCode
from tests.contract.conftest import Classroom, httpx_quote
from tests.stack import Stack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a field of its models has the name of a method
    from asyncapi3 import AsyncAPI3

PATIENCE = 15.0


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    """Return the document as a stranger gets it."""
    answer = httpx.get(f"{stack.url}/asyncapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_is_valid_by_the_standard(document: dict[str, Any]) -> None:
    assert AsyncAPI3.model_validate(document).asyncapi == "3.0.0"
    for schema in document["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_what_the_standard_does_not_know_would_be_noticed(document: dict[str, Any]) -> None:
    spoiled = copy.deepcopy(document)
    spoiled["channels"]["course"]["topic"] = "course"
    with pytest.raises(ValidationError):
        AsyncAPI3.model_validate(spoiled)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = list(references(document))
    assert len(found) > 20
    for reference in found:
        node = document
        assert reference.startswith("#/")
        for key in reference[2:].split("/"):
            node = node[key]
        assert node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_close_code_is_described(document: dict[str, Any]) -> None:
    described = {item["code"]: item for item in document["x-close-codes"]}
    assert set(described) == set(CloseCode)
    assert all(item["meaning"] and item["client"] for item in described.values())


def test_the_servers_are_where_the_document_was_found(
    document: dict[str, Any], stack: Stack
) -> None:
    assert {server["host"] for server in document["servers"].values()} == {
        f"127.0.0.1:{stack.port}"
    }
    assert document["servers"]["sockets"]["protocol"] == "ws"
    answer = httpx.get(f"{stack.url}/asyncapi.json", headers={"X-Forwarded-Proto": "https"})
    protocols = [server["protocol"] for server in answer.json()["servers"].values()]
    assert protocols == ["wss", "https"]


def frame_schema(document: dict[str, Any], channel: str) -> Draft7Validator:
    """Return what validates the frames of a channel."""
    message = document["channels"][channel]["messages"]
    name = next(name for name in message if name.endswith("Frame"))
    payload = document["components"]["messages"][name]["payload"]
    return Draft7Validator({**payload, "components": document["components"]})


def address(document: dict[str, Any], channel: str, value: str) -> str:
    """Return a channel's whole address, from the document alone."""
    about = document["channels"][channel]
    (parameter,) = about["parameters"]
    server = document["servers"][about["servers"][0]["$ref"].rpartition("/")[2]]
    path = about["address"].replace(f"{{{parameter}}}", httpx_quote(value))
    return f"{server['protocol']}://{server['host']}{path}"


@pytest.mark.parametrize("channel", ["course", "instructor"])
def test_real_frames_of_sockets_are_as_described(
    document: dict[str, Any], room: Classroom, channel: str
) -> None:
    schema = frame_schema(document, channel)
    model = CourseFrame if channel == "course" else PlatformFrame
    value = room.course_id if channel == "course" else room.instructor
    message = {"type": "auth", "token": room.stack.token("instructor", room.instructor)}
    described = {**document["components"]["schemas"]["Authentication"]}
    assert Draft7Validator(described).is_valid(message)
    with connect(address(document, channel, value)) as socket:
        socket.send(json.dumps(message))
        schema.validate(first := json.loads(socket.recv(timeout=PATIENCE)))
        room.post("a", "complete", {"user_id": room.course_id})
        room.post("a", "watch-time", {"watch_time": 90, "user_id": room.course_id})
        room.post("b", "quiz-attempts", {"score": 1, "max_score": 3, "user_id": room.course_id})
        schema.validate(newer := json.loads(socket.recv(timeout=PATIENCE)))
    assert newer["version"] > first["version"]
    # Both ways: dates are checked too, and nothing that is described is missing.
    for frame in (first, newer):
        assert set(model.model_validate(frame).model_dump(by_alias=True)) == set(frame)
    assert not schema.is_valid({**newer, "more": 1})
    assert not schema.is_valid({**newer, "version": "9"})


@pytest.mark.parametrize("channel", ["courseEvents", "instructorEvents"])
def test_real_frames_of_event_streams_are_as_described(
    document: dict[str, Any], room: Classroom, channel: str
) -> None:
    value = room.course_id if channel == "courseEvents" else room.instructor
    with room.owner.stream("GET", address(document, channel, value)) as answer:
        data = next(line for line in answer.iter_lines() if line.startswith("data: "))
    frame_schema(document, channel).validate(json.loads(data.removeprefix("data: ")))


def test_rest_tells_the_same_shapes(document: dict[str, Any], room: Classroom) -> None:
    paths = httpx.get(f"{room.stack.url}/openapi.json").json()["paths"]
    for path, name in (
        ("/courses/{course_id}/analytics", "CourseAnalytics"),
        ("/analytics/platform/overview", "PlatformOverview"),
    ):
        content = paths[path]["get"]["responses"]["200"]["content"]
        assert content["application/json"]["schema"]["$ref"].endswith(f"/{name}")
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        numbers = room.owner.get(path.replace("{course_id}", room.course_id)).json()
        Draft7Validator(schema).validate(numbers)
