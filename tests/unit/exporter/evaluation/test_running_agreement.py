from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.evaluation import running_agreement
from exporter.evaluation.running_agreement import RunningAgreement
from exporter.evaluation.statistics import Agreement, agree

Floats = NDArray[np.float32]
VOCABULARY = 500


def some_logits(seed: int, positions: int = 40) -> Floats:
    return (6 * np.random.default_rng(seed).standard_normal((positions, VOCABULARY))).astype(np.float32)


FOLLOWING = np.random.default_rng(9).integers(0, VOCABULARY, 40).astype(np.int32)


def streamed(reference: Floats, subjects: list[Floats], step: int) -> list[Agreement]:
    running = RunningAgreement(FOLLOWING, len(subjects))
    for start in range(0, VOCABULARY, step):
        blocks = [torch.from_numpy(each[:, start : start + step]) for each in (reference, *subjects)]
        running.take(start, blocks[0], blocks[1:])
    return running.found()


def assert_alike(found: Agreement, expected: Agreement) -> None:
    for field in fields(Agreement):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=3e-6, err_msg=field.name)


@pytest.mark.parametrize("step", [7, 128, VOCABULARY])
@pytest.mark.parametrize("rows", [16, 1000])
def test_blocks_of_the_vocabulary_give_what_whole_rows_give(
    step: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_agreement, "ROWS", rows)
    reference = some_logits(0)
    subjects = [reference + 0.3 * some_logits(1), some_logits(2)]
    for found, subject in zip(streamed(reference, subjects, step), subjects, strict=True):
        assert_alike(found, agree(reference, subject, FOLLOWING))


@pytest.mark.parametrize("order", [1, -1])
def test_logits_that_rise_or_fall_block_by_block_lose_nothing(order: int) -> None:
    reference = np.sort(20 * some_logits(3), axis=1)[:, ::order].copy()
    subject = reference + some_logits(4)
    (found,) = streamed(reference, [subject], 50)
    assert_alike(found, agree(reference, subject, FOLLOWING))


def test_equal_logits_agree_to_the_last_digits() -> None:
    (found,) = streamed(some_logits(5), [some_logits(5)], 64)
    assert found.kl.max() < 1e-6
    assert found.same_top.all()
    np.testing.assert_array_equal(found.reference_nll, found.subject_nll)


def test_of_equal_largest_logits_the_first_counts_across_blocks_too() -> None:
    reference, subject = some_logits(6), some_logits(6)
    for logits in (reference, subject):
        logits[:, [30, 400]] = 100
    subject[:, 400] = np.nextafter(np.float32(100), np.float32(200))
    (found,) = streamed(reference, [subject], 50)
    assert not found.same_top.any()
    subject[:, 400] = 100
    (found,) = streamed(reference, [subject], 50)
    assert found.same_top.all()


@pytest.mark.parametrize("at", [3, 499])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_reaches_the_figures(wrong: float, at: int) -> None:
    subject = some_logits(8)
    subject[17, at] = wrong
    (found,) = streamed(some_logits(7), [subject], 50)
    assert not np.isfinite(found.kl[17])
    assert np.isfinite(np.delete(found.kl, 17)).all()
