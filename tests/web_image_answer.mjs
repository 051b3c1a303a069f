// Has transformers.js answer about a picture in Node, as its documentation says to: node web_image_answer.mjs ORDER.json.
// What the order holds: tests/parity/test_web_images.py. Writes what the processor made and what was answered.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const { AutoModelForImageTextToText, AutoProcessor, RawImage, env } = packages('@huggingface/transformers');
env.allowRemoteModels = false;

const processor = await AutoProcessor.from_pretrained(order.release);
const model = await AutoModelForImageTextToText.from_pretrained(order.release, { device: 'cpu' });
const prompt = processor.apply_chat_template(order.messages, { add_generation_prompt: true });
const images = await Promise.all(order.pictures.map((picture) => RawImage.read(picture)));
const given = { add_special_tokens: false };
const inputs = order.gemma4
  ? await processor(prompt, images, null, given)
  : await processor(prompt, images, given);
const sequences = await model.generate({ ...inputs, max_new_tokens: order.new_tokens, do_sample: false });
const listed = (tensor) => tensor && { shape: tensor.dims, values: Array.from(tensor.data, Number) };
fs.writeFileSync(order.answer, JSON.stringify({
  prompt,
  tokens: Array.from(inputs.input_ids.data, Number),
  pixels: listed(inputs.pixel_values),
  positions: listed(inputs.image_position_ids) ?? null,
  sequence: Array.from(sequences.data, Number),
}));
