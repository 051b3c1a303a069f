// Executes a release in Node: node in_node.mjs ORDER.json. What the order holds: runtimes/onnx/transformers_js.py.
// Writes arrays into the order's directory `arrays`, and what is to be said of them to its `answer`.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { execute } from './execution.mjs';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const transformers = packages('@huggingface/transformers');
transformers.env.allowRemoteModels = false;

// Of a WAV of one channel and 16 bits, as transformers reads it: Node has nothing that does.
function samples(file) {
  const bytes = fs.readFileSync(file);
  const data = bytes.subarray(bytes.indexOf('data') + 8);
  return Float32Array.from({ length: data.length / 2 }, (_, i) => data.readInt16LE(2 * i) / 32768);
}

const read = { image: (file) => transformers.RawImage.read(file), sound: samples };
const { arrays, ...facts } = await execute(transformers, order.release, { device: 'cpu' }, order, read);
const shapes = {};
for (const [name, { shape, values }] of Object.entries(arrays)) {
  fs.writeFileSync(path.join(order.arrays, name), new Uint8Array(values.buffer));
  shapes[name] = shape;
}
const device = `Node ${process.version}`;
fs.writeFileSync(order.answer, JSON.stringify({ ...facts, shapes, version: transformers.env.version, device }));
