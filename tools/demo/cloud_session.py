"""`make cloud`: keeps the embedded cloud running with the stack and a detector deployed, until Ctrl-C."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from autolabel_cli.errors import CommandError
from local import PEOPLE, CloudSettings, EmbeddedCloud
from tools.demo.__main__ import SETTINGS, set_up
from tools.demo.deployment import PROJECT, DeploymentError
from tools.demo.folder_lock import lock_folder

OUT = PROJECT / "build" / "cloud"
# Wakes the detector in seconds: minutes are too long for a user at a terminal.
CLOUD_SETTINGS = dataclasses.replace(SETTINGS, alarm_scale=0.1)
VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)


def write_environment(cloud: EmbeddedCloud, path: Path) -> None:
    """Write a file for a shell to source: it points boto3, the AWS CLI and `autolabel` at the cloud."""
    environment = cloud.environment()
    path.write_text("".join(f"export {name}={environment[name]}\n" for name in VARIABLES))


def verifiers(cloud: EmbeddedCloud) -> str:
    """A sentence that says who answers this cloud's labelling jobs."""
    if cloud.portal_url:
        return f"Labelling jobs wait for you at {cloud.portal_url} (with make cloud REVIEW=0 a script answers them)."
    return "A script answers labelling jobs and keeps every box."


@click.command()
@click.option(
    "--scripted", is_flag=True, help="A script answers labelling jobs and keeps every box; no person is asked."
)
def main(scripted: bool) -> None:
    """Start the embedded cloud, deploy the stack into it and keep it running until Ctrl-C."""
    console = Console()
    settings = CLOUD_SETTINGS if scripted else dataclasses.replace(CLOUD_SETTINGS, annotator=PEOPLE)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with lock_folder(OUT, "make cloud"):
            run_cloud(console, settings)
    except KeyboardInterrupt:
        console.print("the embedded cloud was stopped")
    except (CommandError, DeploymentError, RuntimeError) as e:
        console.print(f"[red]the cloud did not start:[/] {escape(str(e))}", highlight=False)
        sys.exit(1)


def run_cloud(console: Console, settings: CloudSettings) -> None:
    """Start the embedded cloud, say how to use it, and keep it until a signal."""
    environment = OUT / "environment"
    try:
        with EmbeddedCloud(OUT, settings=settings) as cloud:
            stack = set_up(console, cloud, OUT)
            write_environment(cloud, environment)
            console.print(
                f"\nIn another shell:\n  source {environment.relative_to(PROJECT)}\n"
                "  .venv/bin/autolabel upload <video or folder> --drive first\n"
                "  .venv/bin/autolabel watch first\n"
                "  aws s3 ls\n"
                "  aws --endpoint-url $AWS_ENDPOINT_URL sqs list-queues\n\n"
                "The AWS CLI of version 1 ignores AWS_ENDPOINT_URL for sqs, so name the address there.\n"
                f"Drives go to s3://{stack.outputs['IngestBucketName']}/drives/, logs to {OUT.relative_to(PROJECT)}.\n"
                "The detector sleeps after 90 seconds without work; the next drive wakes it within about 15 seconds.\n"
                f"{verifiers(cloud)}\nCtrl-C stops the cloud.",
                highlight=False,
                soft_wrap=True,
            )
            signal.pause()
    finally:
        environment.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
