"""Checks that a run lost and doubled nothing, from the objects in the buckets, not from what the pipeline reports."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.run_folder import RunFolder
from tools.chaos.stage import Stage

Json = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The state of buckets, ledger, jobs and executions after a drive. Keys are of the ingest bucket.

    versions: every (key, ETag) that was ever put into the ingest bucket. promised: keys that the fleet put before it
    closed the drive. unasked: keys of failed frames whose unit has neither an answer nor a failure. pending: keys of
    listed units that are still pending. waiting: task tokens still stored. jobs: (manifest, status). executions:
    (name, status).
    """

    drive: str
    versions: frozenset[tuple[str, str]]
    promised: frozenset[str]
    listing: list[Json]
    manifest: list[str]
    rejected: list[str]
    failed: list[str]
    dataset: list[str]
    summary: Json
    executions: list[tuple[str, str]]
    jobs: list[tuple[str, str]]
    manifests: list[str]
    unasked: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    waiting: int = 0


@dataclass(frozen=True)
class Verdict:
    """`frames`: objects in the frozen listing; `lost`, `doubled`: their keys; `problems`: all other faults found."""

    frames: int
    lost: list[str]
    doubled: list[str]
    problems: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.problems)


def judge(evidence: Evidence) -> Verdict:
    """Check the promise: each frame of the listing is in exactly one place, and nothing else is wrong."""
    listed = [line["key"] for line in evidence.listing]
    ended = Counter(evidence.manifest) + Counter(evidence.rejected)
    dataset = Counter(evidence.dataset)
    lost = sorted(evidence.promised - set(listed))
    lost += sorted(set(listed) - set(ended)) + sorted(set(evidence.manifest) - set(dataset))
    doubled = [key for counts in (Counter(listed), ended, dataset) for key, count in counts.items() if count > 1]
    return Verdict(len(listed), lost, doubled, list(_problems(evidence, set(listed), ended)))


def _problems(evidence: Evidence, listed: set[str], ended: Counter[str]) -> list[str]:
    problems = []

    def expect(truth: bool, otherwise: str) -> None:
        if not truth:
            problems.append(otherwise)

    for line in evidence.listing:
        known = (line["key"], line["etag"]) in evidence.versions
        expect(known, f"the listing has {line['key']} with an ETag that was never put")
    expect(set(ended) <= listed, f"lines of frames that are not listed: {sorted(set(ended) - listed)}")
    expect(set(evidence.dataset) <= set(evidence.manifest), "the dataset has frames that are in no manifest")
    expect(set(evidence.failed) <= set(evidence.manifest), "a failed frame is in no manifest")
    frames = evidence.summary.get("frames", {})
    counted = {
        "uploaded": len(evidence.listing),
        "labelled": len(evidence.manifest) - len(evidence.failed),
        "failed": len(evidence.failed),
        "rejected": len(evidence.rejected),
    }
    expect(frames == counted, f"the summary counts {frames}, but there are {counted}")
    expect(
        evidence.executions == [(execution_name(evidence.drive, FIRST_RUN), "SUCCEEDED")],
        f"executions: {evidence.executions}",
    )
    kept = Counter(manifest for manifest, status in evidence.jobs if status not in ("Failed", "Stopped"))
    expect(kept == Counter(evidence.manifests), f"labelling jobs {evidence.jobs} for manifests {evidence.manifests}")
    expect(not evidence.unasked, f"the run went on too early: {evidence.unasked} had no answer")
    expect(not evidence.pending, f"units are still pending after the end: {evidence.pending}")
    expect(not evidence.waiting, f"{evidence.waiting} task tokens are still stored after the end")
    return problems


def gather(stage: Stage, drive: str, promised: frozenset[str]) -> Evidence:
    """Collect the evidence of a drive's first run."""
    s3, ingest, labels = stage.client("s3"), stage.stack.ingest.name, stage.stack.labels.name
    prefix, run = f"drives/{drive}/", RunFolder(drive, FIRST_RUN)

    def read(key: str) -> bytes:
        """An object of the label bucket; empty when there is none, which the verdict shows as loss."""
        try:
            body: bytes = s3.get_object(Bucket=labels, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return b""
        return body

    def lines(key: str) -> list[Json]:
        return [json.loads(line) for line in read(key).splitlines()]

    def sources(key: str) -> list[str]:
        return [line["source-ref"].removeprefix(f"s3://{ingest}/") for line in lines(key)]

    def keys(bucket: str, prefix: str) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [thing["Key"] for page in pages for thing in page.get("Contents", [])]

    pages = s3.get_paginator("list_object_versions").paginate(Bucket=ingest, Prefix=prefix)
    versions = frozenset((v["Key"], v["ETag"].strip('"')) for page in pages for v in page.get("Versions", []))
    manifests = [key for key in keys(labels, run.manifests) if key.endswith(".manifest")]
    listing = lines(run.listing)
    failed = lines(run.failed)
    seen = [line for key in keys(labels, run.shards) if key.endswith("detections.jsonl") for line in lines(key)]
    pending = pending_keys(stage, drive)
    return Evidence(
        drive=drive,
        versions=versions,
        promised=promised,
        listing=listing,
        # A second round has frames of the first one.
        manifest=[source for key in manifests if not key.endswith("-again.manifest") for source in sources(key)],
        rejected=[line["key"] for line in lines(run.rejected)],
        failed=[line["key"] for line in failed],
        unasked=[line["key"] for line in seen if any(why.endswith(": no answer") for why in line["failed"].values())],
        dataset=sources(run.dataset),
        summary=json.loads(read(run.summary) or b"{}"),
        executions=executions(stage, drive),
        jobs=_jobs(stage, f"s3://{labels}/{run.manifests}"),
        manifests=[f"s3://{labels}/{key}" for key in manifests],
        # Objects that the listing refused are not units of the run: it does not wait for them.
        pending=sorted(key for key, _ in pending & {(x["key"], x["etag"]) for x in listing if not x.get("refused")}),
        waiting=len(stage.stack.ledger.waiting_runs(drive)),
    )


def executions(stage: Stage, drive: str) -> list[tuple[str, str]]:
    """All executions of a drive, as (name, status)."""
    machine = stage.stack.outputs["StateMachineArn"]
    pages = stage.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine)
    found = [execution for page in pages for execution in page["executions"]]
    return [(e["name"], e["status"]) for e in found if e["name"].startswith(f"{drive}-")]


def pending_keys(stage: Stage, drive: str) -> set[tuple[str, str]]:
    """(key, ETag) of every pending unit of a drive, scanned from the table."""
    pages = (
        stage.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stage.stack.outputs["LedgerName"],
            ConsistentRead=True,
            FilterExpression="begins_with(pk, :pk)",
            ExpressionAttributeValues={":pk": {"S": f"pending#{drive}#"}},
        )
    )
    return {(item["key"]["S"], item["etag"]["S"]) for page in pages for item in page["Items"]}


def _jobs(stage: Stage, prefix: str) -> list[tuple[str, str]]:
    pages = stage.client("sagemaker").get_paginator("list_labeling_jobs").paginate()
    jobs = [
        (job["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"], job["LabelingJobStatus"])
        for page in pages
        for job in page["LabelingJobSummaryList"]
    ]
    return [job for job in jobs if job[0].startswith(prefix)]
