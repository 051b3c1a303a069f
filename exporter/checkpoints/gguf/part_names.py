"""What the parts of a split GGUF are called: NAME-00001-of-00003.gguf.

Source: llama.cpp src/llama.cpp, `llama_split_path`. Needs no package, unlike reading them (`split`).
"""

from __future__ import annotations

import re

PART_NAME = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})(?P<of>-of-)(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE
)
