"""`models check-segmenter` names each rule that a container breaks."""

from __future__ import annotations

import json
import socket

import pytest
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main
from tests.fakes.segmenters import FAULTS, WHOLE_FAULTS, EllipseSegmenter
from tests.servers.serving import serving

# The first rule that each fault breaks.
BROKEN = {
    **dict.fromkeys([*FAULTS, *WHOLE_FAULTS], "answer"),
    "the wrong order": "order",
    "answers wrong requests": "refusals",
    "nothing tall": "size",
    "nothing large": "large",
    "no more than 16 boxes": "number",
    "no tiny box": "edges",
    "nothing grey": "formats",
    "turned": "orientation",
    "one request at a time": "at-once",
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", "check-segmenter", *arguments])


def test_a_container_that_keeps_the_contract_passes() -> None:
    with serving(EllipseSegmenter(draft=False)) as port:
        done = run(f"http://127.0.0.1:{port}/", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert all(rule["kept"] for rule in document["rules"])
    assert (document["masks"] > 0, document["drafts"]) == (True, 0)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_found_and_named(fault: str) -> None:
    with serving(EllipseSegmenter(fault)) as port:
        done = run(f"http://127.0.0.1:{port}", "--json")
    assert done.exit_code == 1
    broken = [rule for rule in json.loads(done.stdout)["rules"] if not rule["kept"]]
    assert broken[0]["name"] == BROKEN[fault]
    assert broken[0]["broken"]


def test_nothing_else_is_checked_where_nothing_answers() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run(f"http://127.0.0.1:{unused.getsockname()[1]}", "--timeout", "1")
    assert done.exit_code == 1
    assert "breaks 1 rule (ping)" in done.output


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "s3://bucket/key", "http://"])
def test_another_address_is_refused_with_an_example(url: str) -> None:
    done = run(url)
    assert done.exit_code == 1
    assert "http://127.0.0.1:8080" in done.output
