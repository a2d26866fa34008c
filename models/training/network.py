"""The ONNX file of a YOLOX network: what its last convolutions read, and the file with other numbers in them.

The network of YOLOX ends, for each stride, in three 1×1 convolutions: of the box, of the objectness and of the classes
(`YOLOXHead` of Megvii's YOLOX). They are found by the way from the output backwards, so that each size of YOLOX fits.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

Floats = npt.NDArray[np.float32]


class NetworkRefused(ValueError):
    """The file is not a YOLOX network that can be trained; the message says why."""


class Layer(NamedTuple):
    """A 1×1 convolution: the tensor that it reads, and the names of its weights and its bias."""

    reads: str
    weight: str
    bias: str


class Ends(NamedTuple):
    """The last layers of one stride."""

    box: Layer
    objectness: Layer
    classes: Layer


class Network:
    """A YOLOX network in an ONNX file; raises NetworkRefused."""

    def __init__(self, path: Path) -> None:
        try:
            self._model = onnx.load(str(path))
        except Exception as e:
            # onnx raises protobuf's own errors, and others for files that are not of its format.
            raise NetworkRefused(f"{path} is not an ONNX file: {e}") from e
        self._weights = {one.name: one for one in self._model.graph.initializer}
        self.ends = self._find_ends()
        self.input = self._model.graph.input[0]
        self.side = int(self.input.type.tensor_type.shape.dim[-1].dim_value)
        self.features = list(dict.fromkeys(layer.reads for ends in self.ends for layer in ends))
        # The network up to what the last layers read, run by what serves it.
        body = onnx.ModelProto()
        body.CopyFrom(self._model)
        del body.graph.output[:]
        body.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.features)
        self._body = onnxruntime.InferenceSession(body.SerializeToString(), providers=["CPUExecutionProvider"])

    @property
    def channels(self) -> int:
        """The number of classes that the network tells apart."""
        return int(self.weight(self.ends[0].classes.weight).shape[0])

    def weight(self, name: str) -> Floats:
        """Return the numbers of an initialiser."""
        return np.asarray(numpy_helper.to_array(self._weights[name]), np.float32)

    def read(self, square: Floats) -> dict[str, Floats]:
        """Compute what the last layers read of a picture [1, 3, side, side]: [channels, height, width] by tensor."""
        found = self._body.run(self.features, {self.input.name: square})
        return {name: np.asarray(one[0], np.float32) for name, one in zip(self.features, found, strict=True)}

    def write(self, numbers: dict[str, Floats], path: Path) -> None:
        """Write the file again with other numbers in some initialisers, of the same shapes and types."""
        for name, values in numbers.items():
            there = self._weights[name]
            dtype = numpy_helper.to_array(there).dtype
            there.CopyFrom(numpy_helper.from_array(values.reshape(tuple(there.dims)).astype(dtype), name))
        onnx.save(self._model, str(path))

    def _find_ends(self) -> list[Ends]:
        made = {output: node for node in self._model.graph.node for output in node.output}

        def maker(tensor: str, *kinds: str) -> onnx.NodeProto:
            node = made.get(tensor)
            if node is None or node.op_type not in kinds:
                was = node.op_type if node is not None else "an input"
                raise NetworkRefused(f"the network does not end as YOLOX does: {tensor} is {was}, not {kinds[0]}")
            return node

        def layer(tensor: str) -> Layer:
            node = maker(tensor, "Conv")
            if len(node.input) != 3 or self.weight(node.input[1]).shape[2:] != (1, 1):
                raise NetworkRefused(f"the network does not end as YOLOX does: {tensor} is not a 1×1 convolution")
            return Layer(*node.input)

        ends = []
        joined = maker(maker(self._model.graph.output[0].name, "Transpose").input[0], "Concat")
        for flat in joined.input:
            parts = maker(maker(flat, "Reshape").input[0], "Concat").input
            if len(parts) != 3:
                raise NetworkRefused(f"the network does not end as YOLOX does: {flat} joins {len(parts)} parts")
            box, objectness, classes = parts[0], *(maker(part, "Sigmoid").input[0] for part in parts[1:])
            ends.append(Ends(layer(box), layer(objectness), layer(classes)))
        return ends
