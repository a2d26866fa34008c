"""`make security`: check templates, secrets and dependencies, list the dependencies, and build twice.

Results go to build/security. Exit status 1 if there is a finding without a reason, a reason without a finding, a
dependency with a known weakness, or a file that differs between two builds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from rich.console import Console

from tools.demo.deployment import PROJECT, SamTools

FOLDER = PROJECT / "build" / "security"
SHIPPED = sorted((PROJECT / "layers").glob("*/requirements.txt"))
# The command has these.
OURS = PROJECT / "requirements" / "dev.txt"

# Why a finding of checkov stays: `check resource`, or `check file` of a secret, as a pattern.
REASONS = {
    "CKV_AWS_115 *Function": "queues and maps limit how often it runs; reserved concurrency would be taken from others",
    "CKV_AWS_116 *Function": "queues have dead letters and states retry; the sweep, invoked by a schedule, comes again",
    "CKV_AWS_117 *Function": "it calls AWS and Label Studio only; a VPC would add a NAT that may call everything",
    "CKV_AWS_119 Ledger": "KmsKeyArn encrypts it with a customer's key, by a condition that checkov does not follow",
    "CKV_AWS_173 *Function": "variables are names and settings, never secrets (tests/contract/test_template.py)",
    "CKV_AWS_18 AccessLogBucket": "access logs of the access logs would never end",
    "CKV_AWS_21 AccessLogBucket": "S3 writes each log once",
    "CKV_SECRET_6 /events/reconcile-await.json": "a task token of no execution",
    "CKV_SECRET_6 /events/verify-wait.json": "a task token of no execution",
}


class Finding(msgspec.Struct):
    """A failed check. `resource`: its type and logical id; a digest if it is a secret."""

    check_id: str
    file_path: str
    resource: str

    def __str__(self) -> str:
        is_secret = self.check_id.startswith("CKV_SECRET")
        return f"{self.check_id} {self.file_path if is_secret else self.resource.rpartition('.')[2]}"


class _Results(msgspec.Struct):
    failed_checks: list[Finding] = []


class _Report(msgspec.Struct):
    # Absent if nothing was found to check.
    results: _Results = msgspec.field(default_factory=_Results)


class _Dependency(msgspec.Struct):
    name: str
    vulns: list[dict[str, object]] = []
    skip_reason: str = ""


class _Audit(msgspec.Struct):
    dependencies: list[_Dependency]


def problems(findings: Sequence[Finding], reasons: Mapping[str, str]) -> list[str]:
    """List findings without a reason, and reasons without a finding."""
    found = [str(finding) for finding in findings]
    return [
        *(f"{one} (build/security)" for one in found if not any(fnmatchcase(one, pattern) for pattern in reasons)),
        *(
            f"a reason for no finding: {pattern}"
            for pattern in reasons
            if not any(fnmatchcase(f, pattern) for f in found)
        ),
    ]


def _scan(template: Path) -> list[str]:
    """Check the built template and the other templates, and all files that git has for secrets."""
    tree = FOLDER / "tree"
    tree.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True).stdout
    pack = ["tar", "--create", "--null", "--files-from", "-"]
    packed = subprocess.run(pack, cwd=PROJECT, input=files, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", tree], input=packed, check=True)
    others = ("models/endpoint.yaml", "security/key.yaml")
    templates = [str(template), *(str(tree / other) for other in others)]
    findings = [
        *_checkov("templates", "--framework", "cloudformation", "--file", *templates),
        *_checkov("secrets", "--framework", "secrets", "--directory", str(tree)),
    ]
    return problems(findings, REASONS)


def _checkov(name: str, *arguments: str) -> list[Finding]:
    command = [str(PROJECT / ".venv-checkov" / "bin" / "checkov"), *arguments]
    # It asks its maker's site for guidelines otherwise.
    command += ["--skip-download", "--soft-fail", "--compact", "--output", "json"]
    said = subprocess.run(command, cwd=FOLDER, check=True, capture_output=True).stdout
    (FOLDER / f"{name}.json").write_bytes(said)
    return msgspec.json.decode(said, type=_Report).results.failed_checks


def _audit(locked: Path) -> Iterator[str]:
    """Ask the package index for known weaknesses of pinned dependencies; say which it knows nothing of."""
    command = [str(PROJECT / ".venv-security" / "bin" / "pip-audit"), "--no-deps", "--disable-pip", "--require-hashes"]
    ended = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off", "--requirement", str(locked)],
        capture_output=True,
        text=True,
    )
    name = locked.relative_to(PROJECT)
    if not ended.stdout:
        _CONSOLE.print(
            f"{name}: not audited, since its data cannot be reached: {ended.stderr.strip().splitlines()[-1]}"
        )
        return
    dependencies = msgspec.json.decode(ended.stdout, type=_Audit).dependencies
    skipped = [one for one in dependencies if one.skip_reason]
    if skipped:
        first = skipped[0].skip_reason
        _CONSOLE.print(f"{name}: {len(skipped)} of {len(dependencies)} not audited: {first}")
    for dependency in dependencies:
        yield from (f"{name}: {dependency.name} has {weakness['id']}" for weakness in dependency.vulns)


def _list_dependencies(locked: Path) -> None:
    """Write the SBOM (CycloneDX) of pinned dependencies."""
    out = FOLDER / f"sbom-{locked.parent.name}.json"
    command = [str(PROJECT / ".venv-security" / "bin" / "cyclonedx-py"), "requirements", "--output-reproducible"]
    subprocess.run([*command, "--output-file", str(out), str(locked)], check=True, stderr=subprocess.DEVNULL)
    count = len(json.loads(out.read_bytes())["components"])
    _CONSOLE.print(f"{out.relative_to(PROJECT)}: {count} components")


def _build_twice() -> tuple[Path, list[str]]:
    """Build the stack twice, with nothing kept between; returns the template, and the files that differ."""
    builds = []
    for name in ("first", "second"):
        place = FOLDER / name / "sam"
        SamTools.find().build(place, FOLDER / name / "sam.log")
        builds.append({path.relative_to(place): _content(path) for path in place.rglob("*") if path.is_file()})
    first, second = builds
    differing = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
    digest = hashlib.sha256("".join(f"{path} {first[path]}\n" for path in sorted(first)).encode()).hexdigest()
    _CONSOLE.print(f"{len(first)} files built twice, sha256 of all {digest}")
    return FOLDER / "first" / "sam" / "template.yaml", [f"{path} differs between two builds" for path in differing]


def _content(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"


_CONSOLE = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run all checks, and print what they found."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    template, found = _build_twice()
    found += _scan(template)
    for locked in (*SHIPPED, OURS):
        found += _audit(locked)
    for locked in SHIPPED:
        _list_dependencies(locked)
    for line in found:
        _CONSOLE.print(line, markup=False)
    _CONSOLE.print(f"{len(REASONS)} reasons, {len(found)} problems")
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
