"""How large a file Chromium reads whole, as a page does for transformers.js.

python -m benchmarks.browser_files

By `arrayBuffer()`, as transformers.js 4.3.1 does without a `progress_callback`, and in parts into one
buffer, as it does with one. Files are holes and take no disk; the browser takes twice their bytes of
memory. Not about what ONNX Runtime makes of such a file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.browser_page import END, posted_by_page

LARGEST = 0x7FE0_0000  # bytes of an ArrayBuffer in Chrome, as ONNX Runtime's documentation has it
SIZES = (LARGEST, LARGEST + 1, 2**31)
SECONDS = 600  # on a machine that does other things too
PAGE = """<!doctype html><meta charset="utf-8">
<script type="module">
async function whole(response) {
  return (await response.arrayBuffer()).byteLength;
}
async function parts(response) {
  const into = new Uint8Array(Number(response.headers.get("content-length")));
  let read = 0;
  for await (const part of response.body) {
    into.set(part, read);
    read += part.length;
  }
  return read;
}
for (const size of SIZES) {
  for (const read of [whole, parts]) {
    let said;
    try {
      said = `${await read(await fetch(`/file-${size}`))} bytes`;
    } catch (error) {
      said = String(error);
    }
    await fetch(`/${size}-${read.name}`, { method: "POST", body: said });
  }
}
await fetch("/END", { method: "POST", body: "" });
</script>
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        for size in SIZES:
            with (scratch / f"file-{size}").open("wb") as file:
                file.truncate(size)
        page = PAGE.replace("SIZES", json.dumps(SIZES)).replace("END", END)
        (scratch / "index.html").write_text(page, encoding="utf-8")
        said = posted_by_page(scratch, SECONDS)
    print("| bytes of a file | `arrayBuffer()` | in parts |\n|---|---|---|")
    for size in SIZES:
        cells = (said[f"{size}-{how}"].decode() for how in ("whole", "parts"))
        print(f"| {size:,} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
