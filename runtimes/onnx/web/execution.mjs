// What is executed, in Node and in a page alike. Not about where it runs (in_node.mjs, in_browser.mjs, page.html).
import { generated } from './generation.mjs';
import { sensed } from './sensing.mjs';

// transformers: the package. place: a directory or an address. options: of `from_pretrained`. order: tokens, a prompt,
// or a sample to answer about. read: how a sample is opened there, by its kind. Returns arrays by name, each with its
// shape, all of float32, and what is to be said of them.
export async function execute(transformers, place, options, order, read) {
  return order.sample
    ? await sensed(transformers, place, options, order, read)
    : await generated(transformers, place, options, order);
}
