// Executes a release in a headless Chromium: node in_browser.mjs ORDER.json. What the order holds:
// runtimes/onnx/transformers_js.py. Serves the release, the packages, page.html and a sample to that browser alone;
// writes arrays into the order's directory `arrays`, and what is to be said of them to its `answer`: with what ONNX
// Runtime placed where, which it says on the page's console and nowhere else.
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const packages = createRequire(path.join(order.packages, 'package.json'));
const puppeteer = packages('puppeteer-core');
const scripts = path.dirname(fileURLToPath(import.meta.url));

const ROOTS = {
  packages: path.join(order.packages, 'node_modules'),
  release: order.release,
  scripts,
};
const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json',
  '.mjs': 'text/javascript', '.wasm': 'application/wasm',
};

function fileOf(address) {
  const [root, ...rest] = decodeURIComponent(address.split('?')[0]).slice(1).split('/');
  if (root === '') return path.join(scripts, 'page.html');
  if (root === 'sample') return order.sample ?? null;
  const base = ROOTS[root];
  const file = base && path.join(base, ...rest);
  return file?.startsWith(base + path.sep) && fs.statSync(file, { throwIfNoEntry: false })?.isFile() ? file : null;
}

const served = {}; // root to bytes, as a page with an empty cache downloads them
const server = http.createServer((request, response) => {
  // Threads want a cross-origin isolated page.
  response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  if (request.method === 'POST') {
    const out = fs.createWriteStream(path.join(order.arrays, path.basename(request.url)));
    request.pipe(out).on('finish', () => response.end());
    return;
  }
  const file = fileOf(request.url);
  if (file === null) {
    response.writeHead(404).end();
    return;
  }
  const { size } = fs.statSync(file);
  const root = request.url.split('/')[1];
  if (request.method === 'GET') served[root] = (served[root] ?? 0) + size;
  response.setHeader('Content-Type', TYPES[path.extname(file)] ?? 'application/octet-stream');
  response.setHeader('Content-Length', size);
  if (request.method === 'HEAD') response.end();
  else fs.createReadStream(file).pipe(response);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const quiet = [
  '--disable-background-networking', '--disable-component-update', '--disable-default-apps', '--disable-sync',
  '--no-first-run', '--no-pings',
];
// SwiftShader wherever it runs, so that figures do not hang on the machine's graphics.
const webgpu = [
  '--enable-unsafe-webgpu', '--enable-features=Vulkan,WebGPU', '--use-webgpu-adapter=swiftshader',
  '--ignore-gpu-blocklist',
];
const root = process.getuid?.() === 0 ? ['--no-sandbox'] : []; // Chromium's sandbox refuses root

const placed = {}; // provider to its operators, each "Kind (name)"
let provider = null;
function hear(line) {
  const heading = line.match(/Node\(s\) placed on \[(\w+)\]/);
  const operator = line.match(/VerifyEachNodeIsAssignedToAnEp\] +(\w+ \(.*\))$/);
  if (heading) placed[(provider = heading[1])] ??= [];
  else if (operator && provider) placed[provider].push(operator[1]);
  else if (!/\[[VI]:onnxruntime/.test(line)) console.error(line);
}

const browser = await puppeteer.launch({
  executablePath: order.browser,
  args: [...quiet, ...root, '--disable-dev-shm-usage', ...(order.device === 'webgpu' ? webgpu : [])],
  pipe: true, // so that it ends with this process
  protocolTimeout: order.milliseconds,
  userDataDir: order.profile,
});
try {
  const page = await browser.newPage();
  page.on('console', (message) => hear(message.text()));
  page.on('pageerror', (error) => console.error(String(error)));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction('window.ready', { timeout: 60_000 });
  const options = { device: order.device };
  if (order.device === 'webgpu') options.session_options = { logSeverityLevel: 0, logVerbosityLevel: 0 };
  const facts = await page.evaluate((given, asked) => window.run(given, asked), options, order);
  fs.writeFileSync(order.answer, JSON.stringify({ ...facts, placed, served, device: await browser.version() }));
} catch (error) {
  console.error(String(error).split('\n')[0]); // without its stack, so that what went wrong is said last
  process.exitCode = 1;
} finally {
  await browser.close();
  server.close();
}
