"""Audio encoders and what takes their rows: `benchmarks.towers`, of sounds.

python -m benchmarks.sounds [CHECKPOINT ...] [--formats onnx litertlm coreml] [--context 512]
                            [--recipe int8] [--rows-alone] [--work DIR]
"""

from __future__ import annotations

import sys

from benchmarks.towers import main

if __name__ == "__main__":
    sys.exit(main("sounds"))
