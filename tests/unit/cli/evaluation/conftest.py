"""A checkout whose models are stubs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autolabel_cli import installation
from autolabel_cli.__main__ import main
from autolabel_cli.evaluation import servers
from autolabel_cli.evaluation.servers import ModelServer, running_servers
from tests.unit.cli.evaluation.generated import STUB_BOXES

PROJECT = Path(__file__).parents[4]
Evaluate = Callable[..., Result]


def make_checkout(folder: Path, *names: str) -> Path:
    """A checkout with the real code of the model servers, but stubs for its models."""
    (folder / "models" / "servers").mkdir(parents=True)
    for path in (PROJECT / "models" / "servers").iterdir():
        if path.suffix == ".py":
            (folder / "models" / "servers" / path.name).symlink_to(path)
    index = dict.fromkeys(names, "models.servers.stub")
    (folder / "models" / "servers" / "servers.json").write_text(json.dumps(index))
    document = json.loads((PROJECT / "models" / "yolox-nano.json").read_text())
    for name in names:
        (folder / "models" / f"{name}.json").write_text(json.dumps(document | {"name": name}))
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_checkout(tmp_path / "checkout", "stub", "second")
    monkeypatch.setattr(installation, "_CHECKOUT", made)
    monkeypatch.setenv("STUB_BOXES", json.dumps(STUB_BOXES))
    return made


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ModelServer]]:
    """Two running stubs: one finds the same boxes in every image, the other finds them in about half of the images."""
    with pytest.MonkeyPatch.context() as patch:
        made = make_checkout(tmp_path_factory.mktemp("checkout"), "all", "some")
        patch.setattr(installation, "_CHECKOUT", made)
        patch.setenv("STUB_BOXES", json.dumps(STUB_BOXES))
        with running_servers(["all"]) as first:
            patch.setenv("STUB_SHARES", '{"empty": 0.5}')
            with running_servers(["some"]) as second:
                yield [*first, *second]


@pytest.fixture(scope="module")
def evaluated(stubs: list[ModelServer]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the command with the stubs that are running already, and returns its document."""

    def run(folder: Path, *options: str) -> dict[str, Any]:
        done = CliRunner().invoke(main, ["evaluate", "boxes", str(folder), "--json", *options])
        assert done.exit_code == 0, done.output
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "running_servers", lambda names: nullcontext(stubs))
        yield run


@pytest.fixture
def evaluate() -> Evaluate:
    return lambda *arguments: CliRunner().invoke(main, ["evaluate", "boxes", *map(str, arguments)])
