"""The Python packages that Lambda's own runtime brings, and no others."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

PROVIDED = (
    "awslambdaric",
    "simplejson",
    "snapshot-restore-py",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "python-dateutil",
    "six",
    "urllib3",
)


def link_runtime_libraries(folder: Path) -> Path:
    """Fill `folder` with links to the runtime's packages in this environment.

    A function sees these and its own layers only. Were it to see the whole environment, a package missing from
    its layer would go unnoticed until it ran on AWS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for distribution_name in PROVIDED:
        distribution = metadata.distribution(distribution_name)
        for name in {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}:
            link = folder / name
            if not link.exists():
                link.symlink_to(str(distribution.locate_file(name)))
    return folder
