"""`HuggingFaceSource`: a directory as the Hub lays it out: config.json, safetensors, tokenizer.json.

Of a checkpoint with towers it is the text model and as many of them as are wanted; `left_out` names the
rest. Matrices may be floats or packed integers. Not about GGUF or adapters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import (
    CONFIG,
    LEGAL_FILES,
    MODEL_CARD,
    PROCESSOR_FILES,
    SMALL_FILES,
)
from exporter.checkpoints.files.tensor_values import require_finite
from exporter.checkpoints.huggingface.packed_matrices import (
    PackedMatrix,
    take_packed,
    whole_shapes,
)
from exporter.checkpoints.huggingface.quantization_config import KEY as QUANTIZATION_KEY
from exporter.checkpoints.huggingface.quantization_config import packed_layouts
from exporter.checkpoints.huggingface.tensor_views import TensorView, as_stored
from exporter.checkpoints.huggingface.tower_tensors import finite_bounds
from exporter.checkpoints.huggingface.towers import StoredWeights, TowerReader, exactly
from exporter.checkpoints.huggingface.weight_files import StoredTensor, find_weights
from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor, TokenFacts
from exporter.checkpoints.multimodal import read_text_config
from exporter.checkpoints.text_tensors import describe_left_out, find_text_tensors
from exporter.checkpoints.tokenizer.directory_tokenizer import require_tokenizer, write_directory_tokenizer
from exporter.checkpoints.tokenizer.media_tokens import require_marks_apart
from exporter.checkpoints.tokenizer.token_facts import read_token_facts
from exporter.errors import CheckpointError
from exporter.models.components import EVERY_COMPONENT, Components, TextComponent
from exporter.models.config import load_config
from exporter.models.text.families import read_spec
from exporter.models.text.spec import ModelSpec
from runtimes.images.processing import ImageProcessing
from runtimes.manifest import ComponentName
from runtimes.sounds.processing import SoundProcessing

HEAD = "lm_head.weight"
COMPARED_AT_ONCE = 8 << 20


@dataclass(frozen=True)
class HuggingFaceSource:
    """A `CheckpointSource` over a directory. `rows` reads just those rows of the one file they are in."""

    directory: CheckpointDirectory
    architecture: Mapping[str, Any]
    components: Components
    tensors: Mapping[str, SourceTensor]
    views: Mapping[str, TensorView]  # by canonical name
    packed: Mapping[str, PackedMatrix]
    tokens: TokenFacts
    images: ImageProcessing | None
    sounds: SoundProcessing | None
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]

    @staticmethod
    def open(path: Path, wanted: Collection[ComponentName] = EVERY_COMPONENT) -> HuggingFaceSource:
        """Read configuration and headers and check them against each other. No weight is read but a
        stored copy of a tied head.

        wanted: components that are taken where they are there; the rest is left out. Raises
        CheckpointError, SpecError or TokenizerError.
        """
        directory = CheckpointDirectory(path)
        config = load_config(directory.file(CONFIG) if directory.has(CONFIG) else path / CONFIG)
        directory.require_own((MODEL_CARD, *LEGAL_FILES))  # what is copied last is refused first
        layouts = packed_layouts(config, str(path / CONFIG))
        plain = {key: value for key, value in config.items() if key != QUANTIZATION_KEY}
        text = read_text_config(plain, str(path / CONFIG), path / CONFIG)
        spec = read_spec(text.config, text.where, path / CONFIG, text.keys)
        everything = find_weights(directory)
        found = find_text_tensors(everything, spec, text.family, path)
        stored = {canonical: everything[name] for canonical, name in found.stored.items()}
        packed = take_packed(stored, layouts)
        _drop_copy_of_embedding(spec, stored)
        views: dict[str, TensorView] = {name: as_stored(tensor) for name, tensor in stored.items()}
        own = StoredWeights(exactly(spec, views, packed, path), views, packed)
        require_tokenizer(directory)
        beside = TowerReader(directory, config, text, found, everything).read(wanted)
        weights = (own, *beside.weights)
        tokens = read_token_facts(directory, text.token_ids, spec.vocab_size)
        require_marks_apart(path / CONFIG, tokens, beside.vision.images, beside.audio.sounds)
        return HuggingFaceSource(
            directory=directory,
            architecture=text.config,
            components=Components(TextComponent(spec), beside.vision.component, beside.audio.component),
            tensors={name: each for part in weights for name, each in part.tensors.items()},
            views={name: each for part in weights for name, each in part.views.items()},
            packed={name: each for part in weights for name, each in part.packed.items()},
            tokens=tokens,
            images=beside.vision.images,
            sounds=beside.audio.sounds,
            left_out=describe_left_out(beside.left_out, whole_shapes(everything)),
            remarks=(*text.remarks, *beside.remarks),
        )

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def documents(self) -> Path:
        return self.directory.path

    @property
    def adapter(self) -> None:
        return None

    @cached_property
    def held(self) -> Mapping[str, HeldCodes]:
        return {name: matrix.held for name, matrix in self.packed.items()}

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        return self.packed[name].codes(start, stop)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name in self.packed:
            return self.packed[name].values(start, stop)
        view = self.views[name]
        values = finite_bounds(name, view.rows(start, stop))
        require_finite(values, view.stored.file.path, name, start)
        return values

    def digests(self) -> Mapping[str, str]:
        return self._digests

    def write_tokenizer(self, directory: Path) -> None:
        write_directory_tokenizer(self.directory, self.tokens, directory)

    @cached_property
    def _digests(self) -> dict[str, str]:
        packed = (tensor for matrix in self.packed.values() for tensor in (matrix.packed, matrix.scale))
        plain = (view.stored for view in self.views.values())
        weights = (tensor.file.path.name for tensor in (*plain, *packed))
        beside = () if self.images is None and self.sounds is None else PROCESSOR_FILES
        return self.directory.digests({*weights, *SMALL_FILES, *beside})


def _drop_copy_of_embedding(spec: ModelSpec, stored: dict[str, StoredTensor]) -> None:
    """Forget a stored head where the embedding is tied, once it is known to be the same numbers."""
    head, embedding = stored.get(HEAD), stored.get(spec.embedding_name)
    if not spec.tied_embedding or head is None or embedding is None:
        return
    copy, original = head.header, embedding.header
    same = (copy.dtype, copy.shape) == (original.dtype, original.shape)
    for at in range(0, copy.nbytes if same else 0, COMPARED_AT_ONCE):
        count = min(COMPARED_AT_ONCE, copy.nbytes - at)
        same = same and head.read(at, count) == embedding.read(at, count)
    if not same:
        raise CheckpointError(
            head.file.path,
            f"tensor {HEAD} differs from {spec.embedding_name}, and config.json says they are tied",
            "set tie_word_embeddings to false if the head was trained apart, or fetch the checkpoint again",
        )
    del stored[HEAD]
