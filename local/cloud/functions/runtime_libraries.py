"""The Python packages of Lambda's own runtime, and no others."""

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

    A function sees only these and its own layers. With the whole environment in sight, a package that its layer lacks
    would be noticed only on AWS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for distribution_name in PROVIDED:
        distribution = metadata.distribution(distribution_name)
        for name in {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}:
            link = folder / name
            if not link.exists():
                link.symlink_to(str(distribution.locate_file(name)))
    return folder
