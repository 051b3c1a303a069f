// Text: a release opened by transformers.js' own pipeline, then tokens forced upon its generation, or a prompt
// answered. Not about pictures and sounds (sensing.mjs), nor where it runs (in_node.mjs, in_browser.mjs, page.html).

// place: a directory or an address. options: of `pipeline`. order: the tokens, or a prompt.
export async function generated(transformers, place, options, order) {
  const began = performance.now();
  const generator = await transformers.pipeline('text-generation', place, options);
  const opened = performance.now();
  const done = order.prompt
    ? await answered(transformers, generator, order)
    : await forced(transformers, generator, order);
  return { ...done, seconds: { open: (opened - began) / 1000, ...done.seconds } };
}

// Logits of every token after the prefilled ones, [decoded, vocab], as a greedy generation meets them.
async function forced(transformers, generator, { tokens, prefilled }) {
  const rows = [];
  const times = [performance.now()];
  class Forcing extends transformers.LogitsProcessor {
    _call(_, logits) {
      times.push(performance.now());
      const row = logits[0].data;
      if (rows.length > 0 || times.length > 2) rows.push(row.slice());
      const next = tokens[prefilled + rows.length] ?? 0;
      row.fill(-Infinity);
      row[next] = 0;
      return logits;
    }
  }
  const processors = new transformers.LogitsProcessorList();
  processors.push(new Forcing());
  const ids = tokens.slice(0, prefilled).map(BigInt);
  await generator.model.generate({
    inputs: new transformers.Tensor('int64', BigInt64Array.from(ids), [1, prefilled]),
    attention_mask: new transformers.Tensor('int64', new BigInt64Array(prefilled).fill(1n), [1, prefilled]),
    max_new_tokens: tokens.length - prefilled + 1,
    do_sample: false,
    eos_token_id: [-1], // whatever is forced, nothing ends it
    logits_processor: processors,
  });
  const vocab = rows[0].length;
  const logits = new Float32Array(rows.length * vocab);
  rows.forEach((row, i) => logits.set(row, i * vocab));
  return { arrays: { logits: { shape: [rows.length, vocab], values: logits } }, seconds: steps(times) };
}

async function answered(transformers, generator, { prompt, new_tokens }) {
  const times = [performance.now()];
  class Watch extends transformers.BaseStreamer {
    put() { times.push(performance.now()); }
    end() {}
  }
  const [answer] = await generator(prompt, {
    max_new_tokens: new_tokens, do_sample: false, streamer: new Watch(),
  });
  times.splice(1, 1); // a streamer is given the prompt first
  return { arrays: {}, text: answer.generated_text, seconds: steps(times) };
}

// From the times of a start and of each token after it.
export function steps([start, first, ...later]) {
  const rest = later.length ? (later.at(-1) - first) / later.length / 1000 : null;
  return { first_token: (first - start) / 1000, each_token: rest };
}
