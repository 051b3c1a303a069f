"""`AudioDialect`: how one runtime expresses the operations that audio encoders are made of.

`rows` says what is computed. A dialect lives for one trace. A sound is whatever the dialect makes of
which frames are sound and which are padding behind it; encoders only hand it on. Padding never changes a
frame of sound: nothing sees a later frame but the two convolutions at the start, for which it is 0.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Sound = Any
"""Of every frame, whether it is one."""


class AudioDialect(Protocol):
    """Operations by canonical weight name. Activations are [1, frames, width] unless said."""

    def audible(self, x: Tensor, sound: Sound, step: int) -> Tensor:
        """x [1, frames / step, bands, channels] with 0 where there is no sound. step: frames of the
        spectrum that one of these stands for: it is sound where the first of them is."""
        ...

    def subsample(self, x: Tensor, weight: str) -> Tensor:
        """A convolution of 3 x 3 over frames and bands, every second one, with one 0 around them:
        [1, frames, bands, channels] to [1, ceil(frames / 2), ceil(bands / 2), out]. weight: [out,
        channels * 3 * 3], channels first, then frames, then bands."""
        ...

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        """x through a linear [out, in]. clip: the name before the four bounds that its inputs and outputs
        are kept between."""
        ...

    def layer_norm(self, x: Tensor, gain: str, eps: float) -> Tensor:
        """LayerNorm over the last axis, without a bias."""
        ...

    def norm(self, x: Tensor, gain: str | None, eps: float) -> Tensor:
        """RMSNorm over the last axis times the gain; None for none."""
        ...

    def relu(self, x: Tensor) -> Tensor: ...

    def silu(self, x: Tensor) -> Tensor: ...

    def gated(self, x: Tensor) -> Tensor:
        """The first half of the last axis times the sigmoid of the second."""
        ...

    def between(self, x: Tensor, bound: float) -> Tensor:
        """x kept within -bound and bound."""
        ...

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        """x so many frames later, as long as it was, with 0 in front."""
        ...

    def vector(self, name: str) -> Tensor:
        """A [width] weight as it is."""
        ...

    def softplus(self, name: str) -> Tensor:
        """log(1 + exp(w)) of a [width] weight."""
        ...

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        """Numbers that no checkpoint holds, as activations."""
        ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, cap: float, sound: Sound) -> Tensor:
        """Every frame to itself and the chunk - 1 before it that are sound: [1, frames, heads, head_dim] to
        [1, frames, heads * head_dim].

        relative: [1, chunk + 1, heads, head_dim], for distances from chunk down to 0: a score is q . (k +
        relative[distance]), then cap * tanh(score / cap). sound: of frames of the spectrum, of which one
        here stands for four.
        """
        ...
