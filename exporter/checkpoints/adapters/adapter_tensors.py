"""The tensors of adapter_model.safetensors: of which weight each is a part, and which part.

Names are taken apart from the front: what trainers wrap a model in is dropped, then `base_model.model.`,
then every `model` and `language_model` down to the first word that only one part of a Gemma has. Not
about what the parts do (`merged_weights`), nor about which may be there together (`assembly`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import dropwhile

from exporter.checkpoints.files.safetensors_file import SafetensorsFile, TensorHeader
from exporter.checkpoints.multimodal import MULTIMODAL
from exporter.checkpoints.text_tensors import UNUSED, WRAPPERS, unused_projections
from exporter.errors import CheckpointError
from exporter.models.text.spec import ModelSpec

OUTER = frozenset({"base_model", "language_model", "model"})
TEXT = frozenset(
    {
        "embed_tokens", "embed_tokens_per_layer", "layers", "norm", "per_layer_model_projection",
        "per_layer_projection_norm",
    }
)  # fmt: skip
HEAD = "lm_head"


class Part(Enum):
    """What a tensor is of its weight, by how its name goes on behind the module's.

    WHOLE: the weight itself. COPY: the same once more. ORIGINAL: the base's as it was in training.
    """

    DOWN = ("lora_A", "weight")
    UP = ("lora_B", "weight")
    EMBEDDING_DOWN = ("lora_embedding_A",)
    EMBEDDING_UP = ("lora_embedding_B",)
    MAGNITUDE = ("lora_magnitude_vector",)
    TOKENS = ("token_adapter", "trainable_tokens_delta")
    WHOLE = ("weight",)
    COPY = ("modules_to_save", "weight")
    ORIGINAL = ("base_layer", "weight")


ENDINGS = {
    **{part.value: part for part in Part},
    ("lora_magnitude_vector", "weight"): Part.MAGNITUDE,
    ("original_module", "weight"): Part.ORIGINAL,
    ("token_adapter", "base_layer", "weight"): Part.ORIGINAL,
}
FIRST_WORDS = frozenset(ending[0] for ending in ENDINGS)
WITH_ADAPTERS_NAME = FIRST_WORDS - {"weight", "base_layer", "original_module"}
COMPARED_AT_ONCE = 8 << 20  # bytes
OF_TRAINING = "lora_velora_embed"  # VeLoRA's: its backward pass alone reads it


@dataclass
class AdapterTensors:
    """parts: by canonical name of the weight. spelled: what the file calls its module. left_out: names of
    tensors that are not the text model's, by what they are part of."""

    file: SafetensorsFile
    parts: dict[str, dict[Part, TensorHeader]] = field(default_factory=dict)
    spelled: dict[str, set[str]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def first(self, weight: str) -> str:
        """The name of a tensor of this weight, for messages."""
        return next(iter(self.parts[weight].values())).name


def sort_tensors(file: SafetensorsFile, spec: ModelSpec) -> AdapterTensors:
    """Raises CheckpointError naming a tensor that is of no known part, or there twice."""
    found = AdapterTensors(file)
    unused, towers = unused_projections(spec), _towers(spec)
    for header in file.tensors.values():
        words = [word for word in header.name.split(".") if word not in WRAPPERS]
        inner = list(dropwhile(OUTER.__contains__, words))
        if (tower := towers.get(inner[0] if inner else "")) is not None:
            found.left_out.setdefault(tower, []).append(header.name)
            continue
        if OF_TRAINING in inner:
            continue
        module, part = _part(file, header.name, inner)
        weight = f"{module}.weight" if module == HEAD else f"model.{module}.weight"
        if weight.startswith(unused):
            found.left_out.setdefault(UNUSED, []).append(header.name)
            continue
        parts = found.parts.setdefault(weight, {})
        if part in parts and part is Part.MAGNITUDE and same_bytes(file, parts[part], header):
            continue  # peft saves a head's magnitudes twice where it saves embedding layers: `….weight` too
        if part in parts:
            raise CheckpointError(
                file.path,
                f"tensors {parts[part].name:.200} and {header.name:.200} are the same part of one weight",
                "two adapters were mixed up, or one was saved twice; save the one you mean again",
            )
        parts[part] = header
        outer = _without_pefts_own(words[: len(words) - len(inner)])
        found.spelled.setdefault(weight, set()).add(".".join([*outer, module]))
    return found


def _towers(spec: ModelSpec) -> dict[str, str]:
    """Words that begin a tower's tensors, to what it is; this family's last, as some mean two things."""
    families = sorted(MULTIMODAL.values(), key=lambda family: family.text_type == spec.model_type)
    return {word: part for family in families for word, part in family.parts.items()}


def _part(file: SafetensorsFile, name: str, words: list[str]) -> tuple[str, Part]:
    """The module's name, and the part of its weight."""
    ends = (i for i, word in enumerate(words) if word in FIRST_WORDS or word.startswith("lora_"))
    cut = next(ends, len(words))
    module, part = words[:cut], _ending(tuple(words[cut:]))
    if part is None or not module or (module[0] not in TEXT and module != [HEAD]):
        raise CheckpointError(
            file.path,
            f"tensor {name:.200} is no part of a LoRA on a Gemma that this version knows",
            "merge the adapter with peft's merge_and_unload() and export the result",
        )
    return ".".join(module), part


def _ending(words: tuple[str, ...]) -> Part | None:
    """The part; where a whole state dict was saved, the adapter's name ("default") stands between."""
    if words in ENDINGS or not words or words[0] not in WITH_ADAPTERS_NAME:
        return ENDINGS.get(words)
    places = (i for i in range(1, len(words)) if words[i - 1] != "weight")
    shorter = (words[:i] + words[i + 1 :] for i in places)
    return next((ENDINGS[ending] for ending in shorter if ending in ENDINGS), None)


def _without_pefts_own(words: Iterable[str]) -> list[str]:
    """Words before the root as peft's model has them, without its own two."""
    found = list(words)
    if found[:1] == ["base_model"]:
        return found[2:] if found[1:2] == ["model"] else found[1:]
    return found


def same_bytes(file: SafetensorsFile, one: TensorHeader, other: TensorHeader) -> bool:
    """Whether two tensors hold the same numbers in the same type. Reads both."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    for at in range(0, one.nbytes, COMPARED_AT_ONCE):
        count = min(COMPARED_AT_ONCE, one.nbytes - at)
        if file.read_bytes(one.name, at, count) != file.read_bytes(other.name, at, count):
            return False
    return True


def left_out_shapes(tensors: AdapterTensors) -> Mapping[str, tuple[int, ...]]:
    """Shapes that count the parameters left out."""
    return {name: header.shape for name, header in tensors.file.tensors.items()}
