"""The stub follows the container contract and the settings of its environment."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from models.servers.container import ContainerServer, Request, RequestRefused
from models.servers.stub import BadSetting, Behaviour, StubModel


def _model(**environment: str) -> StubModel:
    return StubModel(Behaviour.read(environment))


def _predict(model: StubModel, body: bytes = b"x") -> bytes:
    reply = model.predict(Request(body, "", "", "")).body
    return reply if isinstance(reply, bytes) else b"".join(reply)


@pytest.fixture
def port() -> Iterator[int]:
    server = ContainerServer(0, _model(STUB_BALLAST="100000"))
    server.model.max_request_bytes = 1000
    server.ready.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def _exchange(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, encode_chunked=True)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_without_settings_the_stub_answers_as_jumpstart_does() -> None:
    answer = json.loads(_predict(_model()))
    assert set(answer) == {"normalized_boxes", "classes", "scores", "labels"}
    assert [answer["labels"][int(c)] for c in answer["classes"]] == ["car", "truck", "person"]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


def test_boxes_come_from_the_environment() -> None:
    answer = json.loads(_predict(_model(STUB_BOXES='[["unicorn", 0.5, 0, 0, 1, 1]]')))
    assert answer["labels"][int(answer["classes"][0])] == "unicorn"
    assert answer["normalized_boxes"] == [[0, 0, 1, 1]]


def test_ballast_precedes_the_boxes() -> None:
    body = _predict(_model(STUB_BALLAST="1000000"))
    assert 500_000 < len(body) < 2_000_000
    answer = json.loads(body)
    assert next(iter(answer)) == "masks"
    assert len(answer["scores"]) == 3


def test_the_same_input_always_gets_the_same_behaviour() -> None:
    behaviour = Behaviour.read({"STUB_SHARES": '{"error": 0.25, "garbage": 0.25}'})
    inputs = [b"%d" % n for n in range(1000)]
    chosen = [behaviour.choose(body) for body in inputs]
    assert chosen == [behaviour.choose(body) for body in inputs]
    assert 200 < chosen.count("error") < 300
    assert 200 < chosen.count("garbage") < 300
    assert 400 < chosen.count("answer") < 600


def test_a_flaky_stub_answers_an_input_the_second_time() -> None:
    model = _model(STUB_BEHAVIOUR="flaky")
    with pytest.raises(RequestRefused):
        _predict(model, b"a")
    assert _predict(model, b"a")


@pytest.mark.parametrize(
    "environment",
    [
        {"STUB_BEHAVIOUR": "dance"},
        {"STUB_SHARES": '{"dance": 1}'},
        {"STUB_SHARES": "[]"},
        {"STUB_DELAY_MS": "soon"},
        {"STUB_BOXES": "{"},
        {"STUB_STARTUP": "later"},
    ],
)
def test_a_malformed_environment_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(BadSetting):
        Behaviour.read(environment)


def test_ping_answers_only_once_the_model_is_loaded() -> None:
    server = ContainerServer(0, _model())
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    assert _exchange(server.server_port, "GET", "/ping")[0] == 503
    assert _exchange(server.server_port, "POST", "/invocations", b"x")[0] == 503
    server.ready.set()
    assert _exchange(server.server_port, "GET", "/ping")[0] == 200
    server.shutdown()
    server.server_close()


def test_a_body_in_chunks_is_answered_in_chunks(port: int) -> None:
    status, body = _exchange(port, "POST", "/invocations", iter([b"a", b"b"]))
    assert status == 200
    assert len(json.loads(body)["scores"]) == 3


def test_a_body_above_the_limit_is_read_and_refused(port: int) -> None:
    status, body = _exchange(port, "POST", "/invocations", b"x" * 5_000_000)
    assert status == 413
    assert "5000000 bytes" in json.loads(body)["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/predict")])
def test_any_other_path_is_not_found(port: int, method: str, path: str) -> None:
    assert _exchange(port, method, path, b"" if method == "POST" else None)[0] == 404
