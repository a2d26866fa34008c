"""Lambda functions: the real runtime, its errors, limits and environment."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local.cloud.lambda_runtime import HOST_ARCHITECTURE
from local.tests.conformance.workbench import ROLE, RUNTIME, Workbench, eventually, unique, zipped

ECHO = "def handler(event, context):\n    return event\n"


def test_an_empty_event_is_accepted(bench: Workbench) -> None:
    assert bench.invoke(bench.function(ECHO), {}) == ({}, None)


def test_an_exception_keeps_its_type_and_message(bench: Workbench) -> None:
    code = "class Unlucky(Exception): pass\ndef handler(event, context):\n    raise Unlucky('today')\n"
    answer, error = bench.invoke(bench.function(code))
    assert (answer["errorType"], answer["errorMessage"], error) == ("Unlucky", "today", "Unhandled")
    assert answer["stackTrace"]


def test_a_handler_that_cannot_be_imported_is_an_error_every_time(bench: Workbench) -> None:
    name = bench.function("import nowhere\n")
    for _ in range(2):
        answer, error = bench.invoke(name)
        assert (answer["errorType"], error) == ("Runtime.ImportModuleError", "Unhandled")


def test_a_function_is_killed_at_its_timeout(bench: Workbench) -> None:
    code = """
        import os, signal, subprocess, time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)

        def handler(event, context):
            if event.get("quick"):
                return os.getpid()
            child = subprocess.Popen(["/bin/sleep", "60"])
            open("/tmp/" + event["mark"], "w").write(f"{os.getpid()} {child.pid}")
            time.sleep(60)
    """
    name, mark = bench.function(code, Timeout=1), unique("mark")
    before, _ = bench.invoke(name, {"quick": True})
    began = time.monotonic()
    answer, error = bench.invoke(name, {"mark": mark})
    assert answer == {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 1.00 seconds"}
    assert error == "Unhandled"
    assert time.monotonic() - began < 3
    path = Path("/tmp") / mark  # noqa: S108 - a function's own folder
    pids = path.read_text().split()
    path.unlink()
    eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))
    after, _ = bench.invoke(name, {"quick": True})
    assert after != before


def test_a_dead_process_gives_an_error_and_is_replaced(bench: Workbench) -> None:
    code = (
        "import os\ndef handler(event, context):\n    os.kill(os.getpid(), 9) if event else None\n    return 'alive'\n"
    )
    name = bench.function(code)
    answer, error = bench.invoke(name, {"die": True})
    assert (answer["errorType"], error) == ("Runtime.ExitError", "Unhandled")
    assert bench.invoke(name, {}) == ("alive", None)


def test_a_function_sees_only_lambdas_environment(bench: Workbench) -> None:
    code = """
        import os, sys

        def handler(event, context):
            return {"env": dict(os.environ), "path": sys.path, "remaining": context.get_remaining_time_in_millis(),
                    "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb}
    """
    name = bench.function(code, Environment={"Variables": {"OWN": "x"}}, MemorySize=192)
    answer, _ = bench.invoke(name)
    assert answer["env"].keys() <= {
        "OWN", "PATH", "LANG", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "PYTHONPATH", "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR", "_HANDLER", "_X_AMZN_TRACE_ID",
    } | {key for key in answer["env"] if key.startswith("AWS_")}  # fmt: skip
    assert answer["env"]["AWS_ENDPOINT_URL"] == bench.cloud.endpoint_url
    assert answer["env"]["OWN"] == "x"
    assert 0 < answer["remaining"] <= 10_000
    assert (answer["memory"], answer["arn"].split(":")[-1]) == ("192", name)
    assert not any("site-packages" in entry for entry in answer["path"])


def test_a_function_sees_only_lambdas_own_packages(bench: Workbench) -> None:
    code = """
        import importlib.util

        def handler(event, context):
            return [name for name in event if importlib.util.find_spec(name)]
    """
    answer, _ = bench.invoke(bench.function(code), ["boto3", "pytest", "ministack", "psutil"])
    assert answer == ["boto3"]


def test_code_wins_over_layers_and_later_layers_over_earlier_ones(bench: Workbench) -> None:
    def layer(**files: str) -> str:
        content = {f"python/{name}.py": text for name, text in files.items()}
        published = bench.functions.publish_layer_version(
            LayerName=unique("layer"), Content={"ZipFile": zipped(content)}
        )
        return str(published["LayerVersionArn"])

    layers = [layer(a="X = 1", b="X = 1", c="X = 1"), layer(b="X = 2", c="X = 2")]
    files = {"app.py": "import a, b, c\ndef handler(e, x):\n    return [a.X, b.X, c.X]\n", "c.py": "X = 3"}
    name = bench.function(ECHO, Layers=layers, Code={"ZipFile": zipped(files)})
    assert bench.invoke(name)[0] == [1, 2, 3]


def test_an_update_replaces_the_running_code_and_variables(bench: Workbench) -> None:
    code = "import os\ndef handler(event, context):\n    return os.environ.get('V', 'none')\n"
    name = bench.function(code)
    assert bench.invoke(name)[0] == "none"
    bench.functions.update_function_configuration(FunctionName=name, Environment={"Variables": {"V": "1"}})
    assert bench.invoke(name)[0] == "1"
    bench.functions.update_function_code(FunctionName=name, ZipFile=zipped({"app.py": ECHO}))
    assert bench.invoke(name, [2])[0] == [2]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"Runtime": "python3.9"}, RUNTIME),
        ({"Architectures": ["arm64" if HOST_ARCHITECTURE == "x86_64" else "x86_64"]}, "processor"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved"),
        ({"PackageType": "Image", "Code": {"ImageUri": "0.dkr.ecr/x"}}, "image"),
    ],
)
def test_a_function_that_cannot_run_here_is_refused(bench: Workbench, settings: dict[str, object], word: str) -> None:
    with pytest.raises(ClientError, match=word):
        bench.function(ECHO, **settings)


def test_an_answer_that_is_too_large_is_an_error(bench: Workbench) -> None:
    answer, error = bench.invoke(bench.function("def handler(e, c):\n    return 'x' * (6 * 1024 * 1024 + 1)\n"))
    assert (answer["errorType"], error) == ("Function.ResponseSizeTooLarge", "Unhandled")


def test_prints_go_to_the_log_group_and_to_a_file(bench: Workbench) -> None:
    name = bench.function("def handler(event, context):\n    print('said', event['word'])\n")
    bench.invoke(name, {"word": "hello"})
    assert "said hello" in (bench.cloud.folder / "functions" / f"{name}.log").read_text()
    events = bench.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    assert any("said hello" in event["message"] for event in events)


def test_log_lines_are_found_by_patterns_of_text(bench: Workbench) -> None:
    name = bench.function("def handler(event, context):\n    print(event)\n")
    for said in ("drive seven", "drive eight", "Drive seven"):
        bench.invoke(name, said)

    def found(pattern: str) -> list[str]:
        events = bench.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=pattern)["events"]
        return [event["message"] for event in events if "rive" in event["message"]]

    assert found('"drive seven"') == ["drive seven"]
    assert found("drive -seven") == ["drive eight"]
    assert found('?"eight" ?"Drive"') == ["drive eight", "Drive seven"]
    with pytest.raises(ClientError, match="patterns of text only"):
        found('{ $.drive = "seven" }')


def test_each_invocation_writes_a_report_line(bench: Workbench) -> None:
    name = bench.function("def handler(event, context):\n    return 1 / event\n")
    for divisor in (1, 0, 2):
        bench.invoke(name, divisor)
    log = (bench.cloud.folder / "functions" / f"{name}.log").read_text()
    reports = [line for line in log.splitlines() if line.startswith("REPORT RequestId: ")]
    # Only the first invocation waited for the function to start.
    assert ["Init Duration: " in line for line in reports] == [True, False, False]
    assert all("\tDuration: " in line for line in reports)


def test_more_calls_than_processes_are_all_served(bench: Workbench) -> None:
    code = "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n"
    names = [bench.function(code, Timeout=30) for _ in range(3)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: bench.invoke(names[n % 3], [n]), range(20)))
    assert answers == [([n], None) for n in range(20)]
    assert bench.cloud.settings.max_workers < 20


def test_a_container_image_is_refused(bench: Workbench) -> None:
    with pytest.raises(ClientError, match="container images"):
        bench.functions.create_function(
            FunctionName=unique("f"),
            Role=ROLE,
            PackageType="Image",
            Architectures=[HOST_ARCHITECTURE],
            Code={"ImageUri": "000000000000.dkr.ecr/x:1"},
        )


def test_tracing_calls_are_answered(bench: Workbench) -> None:
    answer = bench.xray.put_trace_segments(TraceSegmentDocuments=[json.dumps({"id": "1"})])
    assert answer["UnprocessedTraceSegments"] == []
    with pytest.raises(ClientError, match="not supported"):
        bench.xray.get_groups()
