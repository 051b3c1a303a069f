"""Prepared pictures and sounds, their rows, and prompts with rows, in files between two processes.

For whoever executes towers and decoders in a process of its own. Not about executing any.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import Arrays
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.sounds.prepared import PreparedSound

SAMPLES, ROWS, PROMPTS, BEHIND = "samples.npz", "rows.npz", "prompts.npz", "behind.npz"
Prepared = PreparedImage | PreparedSound
KINDS: tuple[RowKind, ...] = get_args(RowKind)


def write_samples(scratch: Path, samples: Sequence[Prepared]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for number, sample in enumerate(samples):
        arrays[f"{number}.soft_tokens"] = np.array(sample.soft_tokens)
        if isinstance(sample, PreparedSound):
            arrays[f"{number}.features"] = sample.features
        else:
            arrays |= {f"{number}.{name}": each for name, each in sample.arrays.items()}
    np.savez(scratch / SAMPLES, allow_pickle=False, **arrays)


def read_samples(scratch: Path) -> tuple[Prepared, ...]:
    with np.load(scratch / SAMPLES) as arrays:
        return tuple(_sample(arrays, number) for number in range(_count(arrays, "soft_tokens")))


def _sample(arrays: Arrays, number: int) -> Prepared:
    soft_tokens = int(arrays[f"{number}.soft_tokens"])
    if (name := f"{number}.features") in arrays:
        return PreparedSound(arrays[name], soft_tokens)
    return PreparedImage(arrays[f"{number}.pixels"], arrays.get(f"{number}.positions"), soft_tokens)


def write_prompts(scratch: Path, prompts: Sequence[FedPrompt]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for number, prompt in enumerate(prompts):
        arrays[f"{number}.tokens"] = prompt.tokens
        arrays[f"{number}.cut"] = np.array([*prompt.called, prompt.decoded])
        places = [(each.start, KINDS.index(each.of)) for each in prompt.placed]
        arrays[f"{number}.places"] = np.array(places, np.int64).reshape(-1, 2)
        for index, each in enumerate(prompt.placed):
            arrays[f"{number}.{index}.rows"] = each.rows
    np.savez(scratch / PROMPTS, allow_pickle=False, **arrays)


def read_prompts(scratch: Path) -> tuple[FedPrompt, ...]:
    with np.load(scratch / PROMPTS) as arrays:
        return tuple(_prompt(arrays, number) for number in range(_count(arrays, "tokens")))


def _prompt(arrays: Arrays, number: int) -> FedPrompt:
    start, stop, decoded = (int(each) for each in arrays[f"{number}.cut"])
    placed = tuple(
        PlacedRows(int(at), arrays[f"{number}.{index}.rows"], KINDS[of])
        for index, (at, of) in enumerate(arrays[f"{number}.places"])
    )
    return FedPrompt(arrays[f"{number}.tokens"], placed, (start, stop), decoded)


def write_numbers(path: Path, of_each: Sequence[NDArray[np.float32]]) -> None:
    """One array of each sample, or of each prompt."""
    arrays = {str(number): each for number, each in enumerate(of_each)}
    np.savez(path, allow_pickle=False, **arrays)


def read_numbers(path: Path) -> tuple[NDArray[np.float32], ...]:
    with np.load(path) as arrays:
        return tuple(arrays[str(number)] for number in range(len(arrays)))


def _count(arrays: Arrays, name: str) -> int:
    return sum(key.endswith(f".{name}") for key in arrays)
