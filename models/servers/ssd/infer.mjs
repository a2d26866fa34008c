// SSDLite MobileNet v2 in TensorFlow.js: node infer.mjs <folder of node_modules> <folder of the model>
//
// It reads windows of SIDE x SIDE pixels from stdin, RGB, one byte each. For each window it writes to stdout the anchors'
// scores [1917, 90] and boxes [1917, 4] (top, left, bottom, right in 0..1) as little-endian float32. One byte before the
// first window says "ready".

import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";

const SIDE = 300;
const OUTPUTS = ["Postprocessor/Slice", "Postprocessor/ExpandDims_1"];

const [packages, model] = process.argv.slice(2).map((folder) => resolve(folder));
const require = createRequire(join(packages, "node_modules", "/"));
const tf = require("@tensorflow/tfjs-core");
const { loadGraphModel } = require("@tensorflow/tfjs-converter");
const { setWasmPaths } = require("@tensorflow/tfjs-backend-wasm");
// It has the kernels that the WebAssembly backend lacks.
require("@tensorflow/tfjs-backend-cpu");

function write(bytes) {
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(1, bytes, at);
  }
}

async function load() {
  setWasmPaths(join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")), "/"));
  await tf.setBackend("wasm");
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(join(model, "model.json"), "utf8"));
  const shards = weightsManifest.flatMap(({ paths }) => paths.map((path) => readFileSync(join(model, path))));
  const weights = Buffer.concat(shards);
  const weightData = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength);
  const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
  return loadGraphModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}

async function infer(graph, pixels) {
  const image = tf.tensor4d(Int32Array.from(pixels), [1, SIDE, SIDE, 3], "int32");
  const tensors = await graph.executeAsync({ image_tensor: image }, OUTPUTS);
  for (const tensor of tensors) {
    const values = await tensor.data();
    write(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  }
  tf.dispose([image, ...tensors]);
}

const graph = await load();
write(Buffer.from([1]));
const size = SIDE * SIDE * 3;
let waiting = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  waiting = Buffer.concat([waiting, chunk]);
  for (; waiting.length >= size; waiting = waiting.subarray(size)) {
    await infer(graph, waiting.subarray(0, size));
  }
}
