"""Artefacts of models in the label bucket."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from autolabel_cli.errors import CommandError
from autolabel_cli.models.artefacts import origins, place_artefact
from autolabel_cli.models.sources import Source
from tests.contract.model_account import (
    IMAGE,
    Account,
    bring,
)


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/") + ".py")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def unpacked(account: Account, model_id: str) -> dict[str, str]:
    body = account.stack.labels.read(f"models/{model_id.replace('.', '/')}/f/model.tar.gz")
    assert body
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {m.name: file.read().decode() for m in tar if (file := tar.extractfile(m))}


def test_a_script_is_packed_with_its_artefact_in_place_of_the_artefacts_own(account: Account, tmp_path: Path) -> None:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=archive(weights="w", code__inference="old"))
    (tmp_path / "inference.py").write_text("new")
    source = Source(IMAGE, "s3://weights/w.tar.gz", source_dir=tmp_path)
    place_artefact(account.stack, "street.0001", "f", source)
    assert unpacked(account, "street.0001") == {"weights.py": "w", "code/inference.py": "new"}


def test_jumpstarts_script_is_packed_as_well(account: Account) -> None:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=archive(weights="w"))
    account.s3.put_object(Bucket="weights", Key="s.tar.gz", Body=archive(inference="s"))
    place_artefact(account.stack, "street.0001", "f", Source(IMAGE, "s3://weights/w.tar.gz", "s3://weights/s.tar.gz"))
    assert unpacked(account, "street.0001") == {"weights.py": "w", "code/inference.py": "s"}


def test_an_artefact_that_is_not_there_is_refused_before_anything_is_deployed(account: Account) -> None:
    with pytest.raises(CommandError, match=r"s3://weights/none\.tar\.gz does not exist"):
        bring(account, Source(IMAGE, "s3://weights/none.tar.gz"))
    assert account.formation.created == []


def test_another_script_is_another_deployment(account: Account, tmp_path: Path) -> None:
    (tmp_path / "inference.py").write_text("one")
    before = origins(account.stack, Source(IMAGE, source_dir=tmp_path))
    (tmp_path / "inference.py").write_text("two")
    assert origins(account.stack, Source(IMAGE, source_dir=tmp_path)) != before
