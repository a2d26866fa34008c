"""The cloud as a process: it starts or reports why not, listens on loopback only, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from local.cloud import server, symbols
from local.cloud.launcher import PROJECT, CloudError, EmbeddedCloud
from local.cloud.process_tree import session_members
from local.cloud.symbols import IncompatibleMinistack
from local.settings import CloudSettings, SettingsError
from local.tests.conformance.workbench import Workbench, eventually

LAUNCHER = """
import signal, sys
from pathlib import Path
from local.cloud.launcher import EmbeddedCloud
from local.tests.conformance.workbench import Workbench

# A background process of a shell inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedCloud(Path(sys.argv[1])) as cloud:
    bench = Workbench(cloud)
    code = "import subprocess\\ndef handler(e, c):\\n    subprocess.Popen(['/bin/sleep', '300'])\\n"
    bench.invoke(bench.function(code))
    print(cloud._server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_a_killed_launcher(tmp_path: Path, number: signal.Signals) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    session = int(launcher.stdout.readline())
    members = list(session_members(session))
    commands = [" ".join(member.cmdline()) for member in members]
    assert any("awslambdaric" in command for command in commands)
    assert any("sleep" in command for command in commands)
    launcher.send_signal(number)
    launcher.wait(20)
    launcher.stdin.close()
    launcher.stdout.close()
    eventually(lambda: not list(session_members(session)), 10)
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members)


def test_no_process_outlives_a_killed_server(tmp_path: Path) -> None:
    cloud = EmbeddedCloud(tmp_path)
    cloud.start()
    assert cloud._server is not None
    session = cloud._server.pid
    bench = Workbench(cloud)
    bench.invoke(bench.function("def handler(e, c): pass\n"))
    os.kill(session, signal.SIGKILL)
    cloud.stop()
    assert not list(session_members(session))
    assert not (tmp_path / "work").exists()


def test_a_cloud_can_be_stopped_twice_and_started_again(tmp_path: Path) -> None:
    cloud = EmbeddedCloud(tmp_path)
    for _ in range(2):
        began = time.monotonic()
        with cloud:
            assert cloud.client("sts").get_caller_identity()["Account"] == "000000000000"
        assert time.monotonic() - began < 20
        cloud.stop()
    with pytest.raises(CloudError, match="not running"):
        cloud.client("s3")


def test_a_cloud_that_cannot_boot_names_its_log(tmp_path: Path) -> None:
    cloud = EmbeddedCloud(tmp_path, settings=CloudSettings(annotator="nowhere:nothing"))
    with pytest.raises(CloudError, match="nowhere") as refused:
        cloud.start()
    assert str(cloud.log) in str(refused.value)
    assert "nowhere" in cloud.log.read_text()


def test_the_environment_for_tools_has_no_other_credentials(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    environment = bench.cloud.environment()
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & environment.keys()
    assert environment["AWS_ENDPOINT_URL"] == bench.cloud.endpoint_url
    assert environment["SAM_CLI_TELEMETRY"] == "0"


def test_every_listener_of_the_cloud_is_on_loopback(bench: Workbench) -> None:
    bench.invoke(bench.function("def handler(e, c): pass\n"))
    assert bench.cloud._server is not None
    process = psutil.Process(bench.cloud._server.pid)
    listeners = {
        connection.laddr.ip
        for member in (process, *process.children(recursive=True))
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listeners == {"127.0.0.1"}


def test_an_exposed_listener_is_refused() -> None:
    import socket

    with socket.create_server(("0.0.0.0", 0)), pytest.raises(server.ExposedListener, match=r"0\.0\.0\.0"):  # noqa: S104
        server.check_listeners()


def test_another_version_of_ministack_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols.check_version()
    monkeypatch.setattr(metadata, "version", lambda name: "9.9.9")
    with pytest.raises(IncompatibleMinistack, match=r"9\.9\.9"):
        symbols.check_version()


def test_a_missing_or_changed_symbol_is_named() -> None:
    with pytest.raises(IncompatibleMinistack, match=rf"{symbols.MINISTACK} has no services\.sqs\._nothing"):
        symbols.find("services.sqs", "_nothing")
    with pytest.raises(IncompatibleMinistack, match=r"services\.sqs\._queue_by_arn takes"):
        symbols.replace("services.sqs", "_queue_by_arn", None, parameters=("other",))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"images": {"detector": "python server.py"}}, "detector"),
        ({"annotator": "no_colon"}, "no_colon"),
        ({"wait_scale": -1}, "wait_scale"),
        ({"alarm_scale": 0}, "alarm_scale"),
        ({"stopped_manifest_delay": -1}, "stopped_manifest_delay"),
        ({"max_workers": 0}, "max_workers"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        CloudSettings(**settings)  # type: ignore[arg-type]
