from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.errors import UsageError
from exporter.evaluation import side_by_side
from exporter.evaluation.side_by_side import compare_weights, cut_up
from exporter.evaluation.statistics import agree
from exporter.reference.streamed import reference_logits
from exporter.reference.texts import TokenisedText
from exporter.reference.weights import OriginalWeights
from tests.fakes import silent
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def text(name: str, length: int) -> TokenisedText:
    tokens = np.random.default_rng(length).integers(6, 262, length).astype(np.int32)
    tokens[0] = 2
    return TokenisedText(name, tokens, length)


TEXTS = (text("short", 20), text("long", 45))


def weights(config: Mapping[str, Any], noise: float = 0.0) -> OriginalWeights:
    source = RandomSource(config)
    random = np.random.default_rng(1)
    for values in source.weights.values():
        values += noise * random.standard_normal(values.shape).astype(np.float32)
    return OriginalWeights(source)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_each_text_is_compared_as_its_logits_would_be(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "BLOCK_BYTES", 4 * 63 * 100)  # several blocks of the vocabulary
    original = weights(TINY_CONFIGS[family]())
    subjects = [weights(TINY_CONFIGS[family](), noise) for noise in (0.01, 0.1)]
    compared = compare_weights(original, subjects, TEXTS, silent)
    for subject, found in zip(subjects, compared, strict=True):
        assert list(found) == ["short", "long"]
        for each in TEXTS:
            files = [
                reference_logits(model, each.tokens[:-1], tmp_path / "logits", silent)
                .rows(0, len(each.tokens) - 1)
                .copy()
                for model in (original, subject)
            ]
            expected = agree(files[0], files[1], each.tokens[1:])
            np.testing.assert_allclose(found[each.name].kl, expected.kl, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(found[each.name].subject_nll, expected.subject_nll, rtol=1e-4)
            np.testing.assert_array_equal(found[each.name].same_top, expected.same_top)
    near, far = ([each.kl.mean() for each in found.values()] for found in compared)
    assert all(one < other for one, other in zip(near, far, strict=True))


def test_a_model_compared_with_itself_does_not_differ() -> None:
    original = weights(tiny_gemma3())
    (found,) = compare_weights(original, [original], TEXTS, silent)
    assert all(each.kl.max() < 1e-6 and each.same_top.all() for each in found.values())


def test_long_texts_are_cut_and_every_piece_has_a_beginning() -> None:
    tokens = np.array([2, *range(10, 30)], np.int32)
    pieces = cut_up(tokens, longest=8)
    assert [len(each) for each in pieces] == [8, 8, 7]
    assert all(each[0] == 2 for each in pieces)
    np.testing.assert_array_equal(np.concatenate([each[1:] for each in pieces]), tokens[1:])
    np.testing.assert_array_equal(cut_up(tokens)[0], tokens)


def test_another_vocabulary_is_refused() -> None:
    other = weights({**tiny_gemma3(), "vocab_size": 400})
    with pytest.raises(UsageError, match="has 400 tokens"):
        compare_weights(weights(tiny_gemma3()), [other], TEXTS, silent)
