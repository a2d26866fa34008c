"""Reads the model catalogue: revisioned documents in the label bucket.

`catalogue/catalogue.json` says which revision of each model is current and which models are active;
`catalogue/models/<name>/<revision>.json` is one immutable revision.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused
from autolabel.contracts.units import MODEL_NAME, REVISION
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.calibration import IDENTITY, Calibration
from autolabel.models.coverage import Coverage
from autolabel.models.decoders import DECODER_NAMES, DecoderOptions

CATALOGUE_KEY = "catalogue/catalogue.json"
_NAME = re.compile(MODEL_NAME + r"\Z")
# The API's own patterns of EndpointName, ContentType and Accept.
_ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}\Z")
_HEADER = re.compile(r"[ -~]{1,1024}\Z")
# Weights compare votes. With more than this a model needs no second one, with less it has no influence.
MIN_WEIGHT, MAX_WEIGHT = 0.001, 1_000.0
_REVISION = re.compile(REVISION + r"\Z")
COVERED = ("plate", "head")
"""What views cover: number plates and heads."""
SEGMENTER = "segmenter"
"""The decoder of models of masks: their answers are read by decode_masks, and have no detections."""


class TrainedDataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset that a model was trained on: its drive and run, its frames with a label, and its objects by class."""

    drive: str
    run: str
    frames: int
    objects: dict[str, int]


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a revision was trained: the training job, the `name.revision` that it began from, and its data."""

    job: str
    start: str
    datasets: tuple[TrainedDataset, ...]


class Model(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"coverage": "reach"},
):
    """One revision of a model: a deployed asynchronous endpoint, and how to read its answers.

    `classes` maps the model's own class names to the taxonomy; other classes are left out and counted.
    `thresholds` are thresholds by taxonomy class, `threshold` the one for all other classes. `invocation_timeout` and
    `queue_ttl` are seconds, limits of InvokeEndpointAsync: 1 to 3600 and 60 to 21600.

    For fusion: `network`, whose views (whole image, tiles) count as one model; empty: the model's own name. `weight` of
    its votes. `coverage`, `reach` on the wire: outside it, a missed object is not a vote. `authority`: classes that
    only the models which claim them may name. `calibration` by taxonomy class, identity for all others.

    `purpose`: `labels`; `views` for a model that finds what views cover: its `classes` map to those of COVERED; or
    `masks` for a promptable segmenter, which is given boxes of any class: its decoder is SEGMENTER, without `classes`.

    `answers_of`: an earlier revision whose answers this one reads, so that another threshold, class map or calibration
    costs no inference; empty: it reads its own.

    `training`: how it was trained, of revisions that `autolabel models train` made.
    """

    name: str
    revision: str
    endpoint: str
    decoder: str
    classes: dict[str, str]
    options: DecoderOptions = DecoderOptions()
    threshold: float = 0.35
    thresholds: dict[str, float] = {}
    network: str = ""
    weight: float = 1.0
    coverage: Coverage = Coverage()
    authority: tuple[str, ...] = ()
    calibration: dict[str, Calibration] = {}
    purpose: Literal["labels", "views", "masks"] = "labels"
    answers_of: str = ""
    training: Training | None = None
    content_type: str = "application/x-image"
    accept: str = "application/json;verbose"
    invocation_timeout: int = 60
    queue_ttl: int = 21600

    @property
    def id(self) -> str:
        """Return `name.revision`."""
        return f"{self.name}.{self.revision}"

    @property
    def answers_id(self) -> str:
        """Return the `name.revision` whose answers it reads; it names the model's units."""
        return f"{self.name}.{self.answers_of or self.revision}"

    @property
    def view_of(self) -> str:
        """Return the network that it is a view of."""
        return self.network or self.name

    def calibration_of(self, class_name: str) -> Calibration:
        return self.calibration.get(class_name, IDENTITY)

    def threshold_of(self, class_name: str) -> float:
        return self.thresholds.get(class_name, self.threshold)


class CatalogueIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Says which revision of each model is current, and which models are active: they label drives that name none."""

    models: dict[str, str]
    active: tuple[str, ...]


def model_key(model_id: str) -> str:
    """Return the key of a revision's document, from its `name.revision`."""
    name, _, revision = model_id.rpartition(".")
    return f"catalogue/models/{name}/{revision}.json"


def parse_model(body: bytes, origin: str) -> Model:
    """Read and check a revision's document. Raises DocumentRefused, which names its origin and what is wrong."""
    try:
        model = msgspec.json.decode(body, type=Model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise DocumentRefused("model-schema", f"{origin}: {e}") from e
    _check(model, origin)
    return model


def _check(model: Model, origin: str) -> None:
    def refuse(why: str) -> None:
        raise DocumentRefused("model-schema", f"{origin}: {why}")

    if not _NAME.match(model.name):
        refuse(f"the name {model.name!r} is not 1 to 24 of a-z, 0-9 and inner hyphens")
    if not _REVISION.match(model.revision):
        refuse(f"the revision {model.revision!r} is not four digits")
    known = {SEGMENTER} if model.purpose == "masks" else DECODER_NAMES
    if model.decoder not in known:
        refuse(f"the decoder {model.decoder!r} is unknown; known are {', '.join(sorted(known))}")
    if not _ENDPOINT.match(model.endpoint):
        refuse(f"{model.endpoint!r} cannot name an endpoint: use 1 to 63 letters, digits and inner hyphens")
    for header in (model.content_type, model.accept):
        if not _HEADER.match(header):
            refuse(f"the header {header[:80]!r} is not 1 to 1,024 printable characters")
    if not model.classes and model.purpose != "masks":
        refuse("`classes` is empty: map at least one class")
    named = [*model.classes.values(), *model.thresholds, *model.coverage.classes, *model.authority, *model.calibration]
    if model.purpose == "labels":
        current_taxonomy().require(named, origin)
    elif model.purpose == "masks":
        if named:
            refuse(f"a model of masks is given boxes of any class, but the document names {', '.join(sorted(named))}")
    elif unknown := sorted(set(named) - set(COVERED)):
        refuse(f"a model of views covers {' and '.join(COVERED)}, but the document names {', '.join(unknown)}")
    for name, threshold in [("threshold", model.threshold), *model.thresholds.items()]:
        if not 0.0 <= threshold <= 1.0:
            refuse(f"the threshold {threshold} of {name!r} is not between 0 and 1")
    # A model never finds a class that it does not name: coverage of it would be votes against every such object, and
    # authority would leave the class to no model.
    for field, claimed in (("authority", model.authority), ("reach", model.coverage.classes)):
        if unnamed := sorted(set(claimed) - set(model.classes.values())):
            refuse(f"`{field}` has {unnamed}, but `classes` maps nothing to them")
    if not MIN_WEIGHT <= model.weight <= MAX_WEIGHT:
        refuse(f"the weight {model.weight} is not {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
    if model.network and not _NAME.match(model.network):
        refuse(f"the network {model.network!r} is not 1 to 24 of a-z, 0-9 and inner hyphens")
    if model.answers_of and not (_REVISION.match(model.answers_of) and model.answers_of < model.revision):
        refuse(f"`answers_of` {model.answers_of!r} is not a revision before {model.revision}")
    if wrong := model.coverage.wrong():
        refuse(f"`reach`: {wrong}")
    if wrong := next((f"{name}: {why}" for name, c in model.calibration.items() if (why := c.wrong())), ""):
        refuse(f"`calibration` of {wrong}")
    if wrong := model.options.wrong(model.decoder):
        refuse(f"`options`: {wrong}")
    if not 1 <= model.invocation_timeout <= 3600:
        refuse(f"invocation_timeout {model.invocation_timeout} is not 1 to 3600 seconds")
    if not 60 <= model.queue_ttl <= 21600:
        refuse(f"queue_ttl {model.queue_ttl} is not 60 to 21600 seconds")


class Catalogue:
    """Reads the catalogue: the index again after `ttl` seconds, revisions once, because they never change.

    Safe for threads: one reads, and the others wait.
    """

    def __init__(self, read: Callable[[str], bytes | None], now: Callable[[], float], ttl: float = 30.0) -> None:
        self._read = read
        self._now = now
        self._ttl = ttl
        self._index: tuple[float, CatalogueIndex] | None = None
        self._models: dict[str, Model] = {}
        self._reading = threading.Lock()

    def index(self) -> CatalogueIndex:
        """Return the current index; raises CatalogueUnavailable if there is none yet or it is broken."""
        with self._reading:
            if self._index is None or self._now() - self._index[0] > self._ttl:
                body = self._read(CATALOGUE_KEY)
                if body is None:
                    raise CatalogueUnavailable(f"no {CATALOGUE_KEY} in the label bucket: add a model first")
                try:
                    index = msgspec.json.decode(body, type=CatalogueIndex)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
                    raise CatalogueUnavailable(f"{CATALOGUE_KEY} is broken: {e}") from e
                self._index = (self._now(), index)
            return self._index[1]

    def active_models(self, *, views: bool = False) -> list[Model]:
        """Return the active models of labels. They label frames until the drive names other models.

        With `views`, the active model of views is the last.
        """
        index = self.index()
        missing = sorted(set(index.active) - index.models.keys())
        if missing:
            raise CatalogueUnavailable(f"{CATALOGUE_KEY} lists {missing} as active, but has no such model")
        # From this index: a newer one may lack one of them.
        active = [self.revision(f"{name}.{index.models[name]}") for name in index.active]
        return [model for model in active if model.purpose == "labels"] + ([self.views_model()] if views else [])

    def views_model(self) -> Model:
        """Return the active model of views; raises CatalogueUnavailable unless there is exactly one."""
        index = self.index()
        known = [self.revision(f"{name}.{index.models[name]}") for name in index.active if name in index.models]
        found = [model for model in known if model.purpose == "views"]
        if len(found) != 1:
            named = ", ".join(model.name for model in found) or "none"
            raise CatalogueUnavailable(
                f"people shall see views of the frames, which takes one active model of views, and there are {named}: "
                "add one with `autolabel models add`, or remove the others"
            )
        return found[0]

    def current(self, name: str) -> Model:
        """Return a model's current revision. Raises DocumentRefused, which names the known models, if there is none."""
        index = self.index()
        if name not in index.models:
            # It may have been added since the index was read, so the index is read again.
            self._forget_index()
            index = self.index()
        if name not in index.models:
            known = ", ".join(sorted(index.models)) or "none"
            raise DocumentRefused("unknown-model", f"the catalogue has no model {name!r}; known are {known}")
        return self.revision(f"{name}.{index.models[name]}")

    def revision(self, model_id: str) -> Model:
        """Return a revision by `name.revision`; raises CatalogueUnavailable if its document is missing or broken."""
        model = self._find(model_id)
        if model is None:
            raise CatalogueUnavailable(f"the label bucket has no {model_key(model_id)}")
        return model

    def asked(self, model: Model) -> Model:
        """Return the revision whose answers a model reads. It names the model's units, and its endpoint gets them."""
        return self.revision(model.answers_id)

    def asks(self, model_id: str) -> bool:
        """Check whether the model's current revision reads the answers of this `name.revision`."""
        # Reconciliation fails units because of this, so the index must be current.
        self._forget_index()
        index = self.index()
        name = model_id.rpartition(".")[0]
        if name not in index.models:
            return False
        return self.revision(f"{name}.{index.models[name]}").answers_id == model_id

    def _find(self, model_id: str) -> Model | None:
        with self._reading:
            if model_id not in self._models:
                key = model_key(model_id)
                body = self._read(key)
                if body is None:
                    return None
                try:
                    model = parse_model(body, key)
                except DocumentRefused as e:
                    raise CatalogueUnavailable(str(e)) from e
                if model.id != model_id:
                    raise CatalogueUnavailable(f"{key} is the document of {model.id}")
                self._models[model_id] = model
            return self._models[model_id]

    def _forget_index(self) -> None:
        with self._reading:
            self._index = None

    def endpoint_of(self, model_id: str) -> str | None:
        """Return the endpoint of a revision; None if the catalogue does not have it.

        Raises CatalogueUnavailable if its document is broken: a notification of it may be genuine and must come again.
        """
        model = self._find(model_id)
        return None if model is None else model.endpoint

    def revisions(self, model_ids: Iterable[str]) -> list[Model]:
        return [self.revision(model_id) for model_id in model_ids]
