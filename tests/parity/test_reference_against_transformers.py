"""The streamed reference against transformers' plain model, for every family, in fp32.

Matrix: family × original weights; Gemma 3 × quantised weights, as transformers' own loader reads the
directory and as we read it. Not asserted here: memory, speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import ReferenceModelError
from exporter.planning.recipe import Equalization
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.transformers_view import load_model
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.quantization.transforms.equalization import equalize
from exporter.reference import lending
from exporter.reference import streamed as reference_module
from exporter.reference.activations import input_sizes
from exporter.reference.streamed import StreamedReference, TopToken, reference_choices, reference_logits
from exporter.reference.weights import OriginalWeights
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL, Scheme
from tests.fakes import silent
from tests.reference import transformers_logits
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource, tiny_gemma3

TOKENS = 3 * WINDOW
TOLERANCE = 1e-5  # max abs of logits


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of head rows and several chunks of every matrix, even of tiny models."""
    monkeypatch.setattr(reference_module, "BLOCK_BYTES", 100 * 4 * TOKENS)
    monkeypatch.setattr(lending, "LOAD_BYTES", 10 * 4 * 64)


def some_tokens(count: int = TOKENS) -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(0, 512, count).astype(np.int32)


def quantised(
    directory: Path, linears: Scheme, embeddings: Scheme, equalized: bool = False
) -> QuantizedCheckpoint:
    plain = RandomSource(tiny_gemma3())
    source: CheckpointSource = plain
    if equalized:
        how = Equalization(weights=0.25, activations=0.5, embedding=1.0, reason="as the int8 recipe")
        source = equalize(plain, input_sizes(plain, some_tokens(), silent), how)
    schemes = {
        weight.name: embeddings if "embed" in weight.name else linears
        for weight in source.components["text"].weights
        if weight.is_matrix
    }
    return write_quantized(source, schemes, directory, silent)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_the_streamed_reference_computes_what_plain_transformers_does(family: str, tmp_path: Path) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    tokens = some_tokens()
    file = reference_logits(OriginalWeights(source), tokens, tmp_path / "logits", silent)
    plain = transformers_logits(source.architecture, source.weights, torch.from_numpy(tokens).long())
    assert np.abs(file.rows(0, TOKENS) - plain.numpy()).max() <= TOLERANCE
    assert plain.std() > 0.5, "logits of the fixture are nearly uniform: it would prove nothing"


@pytest.mark.parametrize(
    ("linears", "embeddings"), [(INT8_CHANNEL, INT8_CHANNEL), (INT4_G32, INT8_CHANNEL), (FP16, FP16)]
)
def test_compressed_tensors_reads_the_numbers_we_wrote(
    linears: Scheme, embeddings: Scheme, tmp_path: Path
) -> None:
    checkpoint = quantised(tmp_path, linears, embeddings)
    weights = UnpackedWeights(checkpoint)
    for name, matrix in checkpoint.matrices.items():
        rows = matrix.shape[0]
        assert np.array_equal(weights.rows(name, 3, rows).numpy(), matrix.values(3, rows)), name
        assert np.array_equal(weights.gather(name, [7, 2]).numpy(), matrix.values(0, rows)[[7, 2]]), name
    for name, vector in checkpoint.vectors.items():
        assert np.array_equal(weights.rows(name, 0, len(vector)).numpy(), vector), name


@pytest.mark.parametrize(("linears", "equalized"), [(INT4_G32, False), (INT8_CHANNEL, True)])
def test_the_reference_on_a_quantised_checkpoint_is_what_transformers_loads(
    linears: Scheme, equalized: bool, tmp_path: Path
) -> None:
    checkpoint = quantised(tmp_path / "q", linears, INT8_CHANNEL, equalized)
    assert checkpoint.components["text"].spec.embedding_columns == equalized
    tokens = some_tokens()
    file = reference_logits(UnpackedWeights(checkpoint), tokens, tmp_path / "logits", silent)
    model = load_model(checkpoint.directory)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        loaded = model(torch.from_numpy(tokens).long()[None], use_cache=False).logits[0].numpy()
    assert np.abs(file.rows(0, TOKENS) - loaded).max() <= TOLERANCE


def test_choices_are_the_argmax_of_each_sequence_of_a_batch() -> None:
    source = RandomSource(tiny_gemma3())
    batch = some_tokens(2 * TOKENS).reshape(2, TOKENS)
    choices = reference_choices(OriginalWeights(source), batch, silent)
    for sequence, chosen in zip(batch, choices, strict=True):
        plain = transformers_logits(source.architecture, source.weights, torch.from_numpy(sequence).long())
        assert np.array_equal(chosen, plain.argmax(-1).numpy())


@dataclass(frozen=True)
class _Watched(OriginalWeights):
    """Notes, at each read, how many numbers the reference's parameters hold at that moment."""

    models: list[StreamedReference] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    def rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        for reference in self.models:
            parameters = reference.model.parameters()
            self.held.append(sum(each.numel() for each in parameters if each.device.type != "meta"))
        return super().rows(name, start, stop)


@pytest.mark.parametrize("family", ["Gemma 3", "Gemma 4 E2B"])
def test_one_module_holds_its_weights_at_a_time(family: str) -> None:
    weights = _Watched(RandomSource(TINY_CONFIGS[family]()))
    weights.models.append(StreamedReference(weights))
    weights.models[0].run(some_tokens()[None], TopToken(TOKENS), silent)
    assert len(weights.held) > 100
    # While the next weight is read: nothing, a block of the head, or a layer's own scalar.
    assert max(weights.held) <= 100 * 64
    assert not any(each.device.type != "meta" for each in weights.models[0].model.parameters())


def test_weights_of_another_shape_are_refused_by_name() -> None:
    wide = RandomSource(tiny_gemma3())
    narrow = {**tiny_gemma3(), "intermediate_size": 96}
    with pytest.raises(ReferenceModelError, match=r"down_proj.*\(64, 96\).*\(64, 128\)"):
        reference_choices(
            OriginalWeights(_Mislabelled(wide, narrow)),  # type: ignore[arg-type]  # only what is read
            some_tokens()[None],
            silent,
        )


class _Mislabelled:
    """One source's weights with another's configuration."""

    def __init__(self, source: RandomSource, architecture: dict[str, object]) -> None:
        self.architecture, self.tensors, self.rows = architecture, source.tensors, source.rows
        self.components = source.components
