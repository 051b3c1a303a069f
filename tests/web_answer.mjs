// Has transformers.js answer about pictures and a sound in Node, as its documentation says to: node web_answer.mjs
// ORDER.json. What the order holds: tests/web_answers.py. Writes what the processor made and what was answered.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const { AutoModelForImageTextToText, AutoProcessor, RawImage, env } = packages('@huggingface/transformers');
env.allowRemoteModels = false;

// Samples of a WAV of one channel and 16 bits, as its `read_audio` gives them in a browser, which Node cannot.
function samples(file) {
  const bytes = fs.readFileSync(file);
  const data = bytes.subarray(bytes.indexOf('data') + 8);
  return Float32Array.from({ length: data.length / 2 }, (_, i) => data.readInt16LE(2 * i) / 32768);
}

const processor = await AutoProcessor.from_pretrained(order.release);
const model = await AutoModelForImageTextToText.from_pretrained(order.release, { device: 'cpu' });
const prompt = order.prompt ?? processor.apply_chat_template(order.messages, { add_generation_prompt: true });
const images = order.pictures.length
  ? await Promise.all(order.pictures.map((picture) => RawImage.read(picture)))
  : null;
const given = { add_special_tokens: false };
const inputs = order.gemma4
  ? await processor(prompt, images, order.sound ? samples(order.sound) : null, given)
  : await processor(prompt, images, given);
const sequences = await model.generate({ ...inputs, max_new_tokens: order.new_tokens, do_sample: false });
const listed = (tensor) => (tensor ? { shape: tensor.dims, values: Array.from(tensor.data, Number) } : null);
fs.writeFileSync(order.answer, JSON.stringify({
  prompt,
  tokens: Array.from(inputs.input_ids.data, Number),
  pixels: listed(inputs.pixel_values),
  positions: listed(inputs.image_position_ids),
  spectrum: listed(inputs.input_features),
  heard: listed(inputs.input_features_mask),
  sequence: Array.from(sequences.data, Number),
}));
