"""A tiny ONNX release with all that `gemma-export run` takes, and what transformers says where it is asked.

Not about making the release (`hearing_releases`, `seeing_releases` of the lowering), nor about running it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.running.encoding import Encoded, placed
from exporter.running.media import spelling_of
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import speech_of
from exporter.running.sampling import sampler
from runtimes.manifest import (
    MANIFEST_NAME,
    Artifact,
    ComponentEntry,
    ComponentName,
    EncoderArtifact,
    FileEntry,
    Manifest,
    TokensEntry,
    sha256_of,
)
from tests.fakes import silent
from tests.whole_models import HeldWeights

PROMPT, SAID, BOS, STOPS = "Which?", 12, 2, (1, 5)
TEMPERATURE, SEED = 4.0, 5  # greedily a tiny model says one token again and again, whatever it takes
FLAGS = ("--max-tokens", SAID, "--temperature", TEMPERATURE, "--seed", SEED)
SPEECH = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
COMPONENTS: Mapping[ComponentName, ComponentEntry] = {
    "text": ComponentEntry("text", 1, ("tokens",), ("logits",)),
    "vision": ComponentEntry("vision", 1, ("pixels",), ("image rows",)),
    "audio": ComponentEntry("audio", 1, ("sound",), ("sound rows",)),
}


@dataclass(frozen=True)
class AskedRelease:
    """weights: what it holds, as numbers, for transformers' modules."""

    directory: Path
    artifact: Artifact
    encoders: tuple[EncoderArtifact, ...]
    weights: HeldWeights

    def complete(self, checkpoint: Path, descriptions: Mapping[str, str]) -> None:
        """With the checkpoint's tokenizer and template, and texts of files that say what is done to
        pictures and sounds, by name; then the manifest."""
        for name in SPEECH:
            shutil.copy(checkpoint / name, self.directory / name)
        for name, text in descriptions.items():
            (self.directory / name).write_text(text, encoding="utf-8")
        (self.directory / MANIFEST_NAME).write_text(self._manifest().to_json(), encoding="utf-8")

    def said_by_transformers(self, encoded: Encoded, scratch: Path) -> str:
        """Of rows of pictures and sounds before the prompt, chosen by the same chance."""
        opened = PlacedRelease.open(self.directory)
        speech = speech_of(opened)
        rows = {kind: [len(each) for each in found] for kind, found in encoded.items()}
        asked = speech.media_prompt(PROMPT, rows, spelling_of(opened, speech.tokenizer))
        choose, said = sampler(TEMPERATURE, SEED), list[int]()
        while len(said) < SAID:
            tokens = np.array([*asked.tokens, *said], np.int32)
            prompt = AskedPrompt(tokens, placed(asked, encoded), np.array([len(tokens) - 1]))
            logits = merged_logits(self.weights, [prompt], scratch / f"{len(said)}", silent)
            said.append(choose(logits.rows(0, 1)[0]))
        text: str = speech.tokenizer.decode(said)
        return text

    def _manifest(self) -> Manifest:
        sizes = {path: path.stat().st_size for path in self.directory.rglob("*") if path.is_file()}
        towers: set[ComponentName] = {each.component for each in self.encoders}
        return Manifest(
            schema_version=2,
            model={"name": "tiny", "model_type": "gemma", "parameters": 1, "left_out": []},
            source={"name": "tiny", "sha256": {}},
            components={name: COMPONENTS[name] for name in COMPONENTS if name in towers | {"text"}},
            versions={},
            plan={
                "recipe": "int8",
                "target": "desktop",
                "formats": ["onnx"],
                "context": self.artifact.context,
                "schemes": {},
                "weight_bytes": 1,
                "accelerators": {"onnx": "CPU"},
            },
            artifacts=(self.artifact,),
            files=tuple(
                FileEntry(path.relative_to(self.directory).as_posix(), size, sha256_of(path))
                for path, size in sizes.items()
            ),
            tokens=TokensEntry(BOS, STOPS),
            encoders=self.encoders,
        )
