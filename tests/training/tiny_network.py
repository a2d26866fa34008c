"""Writes a tiny network that ends as YOLOX does, for a picture of 64 pixels: `python -m tests.training.tiny_network F`.

It runs in the environment of training, which has onnx.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS, CLASSES = 64, 16, 80


def main(path: str) -> None:
    """Write the network: pooled pixels by stride, one convolution over them, and the last layers."""
    random = np.random.default_rng(3)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, *shape: int, value: float | None = None) -> str:
        numbers = random.normal(0, 0.3, shape) if value is None else np.full(shape, value)
        weights.append(numpy_helper.from_array(numbers.astype(np.float32), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    weights.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"))
    small = node("Mul", ["images", "scale"], "small")
    rows = []
    for stride in (8, 16, 32):
        pooled = node("AveragePool", [small], f"p{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2)
        linear = node(
            "Conv", [pooled, weight(f"w{stride}", CHANNELS, 3, 1, 1), weight(f"b{stride}", CHANNELS)], f"l{stride}"
        )
        read = node("Sigmoid", [linear], f"f{stride}")

        def last(name: str, count: int, bias: float, read: str = read, stride: int = stride) -> str:
            inputs = [weight(f"{name}w{stride}", count, CHANNELS, 1, 1), weight(f"{name}b{stride}", count, value=bias)]
            return node("Conv", [read, *inputs], f"{name}{stride}")

        box = last("box", 4, 0.0)
        parts = [box] + [
            node("Sigmoid", [last(name, count, -4.0)], f"s{name}{stride}")
            for name, count in (("obj", 1), ("cls", CLASSES))
        ]
        joined = node("Concat", parts, f"c{stride}", axis=1)
        weights.append(numpy_helper.from_array(np.array([1, 5 + CLASSES, -1]), f"shape{stride}"))
        rows.append(node("Reshape", [joined, f"shape{stride}"], f"r{stride}"))
    node("Concat", rows, "all", axis=2)
    node("Transpose", ["all"], "output", perm=[0, 2, 1])
    cells = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 5 + CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main(sys.argv[1])
