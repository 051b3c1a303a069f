"""`LoraSource`: a checkpoint source like any other, of which the adapted weights alone are not the base's.

That its values are peft's is tests/parity/test_adapters_against_peft.py's business.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.files.byte_ranges import read_range
from exporter.errors import CheckpointError
from runtimes.manifest import sha256_of
from tests.holding_source import HoldingSource
from tests.tiny import RandomSource, tiny_gemma3
from tests.unit.exporter.checkpoints.adapters.written_adapters import (
    ADAPTED,
    EMBEDDING,
    OUTER,
    factors,
    values,
    write_adapter,
)


@pytest.fixture
def base() -> RandomSource:
    return RandomSource(tiny_gemma3())


def test_rows_are_the_bases_and_scaling_times_b_a(base: RandomSource, tmp_path: Path) -> None:
    source = LoraSource.open(base, write_adapter(tmp_path))
    down, up = factors().values()
    expected = base.weights[ADAPTED] + 2 * up @ down  # lora_alpha / r
    for start, stop in ((0, 5), (5, 128)):
        np.testing.assert_allclose(source.rows(ADAPTED, start, stop), expected[start:stop], rtol=1e-5)
    other = ADAPTED.replace("layers.3", "layers.4")
    np.testing.assert_array_equal(source.rows(other, 0, 9), base.rows(other, 0, 9))


def test_codes_of_matrices_the_adapter_leaves_alone_are_still_held(tmp_path: Path) -> None:
    base = HoldingSource(tiny_gemma3(), kinds=("Q4_0", "Q8_0"))
    merged = LoraSource.open(base, write_adapter(tmp_path))
    assert set(base.held) - set(merged.held) == {ADAPTED}
    other = ADAPTED.replace("layers.3", "layers.4")
    assert merged.held[other] == base.held[other]
    for found, expected in zip(merged.codes(other, 2, 9), base.codes(other, 2, 9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_its_name_is_the_bases_and_the_directorys_in_plain_letters(
    base: RandomSource, tmp_path: Path
) -> None:
    source = LoraSource.open(base, write_adapter(tmp_path / "<img src=x> Pirate"))
    assert source.name == "tiny-gemma-img-src-x-pirate"


def test_digests_take_in_every_file_of_the_adapter_that_is_read(base: RandomSource, tmp_path: Path) -> None:
    write_adapter(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (tmp_path / "README.md").write_text("not read", encoding="utf-8")
    found = LoraSource.open(base, tmp_path).digests()
    read = ("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja")
    assert found == base.digests() | {f"adapter/{name}": sha256_of(tmp_path / name) for name in read}


def test_an_untied_head_is_one_more_tensor_of_the_model(base: RandomSource, tmp_path: Path) -> None:
    tensors = factors() | {f"{OUTER}lm_head.weight": values(512, 64)}
    source = LoraSource.open(base, write_adapter(tmp_path, tensors, modules_to_save=["lm_head"]))
    assert [(t.name, t.shape) for t in source.tensors.values()] == [
        (weight.name, weight.shape) for weight in source.components["text"].spec.weights()
    ]
    assert source.architecture == {**base.architecture, "tie_word_embeddings": False}
    assert any("two in the release" in remark for remark in source.remarks)


def test_added_rows_make_a_larger_vocabulary(base: RandomSource, tmp_path: Path) -> None:
    tensors = factors() | {f"{OUTER}{EMBEDDING}.weight": values(515, 64)}
    source = LoraSource.open(base, write_adapter(tmp_path, tensors))
    assert source.architecture == {**base.architecture, "vocab_size": 515}
    assert source.tensors[f"{EMBEDDING}.weight"].shape == (515, 64)
    assert "The vocabulary has 515 entries, 3 of them the adapter's." in source.remarks


def test_factors_are_read_for_the_rows_asked_for_and_not_kept(
    base: RandomSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = LoraSource.open(base, write_adapter(tmp_path))
    counts: list[int] = []

    def counting(path: Path, tensor: str, begin: int, count: int) -> bytes:
        counts.append(count)
        return read_range(path, tensor, begin, count)

    monkeypatch.setattr("exporter.checkpoints.files.safetensors_file.read_range", counting)
    source.rows(ADAPTED, 100, 103)
    assert sorted(counts) == [3 * 4 * 4, 4 * 64 * 4]  # three rows of B, and A


def test_a_magnitude_on_a_row_of_zeros_is_refused_where_it_is_read(
    base: RandomSource, tmp_path: Path
) -> None:
    base.weights[ADAPTED][7] = 0
    down, up = factors().values()
    up[7] = 0
    names = list(factors())
    tensors = {names[0]: down, names[1]: up, f"{OUTER}{ADAPTED[:-7]}.lora_magnitude_vector": values(128)}
    source = LoraSource.open(base, write_adapter(tmp_path, tensors, use_dora=True))
    source.rows(ADAPTED, 0, 7)
    with pytest.raises(CheckpointError, match=rf"tensor {ADAPTED} holds nan at \[7, 0\]"):
        source.rows(ADAPTED, 0, 128)


def test_a_pickled_adapter_is_refused(base: RandomSource, tmp_path: Path) -> None:
    write_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"is a pickle.*save the adapter again"):
        LoraSource.open(base, tmp_path)


def test_a_directory_without_an_adapter_says_what_is_wanted(base: RandomSource, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: no such file; give a PEFT adapter"):
        LoraSource.open(base, tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="this is a model's directory"):
        LoraSource.open(base, tmp_path)


def test_weights_that_are_missing_are_named(base: RandomSource, tmp_path: Path) -> None:
    write_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: is missing"):
        LoraSource.open(base, tmp_path)


def test_a_link_out_of_the_adapters_directory_is_refused(base: RandomSource, tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "adapter" / "adapter_config.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CheckpointError, match="outside the directory"):
        LoraSource.open(base, tmp_path / "adapter")
