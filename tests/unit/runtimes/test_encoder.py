"""What an encoder promises, on one that halves what it is given. No runtime takes part."""

from __future__ import annotations

from types import MappingProxyType
from typing import Self

import numpy as np
import pytest

from runtimes.encoder import ArrayFacts, Arrays, Encoder, EncoderFacts
from runtimes.errors import EncoderError

PIXELS = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


class HalvingEncoder:
    """Satisfies `Encoder`: half of every pixel where the mask is set, else 0."""

    def __init__(self) -> None:
        pixels, mask = ArrayFacts((1, 3, 4), np.dtype("float32")), ArrayFacts((1, 3), np.dtype("bool"))
        self._facts = EncoderFacts(
            "halving", "1", "fp32", {"pixels": pixels, "mask": mask}, {"embeddings": pixels}
        )
        self._closed = False

    @property
    def facts(self) -> EncoderFacts:
        return self._facts

    def encode(self, inputs: Arrays) -> Arrays:
        if self._closed:
            raise EncoderError("the encoder is closed; open the artifact again")
        self._facts.require_inputs(inputs)
        return {"embeddings": np.where(inputs["mask"][..., None], inputs["pixels"] / 2, np.float32(0))}

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def given(**changed: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Arrays:
    return MappingProxyType({"pixels": PIXELS, "mask": np.array([[True, False, True]]), **changed})


def opened() -> Encoder:
    return HalvingEncoder()


def test_outputs_are_what_the_facts_say_and_depend_on_nothing_but_the_inputs() -> None:
    with opened() as encoder:
        first, second = encoder.encode(given()), encoder.encode(given())
        assert encoder.facts.outputs == {
            name: ArrayFacts(values.shape, values.dtype) for name, values in first.items()
        }
    np.testing.assert_array_equal(first["embeddings"][0, 0], PIXELS[0, 0] / 2)
    np.testing.assert_array_equal(first["embeddings"], second["embeddings"])


def test_a_missing_input_is_refused_by_name() -> None:
    with (
        opened() as encoder,
        pytest.raises(EncoderError, match=r"input 'mask' is missing; give \['mask', 'p"),
    ):
        encoder.encode({"pixels": PIXELS})


def test_an_unknown_input_is_refused_by_name() -> None:
    with opened() as encoder, pytest.raises(EncoderError, match="'sound' is not an input"):
        encoder.encode(given(sound=PIXELS))


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (PIXELS[0], r"float32\[3, 4\]"),
        (PIXELS.swapaxes(1, 2), r"float32\[1, 4, 3\]"),
        (PIXELS.astype(np.float64), r"float64\[1, 3, 4\]"),
    ],
)
def test_an_input_of_another_shape_or_dtype_is_refused(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]], found: str
) -> None:
    expected = rf"input 'pixels' is {found}; give float32\[1, 3, 4\]"
    with opened() as encoder, pytest.raises(EncoderError, match=expected):
        encoder.encode(given(pixels=pixels))


def test_a_closed_encoder_cannot_be_used() -> None:
    with opened() as encoder:
        pass
    with pytest.raises(EncoderError, match="closed"):
        encoder.encode(given())
