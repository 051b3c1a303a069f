"""A command with a Vulkan layer before the driver that says buffers may have 1 GiB.

    python -m benchmarks.larger_buffers COMMAND [ARGUMENT...]

Mesa's software driver says 128 MiB and copes with more; the head of Gemma 3 270M has 160. Builds the C file
beside it with gcc and the Vulkan headers (Debian: libvulkan-dev). Ends with the command's exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
LAYER = "VK_LAYER_GEMMA_EXPORT_larger_buffers"


def main() -> None:
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] else 2)
    with larger_buffers() as environment:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **environment}, check=False).returncode)


@contextmanager
def larger_buffers() -> Iterator[dict[str, str]]:
    """The variables that put the layer before whatever Vulkan drivers there are."""
    with tempfile.TemporaryDirectory(prefix="vulkan-layer-") as place:
        library = Path(place) / "liblarger_buffers.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        layer = {
            "name": LAYER,
            "type": "GLOBAL",
            "library_path": str(library),
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "reports larger storage buffers",
        }
        described = {"file_format_version": "1.1.2", "layer": layer}
        (Path(place) / "larger_buffers.json").write_text(json.dumps(described), encoding="utf-8")
        yield {"VK_LAYER_PATH": place, "VK_INSTANCE_LAYERS": LAYER}


if __name__ == "__main__":
    main()
