"""`make cloud`: keeps the embedded cloud running with the stack and its models deployed, until Ctrl-C."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from autolabel.contracts.wording import counted
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import read_index
from autolabel_cli.models.restoring import restore_model
from autolabel_cli.models.stacks import model_id_of
from autolabel_cli.stack import Stack
from local import PEOPLE, STACK_WENT, CloudConsole, CloudSettings, EmbeddedCloud, UnreadableState
from tools.demo.__main__ import SETTINGS, set_up_models, set_up_stack
from tools.demo.deployment import PROJECT, STACK, DeploymentError
from tools.demo.folder_lock import lock_folder

OUT = PROJECT / "build" / "cloud"
# Wakes the detector in seconds: minutes are too long for a user at a terminal.
CLOUD_SETTINGS = dataclasses.replace(SETTINGS, alarm_scale=0.1, keep=True)
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
@click.option("--fresh", is_flag=True, help="Delete what the last cloud kept: drives, labels, datasets, models.")
def main(scripted: bool, fresh: bool) -> None:
    """Start the embedded cloud, deploy the stack into it and keep it running until Ctrl-C.

    It goes on with the drives, labels and datasets of the last cloud of this checkout.
    """
    console = Console()
    settings = CLOUD_SETTINGS if scripted else dataclasses.replace(CLOUD_SETTINGS, annotator=PEOPLE)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with lock_folder(OUT, "make cloud"):
            if fresh:
                shutil.rmtree(OUT, ignore_errors=True)
            run_cloud(console, settings)
    except KeyboardInterrupt:
        console.print("the embedded cloud was stopped; make cloud goes on with its drives, labels and datasets")
    except UnreadableState as e:
        say = f"{e}; make cloud FRESH=1 deletes it and starts anew"
        console.print(f"[red]the cloud did not start:[/] {escape(say)}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except (CommandError, DeploymentError, RuntimeError) as e:
        console.print(f"[red]the cloud did not start:[/] {escape(str(e))}", highlight=False)
        sys.exit(1)
    except (BotoCoreError, ClientError, OSError) as e:
        console.print(f"[red]the cloud did not start:[/] {escape(str(e))}; logs: {OUT}", highlight=False)
        sys.exit(1)


def run_cloud(console: Console, settings: CloudSettings) -> None:
    """Start the embedded cloud, say how to use it, and keep it until a signal."""
    environment = OUT / "environment"
    try:
        with EmbeddedCloud(OUT, settings=settings) as cloud, CloudConsole(cloud.client) as pages:
            stack = set_up_stack(console, cloud, OUT)
            go_on(console, cloud, stack)
            write_environment(cloud, environment)
            console.print(
                f"\nIn another shell:\n  source {environment.relative_to(PROJECT)}\n"
                "  .venv/bin/autolabel upload <video, log or folder> --drive first\n"
                "  .venv/bin/autolabel watch first\n"
                "  aws s3 ls\n"
                "  aws --endpoint-url $AWS_ENDPOINT_URL sqs list-queues\n\n"
                "The AWS CLI of version 1 ignores AWS_ENDPOINT_URL for sqs, so name the address there.\n"
                f"Drives go to s3://{stack.outputs['IngestBucketName']}/drives/, logs to {OUT.relative_to(PROJECT)}.\n"
                "The detector sleeps after 90 seconds without work; the next drive wakes it within about 15 seconds.\n"
                f"{verifiers(cloud)}\n"
                f"Executions, queues, alarms and dashboards are shown at {pages.url}\n"
                "Ctrl-C stops the cloud. The next make cloud goes on with its drives; with FRESH=1 it starts anew.",
                highlight=False,
                soft_wrap=True,
            )
            signal.pause()
    finally:
        environment.unlink(missing_ok=True)


def go_on(console: Console, cloud: EmbeddedCloud, stack: Stack) -> None:
    """Deploy the models of the last cloud again, or the detector in a new one, and let open runs go on."""
    restore_models(console, cloud, stack)
    # A catalogue stays as its user left it.
    if not read_index(stack).models:
        set_up_models(console, stack)
    opened = cloud.resume()
    if opened["jobs"]:
        console.print(f"open again: {counted(len(opened['jobs']), 'labelling job')} with the answers so far")
    if opened["executions"]:
        console.print(f"run again from their first step: {', '.join(opened['executions'])}", highlight=False)


def restore_models(console: Console, cloud: EmbeddedCloud, stack: Stack) -> None:
    """Deploy the endpoints again that went with the last cloud, and say which stacks are not deployed again."""
    formation = cloud.client("cloudformation")
    pages = formation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    ids = [
        one["StackId"]
        for page in pages
        for one in page["StackSummaries"]
        if one.get("StackStatusReason") == STACK_WENT and one["StackName"] != STACK
    ]
    went = [formation.describe_stacks(StackName=stack_id)["Stacks"][0] for stack_id in ids]

    def restore(name: str) -> str:
        try:
            return f"deployed endpoint {restore_model(stack, name, tell=lambda text: None).endpoint} again"
        except CommandError as e:
            return e.message

    models = [name for one in went if (name := model_id_of(one))]
    if models:
        with console.status("starting the models"), ThreadPoolExecutor(4) as starts:
            for outcome in starts.map(restore, models):
                console.print(outcome, highlight=False, markup=False, soft_wrap=True)
    for one in went:
        if not model_id_of(one):
            console.print(f"not deployed again: stack {one['StackName']}", style="yellow", highlight=False)


if __name__ == "__main__":
    main()
