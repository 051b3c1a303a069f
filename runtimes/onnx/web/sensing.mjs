// A picture or a sound: prepared by transformers.js' own processor, then answered about by its class, greedily. Not
// about text alone (generation.mjs), nor where it runs (in_node.mjs, in_browser.mjs, page.html).
import { steps } from './generation.mjs';

const GRAPHS = { image: ['vision_encoder', 'image_features'], sound: ['audio_encoder', 'audio_features'] };

// order: `kind` and file of a `sample`, the `prompt` with its placeholder, how many `new_tokens`. Gives what the
// processor made, the encoder's rows, all tokens, and the logits each of the new ones was chosen by.
export async function sensed(transformers, place, options, order, read) {
  const began = performance.now();
  const processor = await transformers.AutoProcessor.from_pretrained(place);
  const model = await transformers.AutoModelForImageTextToText.from_pretrained(place, options);
  const opened = performance.now();
  const sample = await read[order.kind](order.sample);
  const [picture, sound] = order.kind === 'image' ? [sample, null] : [null, sample];
  const told = { add_special_tokens: false };
  const inputs = model.config.model_type === 'gemma3'
    ? await processor(order.prompt, picture, told)
    : await processor(order.prompt, picture, sound, told);
  const rows = watched(model, ...GRAPHS[order.kind]);
  const times = [performance.now()];
  const chosen = [];
  class Watching extends transformers.LogitsProcessor {
    _call(_, logits) {
      times.push(performance.now());
      chosen.push(logits[0].data.slice());
      return logits;
    }
  }
  const processors = new transformers.LogitsProcessorList();
  processors.push(new Watching());
  const sequence = await model.generate({
    ...inputs,
    max_new_tokens: order.new_tokens,
    do_sample: false,
    eos_token_id: [-1], // whatever is said, nothing ends it
    logits_processor: processors,
  });
  const prepared = {
    pixels: inputs.pixel_values, positions: inputs.image_position_ids,
    features: inputs.input_features, mask: inputs.input_features_mask,
  };
  const arrays = { rows: rows(), tokens: listed(sequence), logits: joined(chosen) };
  for (const [name, tensor] of Object.entries(prepared)) if (tensor) arrays[name] = listed(tensor);
  return {
    arrays,
    prompted: inputs.input_ids.dims.at(-1),
    seconds: { open: (opened - began) / 1000, ...steps(times) },
  };
}

// What an encoder's session gives, seen as it goes by.
function watched(model, name, output) {
  const session = model.sessions[name];
  const run = session.run.bind(session);
  let rows = null;
  session.run = async (...given) => {
    const found = await run(...given);
    rows = { shape: found[output].dims, values: Float32Array.from(found[output].data) };
    return found;
  };
  return () => rows;
}

function listed(tensor) {
  return { shape: tensor.dims, values: Float32Array.from(tensor.data, Number) };
}

function joined(rows) {
  const values = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, i) => values.set(row, i * row.length));
  return { shape: [rows.length, rows[0].length], values };
}
