"""The command `autolabel models train`."""

from __future__ import annotations

from typing import Any

import click

from autolabel.contracts.wording import counted
from autolabel_cli.completion import complete_models, complete_sources
from autolabel_cli.datasets.sources import find_source
from autolabel_cli.errors import CommandError
from autolabel_cli.models.commands import key_values, status_line
from autolabel_cli.options import json_option, stack_option
from autolabel_cli.output import console, print_json
from autolabel_cli.stack import Stack
from autolabel_cli.training.candidates import Recipe, train_candidate
from autolabel_cli.training.jobs import Instance


@click.command("train")
@click.argument("name", shell_complete=complete_models)
@click.option(
    "--from",
    "datasets",
    required=True,
    multiple=True,
    metavar="DRIVE[@RUN]",
    shell_complete=complete_sources,
    help="Published dataset to train on; repeatable.",
)
@click.option(
    "--start",
    required=True,
    metavar="MODEL",
    shell_complete=complete_models,
    help="Model that the training begins from.",
)
@click.option("--image", required=True, metavar="URI", help="Container image with the training program.")
@click.option(
    "--hyperparameter",
    "hyperparameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Hyperparameter of the program; repeatable.",
)
@click.option("--instance-type", default="ml.m5.xlarge", show_default=True, help="Instance type of the job.")
@click.option("--volume", default=50, show_default=True, type=click.IntRange(1), help="Size of its volume in GB.")
@click.option(
    "--hours", default=24.0, show_default=True, type=click.FloatRange(0.1, 120), help="Hours after which it is stopped."
)
@click.option("--scripted", is_flag=True, help="Train on labels of a script too.")
@click.option(
    "--no-wait", is_flag=True, help="End when the job has started; the same command adds the candidate later."
)
@click.option("--again", is_flag=True, help="Start another job if the last one failed or was stopped.")
@json_option
@stack_option
def train(name: str, datasets: tuple[str, ...], stack_name: str, as_json: bool, **given: Any) -> None:
    """Train the candidate NAME on published datasets, and add it to the catalogue.

    A training job of SageMaker runs the program of the image. The candidate gets an endpoint of its own and labels no
    drive by itself: `autolabel models switch` judges it on held-out drives. Its document lists the data that it was
    trained on. The same command finds its job and its candidate again.
    """
    stack = Stack.find(stack_name)
    sources = [find_source(text, stack) for text in dict.fromkeys(datasets)]
    if files := [source for source in sources if source.path]:
        raise CommandError(f"{files[0]} is a file, and a training job reads the buckets of the stack: name its drive")
    recipe = Recipe(
        start=given["start"],
        image=given["image"],
        hyperparameters=key_values("--hyperparameter", given["hyperparameters"]),
        instance=Instance(given["instance_type"], given["volume"], round(given["hours"] * 3600)),
        scripted=given["scripted"],
    )
    with status_line(as_json) as tell:
        done = train_candidate(stack, name, recipe, sources, wait=not given["no_wait"], again=given["again"], tell=tell)
    if as_json:
        return print_json(
            {
                "job": done.job,
                "outcome": done.outcome,
                "frames": done.frames,
                "id": done.model.id if done.model else None,
                "endpoint": done.model.endpoint if done.model else None,
                "training": done.model.training if done.model else None,
            }
        )
    if done.model is None:
        console.print(
            f"training job {done.job} runs on {counted(done.frames, 'frame')}; the same command without --no-wait "
            f"waits for it and adds {name}",
            highlight=False,
            soft_wrap=True,
        )
        return None
    there = "is in the catalogue already" if done.outcome == "already" else "is in the catalogue"
    console.print(
        f"{done.model.id} {there}, trained on {counted(done.frames, 'frame')} by job {done.job}; it labels only drives "
        "that name it: judge it with autolabel models switch",
        highlight=False,
        soft_wrap=True,
    )
    return None
