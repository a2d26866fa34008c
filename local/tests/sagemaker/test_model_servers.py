"""The life of a model server's process."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.sagemaker.hosting import model_servers
from local.sagemaker.hosting.model_servers import ModelServer, ModelServerFailed
from local.tests.sagemaker.stand_in import STUB, eventually

NEVER = threading.Event()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "server.log"


@pytest.fixture
def server(log: Path) -> Iterator[ModelServer]:
    server = ModelServer("server", STUB, {}, log, startup_seconds=10)
    yield server
    server.stop()


def _processes() -> list[psutil.Process]:
    # Direct children only: an embedded cloud of other tests has model servers one generation below.
    return [p for p in psutil.Process().children() if "models.servers.stub" in p.cmdline()]


def test_a_server_that_was_never_started_is_unhealthy_and_stops(server: ModelServer) -> None:
    assert not server.healthy
    assert server.exit_status() is None
    server.stop()


def test_a_server_is_healthy_once_its_ping_answers(server: ModelServer) -> None:
    server.start()
    assert not server.healthy
    server.wait_until_healthy(NEVER)
    assert server.healthy
    server.stop()
    assert not server.healthy
    assert not _processes()


def test_a_slow_server_has_its_start_up_time(log: Path) -> None:
    server = ModelServer("slow", STUB, {"STUB_STARTUP": "slow"}, log, startup_seconds=10)
    server.start()
    begun = time.monotonic()
    server.wait_until_healthy(NEVER)
    server.stop()
    assert time.monotonic() - begun > 0.9


def test_a_server_that_answers_no_ping_fails_after_its_start_up_time(log: Path) -> None:
    server = ModelServer("never", STUB, {"STUB_STARTUP": "never"}, log, startup_seconds=0.5)
    server.start()
    with pytest.raises(ModelServerFailed, match=r"within 0\.5 seconds.*server\.log"):
        server.wait_until_healthy(NEVER)
    server.stop()


def test_an_unknown_command_fails_with_its_log(log: Path) -> None:
    server = ModelServer("none", ["/no/such/program"], {}, log, startup_seconds=10)
    server.start()
    with pytest.raises(ModelServerFailed, match=r"ended with status 1 .*: .*No such file"):
        server.wait_until_healthy(NEVER)
    assert "/no/such/program" in log.read_text()


def test_a_server_whose_port_is_taken_gets_another(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        taken = another.getsockname()[1]
        ports = iter([taken, model_servers._free_port()])
        monkeypatch.setattr(model_servers, "_free_port", lambda: next(ports))
        server.start()
        assert server.port == taken
        server.wait_until_healthy(NEVER)
        assert server.port != taken


def test_the_environment_is_the_containers_own(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server.start()
    server.wait_until_healthy(NEVER)
    (process,) = _processes()
    environment = process.environ()
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["SAGEMAKER_BIND_TO_PORT"] == str(server.port)


def test_a_server_listens_on_loopback_only(server: ModelServer) -> None:
    server.start()
    server.wait_until_healthy(NEVER)
    (process,) = _processes()
    assert {c.laddr.ip for c in process.net_connections("inet")} == {"127.0.0.1"}


def test_a_killed_server_is_reported_and_can_be_restarted(server: ModelServer) -> None:
    server.start()
    server.wait_until_healthy(NEVER)
    _processes()[0].kill()
    eventually(lambda: not server.healthy)
    assert eventually(server.restart_reason) == "ended with status -9"
    server.start()
    server.wait_until_healthy(NEVER)


def test_a_server_dies_with_its_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys, threading, pathlib\n"
        "from local.sagemaker.hosting.model_servers import ModelServer\n"
        f"server = ModelServer('orphan', {STUB!r}, {{}}, pathlib.Path({str(tmp_path / 'log')!r}), 10)\n"
        "server.start(); server.wait_until_healthy(threading.Event())\n"
        "print('healthy', flush=True); threading.Event().wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[3]
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"healthy\n"
    (server,) = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs([server], timeout=3)[1] == []
