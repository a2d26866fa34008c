"""The commands of `autolabel models`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.markup import escape
from rich.table import Table

from autolabel.aws import SageMakerEndpointStates
from autolabel.contracts.wording import counted
from autolabel.models import Model
from autolabel_cli.completion import complete_drives, complete_models
from autolabel_cli.errors import CommandError, CommandGroup
from autolabel_cli.models.bringing import Brought, Tell, bring_endpoint, bring_source
from autolabel_cli.models.catalogue import find_revision, read_index
from autolabel_cli.models.documents import draft_model
from autolabel_cli.models.removal import remove_model
from autolabel_cli.models.restoring import restore_model
from autolabel_cli.models.sources import JumpStart, Source, image_source, usual_decoder
from autolabel_cli.models.trial import Trial, draw, try_model
from autolabel_cli.options import json_option, run_option, stack_option
from autolabel_cli.output import console, print_json, print_table
from autolabel_cli.stack import Stack

if TYPE_CHECKING:
    from autolabel_cli.models.comparison import Interval

_FILE = click.Path(path_type=Path)


@click.group(cls=CommandGroup)
def models() -> None:
    """Add, list, show, remove, restore, calibrate, compare, train, switch, test and check models."""


@models.command("add")
@click.argument("name")
@click.option("--jumpstart", metavar="ID", help="Model of SageMaker JumpStart.")
@click.option(
    "--version", "model_version", metavar="V", help="Version of the JumpStart or hub model; the latest by default."
)
@click.option("--hub", help="Private hub; --content names the model in it.")
@click.option("--content", metavar="NAME", help="Name of the model in the hub.")
@click.option("--endpoint", help="Existing asynchronous endpoint with this stack's topics and output path.")
@click.option("--image", metavar="URI", help="Container image that answers /ping and /invocations.")
@click.option("--model-data", metavar="S3URI", help="Artefact of the image, a .tar.gz file.")
@click.option("--source-dir", type=_FILE, help="Folder with inference.py, packed with the artefact.")
@click.option(
    "--env",
    "environment",
    multiple=True,
    metavar="KEY=VALUE",
    help="Environment variable of the container; repeatable.",
)
@click.option("--instance-type", help="Instance type of the endpoint.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="Parameter of endpoint.yaml; repeatable."
)
@click.option(
    "--document", type=_FILE, help="Catalogue document, a JSON file with decoder, classes, thresholds and more."
)
@click.option("--decoder", help="Decoder of its answers; overrides the document, like all options below.")
@click.option("--options", metavar="JSON", help="Options of the decoder, a JSON object (docs/ml-engineers/models.md).")
@click.option(
    "--classes", type=_FILE, help="JSON object from its class names to the taxonomy's; COCO's names by default."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Threshold: the least confidence of a label.")
@click.option("--weight", type=float, help="Weight of its votes when several models label a frame.")
@click.option("--accept", help="Accept header of the requests.")
@click.option(
    "--active/--inactive",
    default=None,
    help="Label drives that name no models, or do not; a new model is active by default.",
)
@click.option("--accept-eula", is_flag=True, help="Accept the licence of a gated model.")
@click.option("--tolerate-deprecated", is_flag=True, help="Take a deprecated version anyway.")
@click.option("--tolerate-vulnerable", is_flag=True, help="Take a version with known vulnerabilities anyway.")
@json_option
@stack_option
def add(name: str, stack_name: str, as_json: bool, active: bool | None, **given: Any) -> None:
    """Add the model NAME from JumpStart, a hub, image or endpoint.

    The command deploys the model as a stack of its own (endpoint.yaml), except for an existing endpoint. It adds the
    model to the catalogue when the endpoint is in service. For a known model it adds a revision when something changed,
    and deploys again only when image, artefact, variables, parameters or the resources of endpoint.yaml changed.
    """
    kind = _source_kind(given)
    usual = usual_decoder(given["jumpstart"] or "")
    fields = {field: given[field] for field in ("decoder", "threshold", "weight", "accept")}
    fields["options"] = _object("--options", given["options"]) if given["options"] else None
    draft = draft_model(name, given["document"], given["classes"], usual, fields)
    stack = Stack.find(stack_name)
    notes: tuple[str, ...] = ()
    with status_line(as_json) as tell:
        if kind == "endpoint":
            endpoint = given["endpoint"] or _documented_endpoint(given["document"])
            brought = bring_endpoint(stack, draft, endpoint, active=active)
        else:
            if kind != "image":
                tell(f"asking the SageMaker SDK for {given['jumpstart'] or given['content']}")
            source = _source(stack, kind, given)
            parameters = key_values("--parameter", given["parameters"])
            brought = bring_source(stack, draft, source, parameters=parameters, active=active, tell=tell)
            notes = source.notes
    _tell_brought(stack, brought, notes, as_json)


@models.command("list")
@json_option
@stack_option
def list_models(as_json: bool, stack_name: str) -> None:
    """List the models of the catalogue and their endpoints."""
    stack = Stack.find(stack_name)
    index = read_index(stack)
    found = [find_revision(stack, name) for name in sorted(index.models)]
    rows = [_described(stack, model, active=model.name in index.active) for model in found]
    if as_json:
        return print_json({"models": rows})
    if not rows:
        return console.print(f"stack {stack_name} has no models yet: add one with autolabel models add")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("model", "active", "decoder", "weight", "endpoint", "state"):
        table.add_column(column, no_wrap=column == "model", overflow="fold")
    for row in rows:
        active = "yes" if row["active"] else "no"
        table.add_row(row["id"], active, row["decoder"], f"{row['weight']:g}", row["endpoint"], row["state"])
    print_table(console, table)
    return None


@models.command("show")
@click.argument("name", shell_complete=complete_models)
@json_option
@stack_option
def show(name: str, as_json: bool, stack_name: str) -> None:
    """Show the document of the model NAME and its endpoint's state.

    NAME is a model, for its current revision, or a revision such as NAME.0001.
    """
    stack = Stack.find(stack_name)
    model = find_revision(stack, name)
    index = read_index(stack)
    current = index.models.get(model.name) == model.revision
    row = {**_described(stack, model, active=model.name in index.active), "current": current}
    if as_json:
        return print_json({**row, "document": model})
    state = "current" if current else "not current"
    console.print(
        f"[bold]{model.id}[/], {state}, {'active' if row['active'] else 'inactive'}; "
        f"endpoint {model.endpoint} is {escape(row['state'])}",
        highlight=False,
    )
    click.echo(msgspec.json.format(msgspec.json.encode(model), indent=2))
    return None


@models.command("remove")
@click.argument("name", shell_complete=complete_models)
@click.option("--force", is_flag=True, help="Remove it even if runs wait for its answers; they continue without.")
@json_option
@stack_option
def remove(name: str, force: bool, as_json: bool, stack_name: str) -> None:
    """Remove the model NAME, and delete its endpoint and artefact.

    The documents of its revisions stay in the label bucket, because labels name them, but the catalogue no longer lists
    the model.
    """
    stack = Stack.find(stack_name)
    with status_line(as_json) as tell:
        removed = remove_model(stack, name, force=force, tell=tell)
    if as_json:
        return print_json(removed._asdict())
    deleted = f"deleted endpoint {', '.join(removed.deleted)}" if removed.deleted else "deleted no endpoint"
    others = "another model uses it, or this command did not deploy it"
    kept = f"; kept endpoint {', '.join(removed.kept)}: {others}" if removed.kept else ""
    console.print(f"removed {name} from the catalogue; {deleted}{kept}", highlight=False, soft_wrap=True)
    if not removed.active:
        console.print("no model is active: drives that name no models wait until one is", style="yellow")
    return None


@models.command("restore")
@click.argument("name", metavar="NAME@REVISION")
@json_option
@stack_option
def restore(name: str, as_json: bool, stack_name: str) -> None:
    """Deploy the missing endpoint of a revision again, under its own name.

    The endpoint is made from what CloudFormation knows of its stack, also of a stack deleted in the last 90 days. Runs
    that wait for it go on by themselves. The catalogue stays as it is. NAME alone is the model's current revision.
    """
    stack = Stack.find(stack_name)
    with status_line(as_json) as tell:
        restored = restore_model(stack, name, tell=tell)
    if as_json:
        return print_json({"id": restored.model.id, "endpoint": restored.endpoint})
    console.print(
        f"restored endpoint {restored.endpoint} of {restored.model.id}; runs that wait for it go on by themselves, and "
        "at once with autolabel redrive DRIVE",
        highlight=False,
        soft_wrap=True,
    )
    return None


@models.command("calibrate")
@click.argument("name", shell_complete=complete_models)
@click.option("--drive", required=True, shell_complete=complete_drives, help="Drive that the model labelled.")
@run_option
@click.option(
    "--labels",
    type=_FILE,
    help="Labelled folder in KITTI's format that the drive was uploaded from, in place of verified labels.",
)
@click.option(
    "--delete-cost",
    type=float,
    help="Cost of deleting a box, where drawing one costs 1; sets the thresholds for the least expected cost. 1 means "
    "the fewest edits; 0.2 the least time if drawing takes five times as long. Without it the thresholds stay.",
)
@json_option
@stack_option
def calibrate(
    name: str,
    drive: str,
    run: str | None,
    labels: Path | None,
    delete_cost: float | None,
    as_json: bool,
    stack_name: str,
) -> None:
    """Fit the calibration of the model NAME to known labels.

    The calibration turns scores into confidences, and corrects the sides of boxes. It is fitted to the verified labels
    of a drive, or to a labelled folder. The model gets a new revision that reads the existing answers, so relabelling
    needs no inference.
    """
    # Imported here, because it loads numpy and pycocotools, which no other command needs.
    from autolabel_cli.models.run_calibration import calibrate_model

    fitted = calibrate_model(Stack.find(stack_name), name, drive, run, labels, delete_cost)
    if as_json:
        model = fitted.model
        thresholds = {name: model.threshold_of(name) for name in model.calibration}
        document = {"id": model.id, "frames": fitted.frames, "calibration": model.calibration, "thresholds": thresholds}
        return print_json(document)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("class", "slope", "offset", "recall", "confidence of score 0.5", "sides move by", "threshold"):
        table.add_column(column)
    for class_name, c in fitted.model.calibration.items():
        fit = f"{c.slope:.2f}", f"{c.offset:+.2f}", f"{c.recall:.2f}", f"{c.confidence(0.5):.2f}"
        sides = " ".join(f"{side:+.1%}" for side in c.shift)
        table.add_row(class_name, *fit, sides, f"{fitted.model.threshold_of(class_name):.2f}")
    print_table(console, table)
    console.print(
        f"added {fitted.model.id}, fitted to {counted(fitted.frames, 'frame')}; relabel drives to use it",
        highlight=False,
    )
    return None


@models.command("compare")
@click.argument("a", shell_complete=complete_models)
@click.argument("b", shell_complete=complete_models)
@click.option(
    "--drive",
    "drives",
    required=True,
    multiple=True,
    metavar="DRIVE[@RUN]",
    shell_complete=complete_drives,
    help="Published drive that people verified and both models have answered; repeatable.",
)
@click.option("--scripted", is_flag=True, help="Count labels of a script too.")
@click.option("--wage", default=20.0, show_default=True, type=click.FloatRange(0), help="Dollars of an hour of review.")
@json_option
@stack_option
def compare(
    a: str, b: str, drives: tuple[str, ...], scripted: bool, wage: float, as_json: bool, stack_name: str
) -> None:
    """Compare the models A and B on verified drives.

    It reads the answers that the stack has stored, and asks no model. It tells average precision, the edits that each
    model's boxes need, and from the measured times of reviews the seconds and dollars of reviewers for 1,000 frames.
    """
    # Imported here, because it loads numpy and pycocotools, which no other command needs.
    from autolabel_cli.models.comparison import compare_models

    found = compare_models(Stack.find(stack_name), (a, b), drives, scripted=scripted, wage=wage)
    if as_json:
        return print_json(found)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("", found.a, found.b, "difference"):
        table.add_column(column)
    rows = {"AP50, mean of classes": (found.ap50, 3)}
    rows |= {f"AP50 of {name} ({of.objects})": (of, 3) for name, of in found.classes.items()}
    rows |= {f"edits a frame, {kind}": (of, 2) for kind, of in found.edits.items()}
    for name, of in (("seconds", found.seconds), ("dollars", found.dollars)):
        if of:
            rows[f"{name} of review for 1,000 frames"] = (of, 0 if name == "seconds" else 2)
    for name, (of, digits) in rows.items():
        table.add_row(name, *(_interval(one, digits) for one in (of.a, of.b, of.difference)))
    print_table(console, table)
    for note in found.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    return None


@models.command("switch")
@click.argument("old", shell_complete=complete_models)
@click.argument("new", shell_complete=complete_models)
@click.option(
    "--drive",
    "drives",
    required=True,
    multiple=True,
    metavar="DRIVE[@RUN]",
    shell_complete=complete_drives,
    help="Drive with blind audits that NEW was not trained on; at least eight.",
)
@json_option
@stack_option
def switch(old: str, new: str, drives: tuple[str, ...], as_json: bool, stack_name: str) -> None:
    """Label new drives with the model NEW instead of OLD, if NEW is better on held-out drives.

    Better means fewer edits for a frame, by an exact sign-flip test over drives. Only frames count whose reviewers saw
    no boxes of models. Each candidate that the same drives judge must pass a stricter test than the one before, and a
    fifth is refused.
    """
    # Imported here, because it loads numpy and pycocotools, which no other command needs.
    from autolabel_cli.models.switching import switch_model

    found = switch_model(Stack.find(stack_name), old, new, drives, datetime.now(UTC))
    if as_json:
        print_json(found)
    else:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for column in ("drive", "frames", f"edits of {found.old}", f"edits of {found.new}"):
            table.add_column(column, justify="left" if column == "drive" else "right")
        for one in found.drives:
            table.add_row(one.drive, f"{one.frames:,}", f"{one.old:.2f}", f"{one.new:.2f}")
        print_table(console, table)
    said = f"p = {found.p:.4f}; candidate {found.attempt} of these drives needs at most {found.level:.4f}"
    if not found.switched:
        raise CommandError(f"{found.new} is not switched on: {said}")
    if not as_json:
        console.print(f"{found.new} labels new drives instead of {found.old}: {said}", highlight=False, markup=False)


@models.command("test")
@click.argument("name", shell_complete=complete_models)
@click.argument("image", type=_FILE)
@click.option("--to", type=_FILE, help="File for the image with its boxes; by default in the current folder.")
@click.option(
    "--wait", default=900.0, show_default=True, type=click.FloatRange(min=1), help="Seconds to wait for the answer."
)
@json_option
@stack_option
def test(name: str, image: Path, to: Path | None, wait: float, as_json: bool, stack_name: str) -> None:
    """Send IMAGE to the model NAME and show the boxes of its answer.

    If the model's decoder cannot read the answer, the command names the decoders that can.
    """
    stack = Stack.find(stack_name)
    model = find_revision(stack, name)
    with status_line(as_json) as tell:
        trial = try_model(stack, model, image, patience=wait, tell=tell)
    if trial.refused:
        fits = ", ".join(f"{decoder} ({counted(count, 'object')})" for decoder, count in trial.fitting.items())
        what = f"these can: {fits}" if fits else "no other decoder can: describe the answer with --decoder jmespath"
        raise CommandError(f"the decoder {model.decoder} of {model.id} cannot read the answer: {trial.refused}; {what}")
    out = to or Path(f"{image.stem}.{model.name}.png")
    draw(image, trial.detections, out)
    if as_json:
        return print_json(_trial_document(trial, out))
    _show_trial(trial)
    console.print(str(out), highlight=False, soft_wrap=True)
    return None


@models.command("check-segmenter")
@click.argument("url")
@click.option(
    "--timeout", default=60.0, show_default=True, type=click.FloatRange(min=1), help="Seconds to wait for an answer."
)
@json_option
def check_segmenter_command(url: str, timeout: float, as_json: bool) -> None:
    """Check the container at URL against the contract of promptable segmenters.

    URL is a running container such as http://127.0.0.1:8080. It gets generated pictures with boxes, and wrong requests.
    The command names each broken rule, and fails if there is one. It needs no stack.
    """
    # Imported here, because it loads numpy and Pillow's drawing, which no other command needs.
    from autolabel_cli.models.segmenter_check import check_segmenter
    from autolabel_cli.models.segmenter_client import Segmenter

    with Segmenter(url, timeout) as segmenter, status_line(as_json) as tell:
        found = check_segmenter(segmenter, tell)
    if as_json:
        print_json(found)
    else:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for column in ("rule", "kept", ""):
            table.add_column(column, no_wrap=column == "rule", overflow="fold")
        for rule in found.rules:
            table.add_row(rule.name, "yes" if rule.kept else "no", escape(rule.broken))
        print_table(console, table)
        drafts = f"{found.drafts:,} of {counted(found.masks, 'mask')} are drafts, which a person must accept"
        console.print(f"{drafts}; {found.seconds:.1f} s", highlight=False)
    if broken := [rule.name for rule in found.rules if not rule.kept]:
        raise CommandError(
            f"{url} breaks {counted(len(broken), 'rule')} ({', '.join(broken)}): see docs/ml-engineers/segmenters.md"
        )


def _interval(of: Interval, digits: int) -> str:
    if of.low is None or of.high is None:
        return f"{of.value:,.{digits}f}"
    return f"{of.value:,.{digits}f} ({of.low:,.{digits}f} to {of.high:,.{digits}f})"


def _source_kind(given: dict[str, Any]) -> str:
    """Return the named source: jumpstart, hub, image or endpoint. UsageError for none, several or a part of one."""
    named = [kind for kind in ("jumpstart", "hub", "image", "endpoint") if given[kind]]
    if len(named) > 1:
        raise click.UsageError(f"give one source, not {' and '.join(f'--{kind}' for kind in named)}")
    if not named and given["document"]:
        named = ["endpoint"]
    if not named:
        raise click.UsageError(
            "give a source: --jumpstart, --hub, --image, --endpoint, or a --document with an endpoint"
        )
    kind = named[0]
    if bool(given["hub"]) != bool(given["content"]):
        raise click.UsageError("give --hub and --content together")
    belongs = {
        "model_version": ("jumpstart", "hub"),
        "accept_eula": ("jumpstart", "hub"),
        "tolerate_deprecated": ("jumpstart", "hub"),
        "tolerate_vulnerable": ("jumpstart",),
        "model_data": ("image",),
        "source_dir": ("image",),
        "environment": ("jumpstart", "hub", "image"),
        "instance_type": ("jumpstart", "hub", "image"),
        "parameters": ("jumpstart", "hub", "image"),
    }
    for option, kinds in belongs.items():
        if given[option] and kind not in kinds:
            shown = {"model_version": "version", "environment": "env", "parameters": "parameter"}.get(option, option)
            raise click.UsageError(f"--{shown.replace('_', '-')} cannot be used with --{kind}")
    return kind


def _source(stack: Stack, kind: str, given: dict[str, Any]) -> Source:
    environment = key_values("--env", given["environment"])
    instance_type = given["instance_type"] or ""
    if kind == "image":
        return image_source(given["image"], given["model_data"], given["source_dir"], environment, instance_type)
    asked = JumpStart(
        id=given["jumpstart"] or given["content"],
        hub=given["hub"] or "",
        version=given["model_version"] or "",
        tolerate_deprecated=given["tolerate_deprecated"],
        tolerate_vulnerable=given["tolerate_vulnerable"],
        accept_eula=given["accept_eula"],
    )
    return asked.resolve(stack.client("cloudformation").meta.region_name, instance_type, environment)


def _documented_endpoint(document: Path) -> str:
    endpoint = msgspec.json.decode(document.read_bytes()).get("endpoint")
    if not isinstance(endpoint, str):
        raise CommandError(f"{document} names no endpoint: give --endpoint, --image, --jumpstart or --hub")
    return endpoint


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as e:
        raise click.UsageError(f"{option} takes a JSON object: {e}") from e


def key_values(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """Read repeated KEY=VALUE of an option. UsageError for another form."""
    pairs = [text.partition("=") for text in given]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {key!r}")
    return {key: value for key, _, value in pairs}


def _described(stack: Stack, model: Model, *, active: bool) -> dict[str, Any]:
    state = SageMakerEndpointStates(stack.client("sagemaker")).state(model.endpoint)
    return {
        "id": model.id,
        "active": active,
        "decoder": model.decoder,
        "weight": model.weight,
        "endpoint": model.endpoint,
        "state": state,
    }


def _tell_brought(stack: Stack, brought: Brought, notes: tuple[str, ...], as_json: bool) -> None:
    model = brought.model
    active = model.name in read_index(stack).active
    if as_json:
        said = {"id": model.id, "outcome": brought.outcome, "endpoint": model.endpoint, "active": active}
        return print_json({**said, "notes": notes})
    for note in notes:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    there = "is already in the catalogue, without a change" if brought.outcome == "already" else "is in the catalogue"
    reads = f"; it reads the answers of revision {model.answers_of}" if model.answers_of else ""
    which = "labels all drives that name no models" if active else "labels only drives that name it"
    console.print(
        f"{model.id} {there}, with endpoint {model.endpoint}{reads}; it {which}", highlight=False, soft_wrap=True
    )
    return None


def _show_trial(trial: Trial) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("class", "model's name", "score", "confidence", "left", "top", "right", "bottom"):
        table.add_column(column, justify="left" if column in ("class", "model's name") else "right")
    for d in trial.detections:
        box = [f"{coordinate:.0f}" for coordinate in d.box]
        table.add_row(d.name, escape(d.label), f"{d.score:.2f}", f"{d.confidence:.2f}", *box)
    print_table(console, table)
    left_out = {"below the threshold": trial.doubtful, **trial.dropped} if trial.doubtful else trial.dropped
    said = "".join(f", {count} {escape(reason)}" for reason, count in left_out.items())
    console.print(
        f"{counted(len(trial.detections), 'box', 'boxes')}{said}; "
        f"answer of {counted(trial.size, 'byte')} after {trial.seconds:.1f} s; read by {trial.model.decoder}",
        highlight=False,
        soft_wrap=True,
    )


def _trial_document(trial: Trial, out: Path) -> dict[str, Any]:
    shown = ("name", "label", "score", "confidence", "box")
    return {
        "id": trial.model.id,
        "decoder": trial.model.decoder,
        "seconds": trial.seconds,
        "bytes": trial.size,
        "detections": [{field: getattr(d, field) for field in shown} for d in trial.detections],
        "doubtful": trial.doubtful,
        "dropped": trial.dropped,
        "picture": str(out),
    }


@contextmanager
def status_line(as_json: bool) -> Iterator[Tell]:
    """Show the progress in one line that changes, or without a terminal as one line for each text."""
    if as_json:
        yield lambda text: None
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda text: status.update(escape(text))
    else:
        yield lambda text: console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)
