// Renders conversations with the tokenizer of a release in Node: node prompts.mjs ORDER.json. What the order holds:
// runtimes/onnx/transformers_js.py. Writes to the order's `answer` what became of each form of each conversation.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const transformers = packages('@huggingface/transformers');
transformers.env.allowRemoteModels = false;

const tokenizer = await transformers.AutoTokenizer.from_pretrained(order.release);
const rendered = order.prompts.map(({ messages, tools, variables }) => {
  const options = { tokenize: false, add_generation_prompt: true, ...variables };
  if (tools.length) options.tools = tools;
  try {
    return { rendered: tokenizer.apply_chat_template(messages, options) };
  } catch (error) {
    return { failed: String(error) };
  }
});
fs.writeFileSync(order.answer, JSON.stringify({ prompts: rendered, version: transformers.env.version }));
