"""What every lowering promises, on tiny models in every format: `exporter.lowering.interface.Lowering`.

Matrix: format x scheme on the tiny Gemma 3 (read-back, float twin, kernels, faults); family x format on
int8, but for Core ML, whose conversions take long: tests/parity/test_coreml_decoder.py. Not asserted here:
what one runtime alone has (tests/unit/exporter/lowering), quality of quantisation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.errors import LoweringError
from exporter.formats.table import FAMILIES
from exporter.lowering.table import lowerings_for
from exporter.quantization.store.checkpoint import IntegerMatrix, StoredComponents
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL, SCHEMES, FloatScheme, IntegerScheme
from runtimes.formats import FORMATS, Format
from tests.contracts.lowered_models import (
    PREFILLED,
    RUNTIMES,
    TOKENS,
    Lowered,
    Releases,
    form_of,
    lower,
    off,
)
from tests.corruption import coreml, litert, onnx
from tests.fakes import silent
from tests.reference import transformers_logits
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource, tiny_gemma3
from tests.tiny_releases import CHUNK, CONTEXT, eager_logits, lowering_order

GROUPS = ("channel", "g16", "g32", "g64", "g128")
OF_4_BITS = {f"int4-{group}{zeros}" for group in GROUPS for zeros in ("", "-zp")}
CARRIES = {
    "litert": {"int8-channel", "int4-channel", "int4-g32", "int2-channel", "fp16", "fp32"},
    "onnx": {"int8-channel", "int8-g32", "int8-g16", "int8-channel-zp", *OF_4_BITS, "fp16", "fp32"},
    "coreml": {"int8-channel", "int8-g32", "int8-channel-zp", *OF_4_BITS, "fp16"},
}
CARRIED = [(form, scheme) for form in FORMATS for scheme in SCHEMES if scheme in CARRIES[RUNTIMES[form]]]
# Their integer kernels round activations. Core ML has none, and a browser's compute in floats.
ROUNDED = ("tflite", "litertlm", "onnx")
CORRUPT: dict[str, Callable[[Path, Any], None]] = {
    "litert": litert.corrupt,
    "onnx": onnx.corrupt,
    "coreml": coreml.corrupt,
}
# Their .litertlm holds another graph than the .tflite: embedders look the tables up.
EMBEDDED = [
    family
    for family, config in sorted(TINY_CONFIGS.items())
    if RandomSource(config()).components["text"].spec.per_layer_embedding is not None
]
FAULTS = ("scale", "rope", "mask", "norm")

TWIN_LIMIT = 1e-6  # nats; the product's own gate
KERNEL_LIMITS = {8: TWIN_LIMIT, 4: 1e-2, 2: 1e-2, 16: TWIN_LIMIT, 32: TWIN_LIMIT}  # by a scheme's bits


def carried(runtime: str) -> frozenset[str]:
    """Names of the schemes a runtime says it carries. Where that is said, only this function knows."""
    return FAMILIES[runtime].schemes


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    return Releases(tmp_path_factory.mktemp("releases"))


def test_the_text_outgrows_the_window_and_the_chunk() -> None:
    assert PREFILLED > WINDOW
    assert PREFILLED % CHUNK
    assert CONTEXT % CHUNK
    assert CONTEXT - PREFILLED > WINDOW


@pytest.mark.parametrize("runtime", CARRIES)
def test_what_is_carried_is_what_it_says(runtime: str) -> None:
    assert carried(runtime) == CARRIES[runtime]


@pytest.mark.parametrize(
    ("runtime", "scheme"),
    [
        (runtime, scheme)
        for runtime, carries in CARRIES.items()
        for scheme in (*SCHEMES, "of-tomorrow")
        if scheme not in carries
    ],
)
def test_a_scheme_it_does_not_carry_is_refused_by_name(
    runtime: str, scheme: str, releases: Releases, tmp_path: Path
) -> None:
    checkpoint = releases.get(form_of(runtime), "int8-channel").checkpoint
    odd, matrix = list(checkpoint.matrices.items())[3]
    stored: Any = SCHEMES.get(scheme, replace(INT8_CHANNEL, name=scheme))
    text = checkpoint.components["text"]
    changed = replace(text, matrices={**text.matrices, odd: replace(matrix, scheme=stored)})
    order = lowering_order(replace(checkpoint, components=StoredComponents(changed)), tmp_path)
    out = tmp_path / "release"
    out.mkdir()
    said = rf"{odd}: .* cannot carry scheme {scheme}; choose a recipe of .*int8-channel"
    with pytest.raises(LoweringError, match=said):
        lowerings_for(FORMATS)[runtime].lower(order, out, silent)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("form", "scheme"), CARRIED)
def test_what_is_read_back_is_the_checkpoint(form: Format, scheme: str, releases: Releases) -> None:
    assert_read_back(releases.get(form, scheme))


@pytest.mark.parametrize(("form", "scheme"), CARRIED)
def test_the_float_twin_computes_what_the_checkpoint_says(
    form: Format, scheme: str, releases: Releases, tmp_path: Path
) -> None:
    lowered = releases.get(form, scheme)
    assert off(eager_logits(lowered.checkpoint, TOKENS), lowered.twin_logits(tmp_path)) < TWIN_LIMIT


@pytest.mark.parametrize("form", FORMATS)
def test_the_float_twin_computes_what_transformers_does(
    form: Format, releases: Releases, tmp_path: Path
) -> None:
    lowered = releases.get(form, "int8-channel")
    matrices = lowered.checkpoint.matrices.values()
    weights = {each.name: each.values(0, each.shape[0]) for each in matrices}
    weights.update(lowered.checkpoint.vectors)
    expected = transformers_logits(tiny_gemma3(), weights, torch.from_numpy(TOKENS.astype(np.int64)))
    assert off(expected.numpy(), lowered.twin_logits(tmp_path)) < TWIN_LIMIT


@pytest.mark.parametrize(("form", "scheme"), CARRIED)
def test_kernels_are_off_by_their_rounding_alone(form: Format, scheme: str, releases: Releases) -> None:
    lowered, kind = releases.get(form, scheme), SCHEMES[scheme]
    measured = off(eager_logits(lowered.checkpoint, TOKENS), lowered.logits())
    assert measured < KERNEL_LIMITS[kind.bits]
    if form in ROUNDED and isinstance(kind, IntegerScheme):
        # They do run in integers: 4-bit ones on activations of 8 bits, 8-bit ones on nearly exact ones.
        assert measured > (TWIN_LIMIT if kind.bits < 8 else 1e-11)
    if form in ROUNDED and isinstance(kind, FloatScheme):
        at, found = zip(*lowered.logits().items(), strict=True)
        expected = eager_logits(lowered.checkpoint, TOKENS)[list(at)]
        np.testing.assert_allclose(np.stack(found), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "form"),
    [(family, form) for family in sorted(TINY_CONFIGS) for form in ("tflite", "onnx", "onnx-web")]
    + [(family, "litertlm") for family in EMBEDDED],
)
def test_every_family_computes_what_its_checkpoint_says(
    family: str, form: Format, releases: Releases, tmp_path: Path
) -> None:
    lowered = releases.get(form, "int8-channel", family)
    expected = eager_logits(lowered.checkpoint, TOKENS)
    assert off(expected, lowered.twin_logits(tmp_path)) < TWIN_LIMIT
    assert off(expected, lowered.logits()) < 10 * TWIN_LIMIT


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("scheme", "fault"),
    [(scheme.name, fault) for scheme in (INT8_CHANNEL, INT4_G32) for fault in FAULTS]
    + [(FP16.name, fault) for fault in FAULTS if fault != "scale"],
)
def test_a_fault_in_the_artifact_is_a_fault_of_its_twin(
    form: Format, scheme: str, fault: str, releases: Releases, tmp_path: Path
) -> None:
    damaged = releases.get(form, scheme).copy(tmp_path)
    CORRUPT[RUNTIMES[form]](damaged.path, fault)
    expected = eager_logits(damaged.checkpoint, TOKENS)
    assert off(expected, damaged.twin_logits(tmp_path)) > 100 * TWIN_LIMIT


@pytest.mark.usefixtures("converted_afresh")
@pytest.mark.parametrize("form", ["tflite", "onnx", "onnx-web", "coreml"])
def test_equal_inputs_give_equal_bytes(form: Format, releases: Releases, tmp_path: Path) -> None:
    first = releases.get(form, "int8-channel")
    again = lower(RUNTIMES[form], first.checkpoint, tmp_path)[form]
    names = sorted(path.relative_to(first.release) for path in first.release.rglob("*"))
    assert names == sorted(path.relative_to(again.release) for path in again.release.rglob("*"))
    assert Path(first.artifact.path) in names
    for name in names:
        if (first.release / name).is_file():
            assert (first.release / name).read_bytes() == (again.release / name).read_bytes(), name


@pytest.mark.parametrize(
    ("runtime", "changes", "said"),
    [
        (
            "litert",
            {"prefill_chunk": CONTEXT + 1},
            f"a prefill chunk of {CONTEXT + 1} does not fit a context of {CONTEXT}; choose a smaller chunk",
        ),
        (
            "onnx",
            {"prefill_logits": "none"},
            "an ONNX graph always returns logits; ask for 'last' or 'all'",
        ),
        ("coreml", {"context": 2}, "hold at least [0-9]+ positions; ask for a longer context"),
    ],
)
def test_an_order_it_cannot_fill_is_refused_with_what_to_ask_for(
    runtime: str, changes: dict[str, Any], said: str, releases: Releases, tmp_path: Path
) -> None:
    checkpoint = releases.get(form_of(runtime), "int8-channel").checkpoint
    out = tmp_path / "release"
    out.mkdir()
    with pytest.raises(LoweringError, match=said):
        lowerings_for(FORMATS)[runtime].lower(lowering_order(checkpoint, tmp_path, **changes), out, silent)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("runtime", CARRIES)
def test_a_missing_tokenizer_is_refused(runtime: str, releases: Releases, tmp_path: Path) -> None:
    order = lowering_order(releases.get(form_of(runtime), "int8-channel").checkpoint, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(LoweringError, match=r"tokenizer\.json"):
        lowerings_for(FORMATS)[runtime].lower(order, tmp_path, silent)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("damage", ["emptied", "cut in half", "overwritten", "taken away"])
def test_a_damaged_file_is_refused_when_it_is_read_back(
    damage: str, form: Format, releases: Releases, tmp_path: Path
) -> None:
    whole = releases.get(form, "int8-channel")
    for number, file in enumerate(sorted(artifact_files(whole))):
        copied = whole.copy(tmp_path / str(number))
        path = copied.release / file
        match damage:
            case "emptied":
                path.write_bytes(b"")
            case "cut in half":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case "overwritten":
                path.write_bytes(b"\xff" * path.stat().st_size)
            case _:
                path.unlink()
        if damage == "overwritten" and is_data(path):
            continue  # other numbers are numbers: they are counted, not refused
        with pytest.raises(LoweringError, match=rf"{re.escape(str(copied.release))}.*: .+; .+"):
            list(copied.lowering.read_back(copied.release, copied.artifact))


def artifact_files(lowered: Lowered) -> list[Path]:
    """Files the numbers of an artifact are read from, relative to the release."""
    found = [lowered.path, *lowered.path.rglob("*"), *lowered.path.parent.glob("*.*data")]
    return [path.relative_to(lowered.release) for path in found if path.is_file()]


def is_data(path: Path) -> bool:
    """Whether a file holds nothing but numbers, and how they lie is said elsewhere."""
    return path.suffix in (".data", ".onnx_data")


def assert_read_back(lowered: Lowered) -> None:
    """Every matrix comes back once, row for row, number for number."""
    rows = dict.fromkeys(lowered.checkpoint.matrices, 0)
    for stored in lowered.lowering.read_back(lowered.release, lowered.artifact):
        matrix = lowered.checkpoint.matrices[stored.weight]
        assert stored.start == rows[stored.weight]
        filled = stored.values if stored.codes is None else stored.codes
        assert filled is not None
        stop = stored.start + len(filled)
        if isinstance(matrix, IntegerMatrix):
            assert stored.values is None
            np.testing.assert_array_equal(stored.codes, matrix.codes(stored.start, stop))
            np.testing.assert_array_equal(stored.scales, matrix.scales(stored.start, stop))
            zero_points = matrix.zero_points(stored.start, stop)
            assert (stored.zero_points is None) == (zero_points is None)
            if zero_points is not None:
                np.testing.assert_array_equal(stored.zero_points, zero_points)
        else:
            assert (stored.codes, stored.scales, stored.zero_points) == (None, None, None)
            np.testing.assert_array_equal(stored.values, matrix.values(stored.start, stop))
        rows[stored.weight] = stop
    assert rows == {name: matrix.shape[0] for name, matrix in lowered.checkpoint.matrices.items()}
