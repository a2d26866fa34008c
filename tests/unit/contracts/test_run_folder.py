"""Tests of a run's keys. They are on the wire: datasets refer to them for years."""

from __future__ import annotations

from autolabel.contracts.run_folder import RunFolder

FOLDER = RunFolder("d1", "0002")


def test_every_key_of_a_run_keeps_its_name() -> None:
    properties = [name for name, value in vars(RunFolder).items() if isinstance(value, property)]
    assert {name: getattr(FOLDER, name).removeprefix("labels/d1/0002/") for name in properties} == {
        "prefix": "",
        "drive_document": "drive.json",
        "listing": "frames.jsonl",
        "listing_counts": "listing.json",
        "late_objects": "late.jsonl",
        "shard_list": "shards.jsonl",
        "uncertainty_map": "uncertainty.json",
        "shards": "shards/",
        "links": "links.json",
        "earlier_labels": "earlier.json",
        "other_earlier_labels": "earlier.rest.jsonl",
        "taken_over": "taken-over.json",
        "manifests": "manifests/",
        "label_categories": "manifests/categories.json",
        "worker_page": "manifests/worker.liquid.html",
        "acceptance_criteria": "terms.json",
        "triage": "triage.jsonl",
        "summary": "summary.json",
        "report": "report.html",
        "rejected": "rejected.jsonl",
        "failed": "failed.jsonl",
        "dataset": "dataset.manifest",
        "reviewed": "reviewed.jsonl",
        "audit": "audit.json",
        "label_issues": "suspects.jsonl",
        "parts": "publishing/d1/0002/1/",
        "part_list": "publishing/d1/0002/1/parts.jsonl",
        "cuboid_jobs": "publishing/d1/0002/1/cuboid-jobs.jsonl",
        "cuboid_categories": "manifests/cuboids.categories.json",
    }


def test_numbered_and_placed_keys_keep_their_names() -> None:
    assert FOLDER.shard(7, "manifest.jsonl") == "labels/d1/0002/shards/000007.manifest.jsonl"
    assert FOLDER.job_manifest(3) == "labels/d1/0002/manifests/verify-003.manifest"
    assert FOLDER.masks("front/17") == "labels/d1/0002/masks/front/17.json"
    assert FOLDER.kept_segments("front/17") == "labels/d1/0002/verification/kept/front/17.png"
    assert FOLDER.link_state(7, "backward") == "linking/d1/0002/3/backward-000007.json"
    assert FOLDER.paths(7) == "linking/d1/0002/3/000007.paths.jsonl"
    assert FOLDER.part("000007-a1", "result.json") == "publishing/d1/0002/1/000007-a1.result.json"
    assert FOLDER.segmentation("front/17") == "labels/d1/0002/segmentation/front/17.png"
