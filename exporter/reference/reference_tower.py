"""`ReferenceTower`: transformers' own tower of images or sounds, its weights visiting by module.

transformers builds the modules without storage and does all of the computing, as `StreamedReference` has it
for text. Memory is the largest module's weights and the activations of one sample. Independent of
`exporter.models.vision` and `exporter.models.audio` on purpose: a tower of ours and this one agree only
where both are right. Not about samples before they are prepared, nor about what rows are used for
(`merged_prompt`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # ships no types
from torch import Tensor, nn

from exporter.models.audio.spec import AudioSpec, ConformerSpec, WaveformSpec
from exporter.models.vision.spec import VisionSpec
from exporter.reference.audio_modules import audio_modules, heard_rows
from exporter.reference.lending import Lender
from exporter.reference.tower_weights import AXES, CONVOLUTIONS, TABLES, TAPS, TowerWeights, canonical_name
from exporter.reference.vision_modules import picture_rows, vision_modules
from exporter.reference.weights import ReferenceWeights
from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.passed_files import Prepared
from runtimes.sounds.prepared import PreparedSound

TowerSpec = VisionSpec | AudioSpec


class ReferenceTower:
    """transformers' tower of these numbers, which `models.vision` and `models.audio` read from config.json.

    In float32.
    """

    def __init__(self, weights: ReferenceWeights, spec: TowerSpec) -> None:
        self.spec = spec
        with init_empty_weights(include_buffers=False):  # parameters have no storage, RoPE tables do
            self.modules = _modules(spec)
            self.modules.eval()
        owned = {
            f"{prefix}.{local}": (module, local, tensor)
            for prefix, module in self.modules.named_modules()
            for local, tensor in _saved(module)
        }
        shapes = {name: tuple(tensor.shape) for name, (_, _, tensor) in owned.items()}
        self.weights = TowerWeights(weights, shapes)
        lender = Lender(self.weights)
        for name, (module, local, _) in owned.items():
            lender.lend(module, local, name)

    def canonical_shapes(self) -> dict[str, tuple[int, ...]]:
        """What the checkpoint has to hold for these modules, by canonical name."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in self.weights.shapes.items():
            own = canonical_name(name)
            along = next((along for end, along in TABLES.items() if name.endswith(end)), None)
            if along is not None:
                found |= {f"{own}.{axis}": (shape[1 - along], shape[2]) for axis in AXES}
            elif name.endswith(CONVOLUTIONS):
                found[own] = (shape[0], math.prod(shape[1:]))
            elif name.endswith(TAPS):
                found |= {canonical_name(name, tap): (shape[0],) for tap in range(shape[-1])}
            elif own != name and len(shape) == 2:
                found[own] = (shape[1], shape[0])
            else:
                found[own] = shape or (1,)
        return found

    def rows(self, sample: Prepared) -> EncodedRows:
        """What transformers makes of one picture or sound, of the kind this tower takes."""
        with torch.inference_mode():
            match self.spec:
                case ConformerSpec() | WaveformSpec():
                    assert isinstance(sample, PreparedSound)
                    found = heard_rows(self.spec, self.modules, sample)
                case _:
                    assert isinstance(sample, PreparedImage)
                    found = picture_rows(self.spec, self.modules, sample)
        return found.numpy().astype(np.float32)


def _saved(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and saved buffers of the module itself, not of its children."""
    buffers = [
        (local, buffer)
        for local, buffer in module.named_buffers(recurse=False)
        if local not in module._non_persistent_buffers_set
    ]
    return [*module.named_parameters(recurse=False), *buffers]


def _modules(spec: TowerSpec) -> nn.Module:
    match spec:
        case ConformerSpec() | WaveformSpec():
            return audio_modules(spec)
        case _:
            return vision_modules(spec)
