// Executes a release in Node: node in_node.mjs ORDER.json. What the order holds: runtimes/onnx/transformers_js.py.
// Writes the logits to the order's `logits`, and what is to be said of them to its `answer`.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { execute } from './generation.mjs';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const transformers = packages('@huggingface/transformers');
transformers.env.allowRemoteModels = false;

const { logits, ...facts } = await execute(transformers, order.release, { device: 'cpu' }, order);
if (logits) fs.writeFileSync(order.logits, new Uint8Array(logits.buffer));
const device = `Node ${process.version}`;
fs.writeFileSync(order.answer, JSON.stringify({ ...facts, version: transformers.env.version, device }));
