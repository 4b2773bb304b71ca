"""An opening handshake that RFC 6455 forbids gets an HTTP error, never an open WebSocket."""

from __future__ import annotations

import time

import pytest

from tests.sockets.conftest import Witness
from tests.sockets.raw_socket import KEY, Opcode, RawSocket, handshake

BAD_REQUEST = {400}
ANOTHER_VERSION = {426}
TOO_LARGE = {400, 414, 431}
NO_UPGRADE = {400, 404, 426}
NOT_GET = {400, 404, 405}

CHANGES = [
    *(
        pytest.param({"Sec-WebSocket-Version": version}, ANOTHER_VERSION, id=f"version-{name}")
        for name, version in {
            "0": "0",
            "8": "8",
            "12": "12",
            "14": "14",
            "255": "255",
            "word": "thirteen",
            "leading-zero": "013",
            "empty": "",
            "list": "13, 8",
            "twice": "13\r\nSec-WebSocket-Version: 13",
            "absent": None,
        }.items()
    ),
    *(
        pytest.param({"Sec-WebSocket-Key": key}, BAD_REQUEST, id=f"key-{name}")
        for name, key in {
            "absent": None,
            "empty": "",
            "short": "c2hvcnQ=",
            "15-bytes": "ZmlmdGVlbiBieXRlcyEh",
            "18-bytes": "c2l4dGVlbiBieXRlcyEhISEh",
            "unpadded": KEY.rstrip("="),
            "not-base64": "!" * 22 + "==",
            "list": f"{KEY}, {KEY}",
            "twice": f"{KEY}\r\nSec-WebSocket-Key: {KEY}",
        }.items()
    ),
    *(
        pytest.param({"Upgrade": upgrade}, NO_UPGRADE, id=f"upgrade-{name}")
        for name, upgrade in {"absent": None, "empty": "", "h2c": "h2c", "web": "web"}.items()
    ),
    *(
        pytest.param({"Connection": connection}, NO_UPGRADE, id=f"connection-{name}")
        for name, connection in {"absent": None, "keep-alive": "keep-alive"}.items()
    ),
    pytest.param({"Connection": "Upgrade, ;;="}, BAD_REQUEST, id="connection-not-a-list"),
    pytest.param({"Sec-WebSocket-Protocol": ",;"}, BAD_REQUEST, id="protocol-not-a-list"),
    pytest.param({"Origin": "http://evil.example"}, {403}, id="strange-origin"),
    pytest.param({"Origin": "http://\xe9.example"}, {400, 403}, id="origin-not-ascii"),
    pytest.param({"Host": None}, BAD_REQUEST, id="no-host"),
    pytest.param({"Host": "a\r\nHost: b"}, BAD_REQUEST, id="two-hosts"),
    pytest.param({"Content-Length": "5"}, BAD_REQUEST, id="a-body"),
    pytest.param({"Transfer-Encoding": "chunked"}, BAD_REQUEST, id="a-chunked-body"),
    pytest.param({"X-Long": "x" * 9_000}, TOO_LARGE, id="header-of-9-kB"),
    pytest.param({"X-Long": "x" * 90_000}, TOO_LARGE, id="header-of-90-kB"),
    pytest.param({"X-Many": "x" + "\r\nX-Many: x" * 200}, TOO_LARGE, id="200-headers"),
    pytest.param({"X-Odd": "a\x01b"}, BAD_REQUEST, id="control-character-in-a-header"),
    pytest.param({"X-Odd": "a\r\n b"}, BAD_REQUEST, id="folded-header"),
]


def is_refused_with(statuses: set[int], data: bytes, witness: Witness) -> None:
    with witness.unharmed(), RawSocket(witness.stack.port) as offender:
        offender.send(data)
        assert offender.answer().status in statuses


@pytest.mark.parametrize(("changes", "statuses"), CHANGES)
def test_a_wrong_header_is_refused(
    witness: Witness, changes: dict[str, str | None], statuses: set[int]
) -> None:
    is_refused_with(
        statuses, handshake(witness.path, token=witness.token, changes=changes), witness
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "get"])
def test_another_method_than_get_is_refused(witness: Witness, method: str) -> None:
    is_refused_with(NOT_GET, handshake(witness.path, token=witness.token, method=method), witness)


@pytest.mark.parametrize(
    "version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTTP/1", "HTP/1.1", "ICY", ""]
)
def test_another_version_than_http_1_1_is_refused(witness: Witness, version: str) -> None:
    data = handshake(witness.path, token=witness.token, version=version)
    is_refused_with({400, 505}, data, witness)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"Upgrade:", b"Upgrade :", id="space-before-a-colon"),
        pytest.param(b"\r\n", b"\n", id="bare-line-feeds"),
        pytest.param(b"Upgrade: ", b"Upgrade ", id="no-colon"),
        pytest.param(b"Upgrade:", b":", id="no-name"),
        pytest.param(b"GET ", b"\x16\x03\x01\x02\x00", id="tls-on-a-plain-port"),
        pytest.param(b"/realtime/", b"/real\xe9time/", id="path-not-ascii"),
    ],
)
def test_what_is_not_http_is_refused(witness: Witness, before: bytes, after: bytes) -> None:
    data = handshake(witness.path, token=witness.token).replace(before, after)
    is_refused_with(BAD_REQUEST, data, witness)


@pytest.mark.parametrize("path", ["/realtime/nothing", "/health/live", "/courses", "*", "/"])
def test_a_path_without_sockets_is_refused(witness: Witness, path: str) -> None:
    is_refused_with({400, 403, 404}, handshake(path, token=witness.token), witness)


def test_a_refused_version_learns_which_there_is(witness: Witness) -> None:
    with RawSocket(witness.stack.port) as offender:
        changes: dict[str, str | None] = {"Sec-WebSocket-Version": "8"}
        offender.send(handshake(witness.path, token=witness.token, changes=changes))
        assert offender.answer().headers["sec-websocket-version"] == "13"


def test_a_path_of_9_kb_is_refused(witness: Witness) -> None:
    data = handshake("/realtime/course/" + "x" * 9_000, token=witness.token)
    is_refused_with(TOO_LARGE, data, witness)


def test_a_head_without_end_is_refused(witness: Witness) -> None:
    with witness.unharmed(), RawSocket(witness.stack.port) as offender:
        offender.send(b"GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(100):
            offender.send_or_lose(b"x" * 1_000)
        assert offender.answer().status in TOO_LARGE


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"Upgrade": "WebSocket"}, id="upgrade-in-other-case"),
        pytest.param({"Connection": "keep-alive, Upgrade"}, id="connection-with-more-options"),
        pytest.param({"Sec-WebSocket-Extensions": "permessage-deflate"}, id="extension-offered"),
        pytest.param({"Sec-WebSocket-Protocol": "chat, v2"}, id="protocols-offered"),
        pytest.param({"X-Latin": "caf\xe9"}, id="header-not-ascii"),
        pytest.param({"X-Long": "x" * 7_000}, id="header-of-7-kB"),
    ],
)
def test_an_unusual_but_right_handshake_is_accepted(
    witness: Witness, changes: dict[str, str | None]
) -> None:
    with witness.unharmed(), RawSocket(witness.stack.port) as viewer:
        viewer.send(handshake(witness.path, token=witness.token, changes=changes))
        answer = viewer.answer()
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers
        assert "sec-websocket-protocol" not in answer.headers
        assert viewer.frame_of(Opcode.TEXT)


def test_a_handshake_in_pieces_that_never_ends_is_hung_up_on(witness: Witness) -> None:
    head, _, rest = handshake(witness.path, token=witness.token).partition(b"Sec-WebSocket-Key")
    with witness.unharmed(), RawSocket(witness.stack.port) as offender:
        offender.send(head[:-2])  # without its line end
        time.sleep(0.3)
        offender.send(b"\r\nSec-WebSocket-Key" + rest[:-4])
        assert offender.ending().code is None


def test_a_handshake_behind_an_answer_that_goes_on_is_hung_up_on(witness: Witness) -> None:
    request = (
        f"GET {witness.path}/events HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {witness.token}\r\n\r\n"
    )
    with witness.unharmed(), RawSocket(witness.stack.port) as offender:
        offender.send(request.encode() + handshake(witness.path, token=witness.token))
        assert offender.ending().code is None
