"""Defines the folder of a run in the label bucket: the key of every object in it."""

from __future__ import annotations

import msgspec


class RunFolder(msgspec.Struct, frozen=True):
    """Names the objects of one run of a drive; each property is a key in the label bucket.

    These keys are on the wire: datasets refer to them for years.
    """

    drive: str
    run: str

    @classmethod
    def of(cls, key: str) -> RunFolder:
        """Return the folder that a key of the label bucket is in."""
        _, drive, run, *_ = key.split("/")
        return cls(drive, run)

    @property
    def prefix(self) -> str:
        """The prefix of all keys of the run."""
        return f"labels/{self.drive}/{self.run}/"

    @property
    def drive_document(self) -> str:
        """The drive.json that the run was allocated with."""
        return self.prefix + "drive.json"

    @property
    def listing(self) -> str:
        """The frozen listing, one object in each line."""
        return self.prefix + "frames.jsonl"

    @property
    def listing_counts(self) -> str:
        """The counts of the frozen listing."""
        return self.prefix + "listing.json"

    @property
    def late_objects(self) -> str:
        """The objects that differ from the frozen listing, one in each line."""
        return self.prefix + "late.jsonl"

    @property
    def shard_list(self) -> str:
        """The planned shards, one in each line."""
        return self.prefix + "shards.jsonl"

    @property
    def shards(self) -> str:
        """The prefix of the keys of all shards."""
        return self.prefix + "shards/"

    @property
    def uncertainty_map(self) -> str:
        """The map that calibrates the uncertainty of the run's frames, if there was one when it was planned."""
        return self.prefix + "uncertainty.json"

    def shard(self, index: int, part: str) -> str:
        """A part of a shard: frames, earlier, manifest, doubts, detections, issues, kept, asked (all .jsonl) or
        result.json. Link leaves these, and writes linked.manifest, linked.doubts, linked.asked (all .jsonl) and
        linked.result.json. Its first version wrote tracks.jsonl instead."""
        return f"{self.shards}{index:06d}.{part}"

    @property
    def links(self) -> str:
        """The counts of the run's tracks. It is written last, once all shards are linked."""
        return self.prefix + "links.json"

    def link_state(self, shard: int, direction: str) -> str:
        """What linking carries into a shard, `forward` or `backward`. It is kept for some days, outside the folder.

        The number is a version: a call that finds none of its own begins again.
        """
        return f"linking/{self.drive}/{self.run}/3/{direction}-{shard:06d}.json"

    def paths(self, shard: int) -> str:
        """The places of a shard's boxes in paths, kept as long."""
        return f"linking/{self.drive}/{self.run}/3/{shard:06d}.paths.jsonl"

    @property
    def earlier_labels(self) -> str:
        """The counts of the labels that persons made in earlier runs. It is written last, once they are collected."""
        return self.prefix + "earlier.json"

    @property
    def other_earlier_labels(self) -> str:
        """The labels from earlier runs of frames that are not in this run, for later ones; a frame in each line."""
        return self.prefix + "earlier.rest.jsonl"

    @property
    def taken_over(self) -> str:
        """The later run that took over the reviewers' work of this run."""
        return self.prefix + "taken-over.json"

    def masks(self, position: str) -> str:
        """The masks of the frame at `camera/timestamp`."""
        return f"{self.prefix}masks/{position}.json"

    def segmentation(self, position: str) -> str:
        """The segmentation picture of the frame at `camera/timestamp`."""
        return f"{self.prefix}segmentation/{position}.png"

    def kept_segments(self, position: str) -> str:
        """The copy of the segments that a person left in an earlier run, of the frame at `camera/timestamp`."""
        return f"{self.prefix}verification/kept/{position}.png"

    @property
    def manifests(self) -> str:
        """The prefix of the keys of all manifests of verification jobs."""
        return self.prefix + "manifests/"

    def job_manifest(self, index: int) -> str:
        """The manifest of the verification job with this index."""
        return f"{self.manifests}verify-{index:03d}.manifest"

    @property
    def label_categories(self) -> str:
        """The label category file of the verification jobs."""
        return self.manifests + "categories.json"

    @property
    def worker_page(self) -> str:
        """The page that Ground Truth shows to reviewers."""
        return self.manifests + "worker.liquid.html"

    @property
    def acceptance_criteria(self) -> str:
        """The acceptance criteria, fixed when the run's jobs were made for the first time."""
        return self.prefix + "terms.json"

    def seeds(self, name: str) -> str:
        """The seeded errors of the run's manifests, one in each line; the acceptance criteria have their name.

        The role of labelling jobs may not read this prefix.
        """
        return f"{self.prefix}seeds/{name}.jsonl"

    @property
    def triage(self) -> str:
        """The frame kind of each frame, one JSON string in each line, in the drive's order."""
        return self.prefix + "triage.jsonl"

    @property
    def summary(self) -> str:
        return self.prefix + "summary.json"

    @property
    def report(self) -> str:
        return self.prefix + "report.html"

    @property
    def rejected(self) -> str:
        """The rejected frames with their reasons, one in each line."""
        return self.prefix + "rejected.jsonl"

    @property
    def failed(self) -> str:
        """The failed frames with their reasons, one in each line."""
        return self.prefix + "failed.jsonl"

    @property
    def dataset(self) -> str:
        """The dataset: one augmented manifest line for each labelled or failed frame."""
        return self.prefix + "dataset.manifest"

    @property
    def reviewed(self) -> str:
        """The results of triage and review of each frame, one in each line."""
        return self.prefix + "reviewed.jsonl"

    @property
    def audit(self) -> str:
        """The evidence of the run's audits."""
        return self.prefix + "audit.json"

    @property
    def label_issues(self) -> str:
        """The label issues: the labels that are most likely wrong come first, one in each line."""
        return self.prefix + "suspects.jsonl"

    @property
    def parts(self) -> str:
        """The prefix of the parts in which the run is published. They are kept for some days, outside the run's folder.

        The number is a version: parts of another one are made again.
        """
        return f"publishing/{self.drive}/{self.run}/1/"

    @property
    def part_list(self) -> str:
        """The parts in which the run is published, one in each line."""
        return self.parts + "parts.jsonl"

    def part(self, id: str, name: str) -> str:
        """An object of a part: dataset, reviewed, judged, cuboids (all .jsonl) or result.json."""
        return f"{self.parts}{id}.{name}"

    @property
    def cuboid_jobs(self) -> str:
        """The jobs in which reviewers correct cuboids, one in each line, with the parts that each has."""
        return self.parts + "cuboid-jobs.jsonl"

    def cuboid_manifest(self, index: int) -> str:
        """The manifest of the job of cuboids with this index."""
        return f"{self.manifests}cuboids-{index:02d}.manifest"

    @property
    def cuboid_categories(self) -> str:
        """The label category file of the jobs of cuboids."""
        return self.manifests + "cuboids.categories.json"

    def scene(self, position: str) -> str:
        """The points that the reviewers of the cuboids of the frame at `camera/timestamp` get.

        It is outside the run's folder, since a copy of the points is needed while reviewers are at work only.
        """
        return f"scenes/{self.drive}/{self.run}/{position}.bin"

    def lifted(self, id: str, number: int) -> str:
        """The cuboids of some frames of a part, before they are made smooth along tracks. The numbers go from 0."""
        return f"{self.part(id, 'lifted')}/{number:06d}.jsonl"

    def projected(self, id: str, number: int) -> str:
        """The same cuboids, smooth and with their projections."""
        return f"{self.part(id, 'lifted')}/{number:06d}.projected.jsonl"
