"""Image towers and what takes their rows: `benchmarks.towers`, of pictures.

python -m benchmarks.images [CHECKPOINT ...] [--formats onnx litertlm coreml] [--context 512]
                            [--image-tokens N] [--recipe int8] [--rows-alone] [--work DIR]

Without CHECKPOINT also how far onnxruntime-genai's pixels are from transformers' (`pixel_difference`).
"""

from __future__ import annotations

import sys

from benchmarks.towers import main

if __name__ == "__main__":
    sys.exit(main("images"))
