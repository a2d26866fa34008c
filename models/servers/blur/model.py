"""The finder of number plates and heads as a model of the container contract."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.blur.faces import FaceFinder
from models.servers.blur.plates import PlateFinder
from models.servers.coco import NAMES
from models.servers.container import Reply, Request
from models.servers.detections import Detections
from models.servers.detector import Detector
from models.servers.images import Image
from models.servers.requests import read_image
from models.servers.suppression import suppress
from models.servers.windows import Window, look, tiles, whole
from models.servers.yolox import read_accept, render

LABELS = ("plate", "head")
PLATE, HEAD = range(len(LABELS))
# Frames that are decoded and looked at, at once.
_AT_ONCE = 2
# The least scores of vehicles and persons, lower than those of pre-labels: a part that is covered in vain costs
# less than a face that stays visible. With 0.25 for persons, parts of vehicles become heads, and detectors lose them.
_VEHICLE_SCORE, _PERSON_SCORE = 0.25, 0.3
# The IoU above which two vehicles are one, also of different classes; and above which a second region adds little.
_SAME_VEHICLE, _SAME_REGION = 0.6, 0.9
_VEHICLES = [NAMES.index(name) for name in ("car", "motorcycle", "bus", "truck")]
_PERSON = NAMES.index("person")
# The part of a person's box that holds the head: all heads that were looked at in frames of KITTI were in it.
_HEAD = 0.22
# A face ends at brow and chin; so much of it is added on all sides for hair and ears.
_AROUND = 0.2

Floats = npt.NDArray[np.float32]


class BlurModel:
    """Finds the regions that a view covers: text on vehicles, the tops of persons, and faces."""

    max_request_bytes = 32 << 20

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def load(self) -> None:
        """Load the three networks; raises WeightsMissing."""
        cv2.setNumThreads(1)
        self._detector, self._plates, self._faces = Detector(), PlateFinder(), FaceFinder()

    def predict(self, request: Request) -> Reply:
        verbose, count = read_accept(request.accept)
        with self._turns:
            found = self.find(read_image(request))
        return Reply(render(found, verbose=verbose, count=count, labels=LABELS))

    def find(self, image: Image) -> Detections:
        """The regions of an image, best first; classes are indexes into LABELS."""
        height, width = image.shape[:2]
        objects = look(image, layout(width, height), self._detector.detect)
        size = np.array([width, height, width, height], np.float32)
        vehicles = objects[np.isin(objects.classes, _VEHICLES) & (objects.scores >= _VEHICLE_SCORE)]
        vehicles = vehicles[suppress(vehicles.boxes, vehicles.scores, np.zeros_like(vehicles.classes), _SAME_VEHICLE)]
        persons = objects[(objects.classes == _PERSON) & (objects.scores >= _PERSON_SCORE)]
        plates, plate_scores = self._plates.find(image, vehicles.boxes * size)
        faces, face_scores = self._faces.find(image)
        boxes = np.concatenate([plates, heads(persons.boxes * size), grown(faces)])
        scores = np.concatenate([plate_scores, persons.scores, face_scores])
        classes = np.array([PLATE] * len(plates) + [HEAD] * (len(persons.boxes) + len(faces)), np.intp)
        kept = suppress(boxes, scores, classes, _SAME_REGION)
        return Detections(np.clip(boxes / size, 0, 1), scores, classes)[kept]


def layout(width: int, height: int) -> list[Window]:
    """The whole image and two tiles of it."""
    return [*whole(width, height), *tiles(width, height, count=2)]


def heads(persons: Floats) -> Floats:
    """Return the boxes of persons' heads; both are [n, 4] as left, top, right, bottom."""
    boxes = persons.copy()
    boxes[:, 3] = persons[:, 1] + _HEAD * (persons[:, 3] - persons[:, 1])
    return boxes


def grown(faces: Floats) -> Floats:
    """Return boxes with all of the head around each face."""
    sizes = (faces[:, 2:] - faces[:, :2]) * _AROUND
    return np.concatenate([faces[:, :2] - sizes, faces[:, 2:] + sizes], axis=1)
