"""`evaluate views` covers a folder's images with the model `blur` and counts what it covered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from autolabel_cli import installation
from autolabel_cli.__main__ import main
from tests.unit.cli.evaluation.conftest import make_checkout
from tests.unit.cli.evaluation.generated import ALL_OF_STUB, STUB_BOXES, Picture, write_kitti

WIDTH, HEIGHT = 400, 200
# The stub's car and truck, which `blur` calls plates, in pixels.
PLATES = [(40.0, 80.0, 120.0, 140.0), (200.0, 60.0, 320.0, 150.0)]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout whose models are stubs that find the same in every image."""
    made = make_checkout(tmp_path / "checkout", "blur", "yolox-tiles", "other")
    document = made / "models" / "blur.json"
    classes = {"car": "plate", "truck": "plate", "person": "head"}
    document.write_text(json.dumps(json.loads(document.read_text()) | {"purpose": "views", "classes": classes}))
    monkeypatch.setattr(installation, "_CHECKOUT", made)
    monkeypatch.setenv("STUB_BOXES", json.dumps(STUB_BOXES))


def run(folder: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", "views", str(folder), *map(str, options)])


def measured(folder: Path, *options: str | Path) -> dict[str, Any]:
    done = run(folder, "--json", *options)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def unlabelled(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 90, 90)).save(folder / f"frame {number}.png")
    return folder


def test_regions_and_text_that_is_found_again_are_counted(tmp_path: Path) -> None:
    document = measured(unlabelled(tmp_path / "frames"))
    # The stub sees the same in a view, so all of its text is found again.
    assert (document["frames"], document["plates"], document["heads"], document["read_again"]) == (2, 4, 2, 4)
    shares = [(row[4] - row[2]) * (row[5] - row[3]) for row in STUB_BOXES]  # type: ignore[operator]
    assert document["pixels"] == pytest.approx(sum(shares), abs=1e-5)
    assert document["scores"] == {}
    assert document["covered_least"] is None


def test_marked_plates_count_as_covered_where_regions_cover_nearly_all_of_them(tmp_path: Path) -> None:
    marks = tmp_path / "plates.txt"
    left, top, right, bottom = PLATES[0]
    marks.write_text(
        f"frame 0.png {left} {top} {right} {bottom}\n"
        f"frame 0.png {left} {top} {right + 5} {bottom}\n"
        f"frame 1.png {left} {top} {right + 12} {bottom}\n"
        "frame 1.png 330 10 360 20\n"
    )
    document = measured(unlabelled(tmp_path / "frames"), "--plates", marks)
    assert (document["marked"], document["covered"]) == (4, 2)
    assert document["covered_least"] == pytest.approx(0.0976, abs=1e-3)


@pytest.mark.parametrize(
    "line", ["frame 0.png 1 2 3", "frame 9.png 1 2 3 4", "frame 0.png 5 2 3 4", "frame 0.png a b c d"]
)
def test_a_mark_that_names_no_box_of_an_image_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    marks = tmp_path / "plates.txt"
    marks.write_text(f"frame 0.png 1 2 3 4\n{line}\n")
    done = run(unlabelled(tmp_path / "frames"), "--plates", marks)
    assert done.exit_code == 1
    assert "plates.txt, line 2" in done.output


def test_a_labelled_folder_gets_scores_on_images_and_on_views(tmp_path: Path) -> None:
    write_kitti(tmp_path / "labelled", [Picture("a", WIDTH, HEIGHT, ALL_OF_STUB)])
    scores = measured(tmp_path / "labelled", "--level", "all")["scores"]
    assert scores["vehicle"] == {"objects": 2, "ap50": 1.0, "ap50_views": 1.0}


def test_sheets_show_vehicles_and_persons_of_the_views(tmp_path: Path) -> None:
    done = run(unlabelled(tmp_path / "frames", 10), "--sheets", tmp_path / "sheets")
    assert done.exit_code == 0, done.output
    # Three objects of each of ten frames, 25 on a sheet.
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in sheets] == ["sheet-001.png", "sheet-002.png"]
    # The car is covered as a plate: one colour and a little noise, under the caption.
    cell = Image.open(sheets[0]).convert("RGB").crop((60, 60, 200, 180))
    assert all(high - low < 30 for low, high in cell.getextrema())  # type: ignore[misc]


def test_an_image_that_cannot_be_covered_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder = unlabelled(tmp_path / "frames")
    whole = (folder / "frame 0.png").read_bytes()
    (folder / "frame 0.png").write_bytes(whole[:-40])
    document = measured(folder)
    assert document["frames"] == 1
    assert sum(document["left_out"].values()) == 1
