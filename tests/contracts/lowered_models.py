"""Tiny models lowered by every runtime, and what their artifacts and float twins compute of one text.

Not about what should come of it (`test_lowering`), or about any one runtime.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporter.lowering.interface import Lowering, RouteRunner, Segment
from exporter.lowering.table import lowerings_for
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import SCHEMES
from exporter.validation.routes import SessionRunner
from runtimes.formats import FORMATS, Format
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.session import Logits
from tests.fakes import silent
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import CHUNK, CONTEXT, lowering_order, mean_kl, quantized, some_tokens

RUNTIMES: dict[Format, str] = {
    "tflite": "litert",
    "litertlm": "litert",
    "onnx": "onnx",
    "onnx-web": "onnx",
    "coreml": "coreml",
}
TOKENS = some_tokens(CONTEXT)
PREFILLED = 2 * CHUNK + 5
TEXT = (Segment("prefill", PREFILLED), Segment("decode", CONTEXT - PREFILLED))


@dataclass(frozen=True)
class Lowered:
    """A checkpoint in one format."""

    checkpoint: QuantizedCheckpoint
    lowering: Lowering
    release: Path
    artifact: Artifact

    def copy(self, directory: Path) -> Lowered:
        """The same elsewhere, to be damaged there."""
        return replace(self, release=shutil.copytree(self.release, directory / "copied", symlinks=True))

    @property
    def path(self) -> Path:
        return self.release / self.artifact.path

    def logits(self) -> dict[int, Logits]:
        """Logits by position of what the artifact computes of TOKENS."""
        return _run(self.release, self.artifact)

    def twin_logits(self, scratch: Path) -> dict[int, Logits]:
        """`logits` of the float twin."""
        twin = self.lowering.float_twin(self.release, self.artifact, scratch)
        return _run(scratch, twin) if isinstance(twin, Artifact) else _taken(twin)


def _run(directory: Path, artifact: Artifact) -> dict[int, Logits]:
    with open_session(directory, artifact, mil_arithmetic="fp32") as session:
        return _taken(SessionRunner(session))


def _taken(runner: RouteRunner) -> dict[int, Logits]:
    found: dict[int, Logits] = {}
    for at, rows in runner.run(TEXT, TOKENS, lambda done: None):
        found |= {at + i: row for i, row in enumerate(rows.copy())}
    assert set(found) >= set(range(PREFILLED, CONTEXT)), "every decode step at least"
    return found


def off(expected: Logits, found: dict[int, Logits]) -> float:
    """Mean KL divergence at the positions found, nats."""
    return mean_kl(expected[sorted(found)], np.stack([found[at] for at in sorted(found)]))


class Releases:
    """Tiny models in every format, lowered when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: dict[tuple[str, str, str], dict[str, Lowered]] = {}

    def get(self, form: Format, scheme: str, family: str = "Gemma 3") -> Lowered:
        key = (RUNTIMES[form], scheme, family)
        if key not in self._made:
            directory = self.root / "-".join(key).replace(" ", "-")
            directory.mkdir()
            checkpoint = quantized(directory, _config(family, scheme), SCHEMES[scheme])
            self._made[key] = lower(RUNTIMES[form], checkpoint, directory)
        return self._made[key][form]


def _config(family: str, scheme: str) -> dict[str, Any]:
    """A tiny model whose rows the scheme's groups divide."""
    return TINY_CONFIGS[family]() | ({"hidden_size": 128} if "-g128" in scheme else {})


def form_of(runtime: str) -> Format:
    """The first format of a runtime."""
    return next(form for form in FORMATS if RUNTIMES[form] == runtime)


def lower(runtime: str, checkpoint: QuantizedCheckpoint, directory: Path) -> dict[str, Lowered]:
    """A checkpoint in every format of a runtime, those of ONNX in a release each: some share a name."""
    formats = [form for form in FORMATS if RUNTIMES[form] == runtime]
    made: dict[str, Lowered] = {}
    for together in [[form] for form in formats] if runtime == "onnx" else [formats]:
        release = directory / "-".join(["release", *together])
        release.mkdir()
        lowering = lowerings_for(together)[runtime]
        artifacts = lowering.lower(lowering_order(checkpoint, directory), release, silent)
        made |= {each.format: Lowered(checkpoint, lowering, release, each) for each in artifacts}
    return made
