"""What a GGUF does not say: the full config.json of each model we know, and how to recognise it.

A Gemma GGUF leaves out numbers that readers hard-code per architecture (and get wrong for some sizes),
so they come from the table of published models, and the file's metadata must agree with every one it
states. Not about the keys they are stated under (`expected_metadata`) or about tensors (`tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exporter.checkpoints.gguf.expected_metadata import PREFIXES, PerLayer, Stated, agrees, stated_metadata
from exporter.checkpoints.gguf.file import GgufFile, MetadataValue
from exporter.errors import SpecError
from exporter.models.published import published_config, published_ids
from exporter.models.text.families import read_spec
from exporter.models.text.families.limits import MOST_POSITIONS
from runtimes.excerpt import excerpt

# Gemma 3 from 4B has 64 rows more than its tokenizer has entries; converters keep or drop them.
GEMMA3_TOKENIZER_ENTRIES = 262144
TOKEN_EMBEDDING = "token_embd.weight"
ANOTHER_FILE = "the file is a variant this version cannot export; give a Hugging Face directory"

# Kinds of file that are near a Gemma and not one: general.architecture to what it is.
NOT_SUPPORTED = {
    "gemma3n": "Gemma 3n, which is not supported",
    "gemma-embedding": "an embedding model, which generates no text",
    "gemma4-assistant": "the drafter of a Gemma 4, which needs its model beside it",
    "gemma4_assistant": "the drafter of a Gemma 4, which needs its model beside it",
    "diffusion-gemma": "a diffusion model, which is not supported",
}
# general.type, as gguf-py has it: what the file is, and what to give in its place.
LANGUAGE_MODEL = "model"
NO_MODELS = {
    "mmproj": (
        "the vision or audio projector (mmproj) of a model, not its language model",
        "give the GGUF of the language model",
    ),
    "adapter": (
        "a LoRA adapter, not a model",
        "give the model's GGUF as --model and the adapter in PEFT's layout",
    ),
    "imatrix": (
        "an importance matrix (imatrix), which quantisers are given, not a model",
        "give the GGUF of the model",
    ),
}
TOWERS = ("vision", "audio", "mm")  # second words of keys in files that hold a model and its towers


@dataclass(frozen=True)
class GgufArchitecture:
    """One published model. prefix: GGUF's name of the family. stated: what its metadata may say.

    A key of `stated` may be absent from a file; a key of the family that is not in `stated` may not
    be there: it changes the model in a way this table does not know.
    fewest_tokens: rows the embedding has at least, where converters may have dropped unused ones.
    remarks: how a file differs from what is published, a sentence each.
    """

    name: str
    prefix: str
    config: Mapping[str, Any]
    stated: Mapping[str, Stated]
    fewest_tokens: int
    remarks: tuple[str, ...] = ()

    @staticmethod
    def of(name: str, config: Mapping[str, Any], fewest_tokens: int | None = None) -> GgufArchitecture:
        """The entry of a model by its config.json. Raises SpecError where that is not complete."""
        spec = read_spec(config, name)
        return GgufArchitecture(
            name,
            PREFIXES[spec.model_type],
            config,
            stated_metadata(spec),
            spec.vocab_size if fewest_tokens is None else fewest_tokens,
        )

    def fitted_to(self, file: GgufFile) -> GgufArchitecture:
        """The same model with as many embedding rows as the file has, where it may have fewer, and with the
        file's own context length.

        Raises SpecError for a vocabulary of another size, and for a context that is none.
        """
        embedding = file.tensors.get(TOKEN_EMBEDDING)
        rows = self.config["vocab_size"] if embedding is None else embedding.shape[0]
        if not self.fewest_tokens <= rows <= self.config["vocab_size"]:
            raise SpecError(
                f"{file.path}: {TOKEN_EMBEDDING}",
                f"has {rows} rows, {self.name} has {self.config['vocab_size']}: its vocabulary was resized",
                "give the Hugging Face directory of the fine-tune, which says what the tokens are",
            )
        context = file.metadata.get(f"{self.prefix}.context_length", self.context_length)
        if type(context) is not int or not 0 < context <= MOST_POSITIONS:
            raise SpecError(
                f"{file.path}: {self.prefix}.context_length",
                f"is {_spelled(context)}, not a number of tokens",
                "convert the model to GGUF again",
            )
        changed = {"vocab_size": rows, "max_position_embeddings": context}
        if changed.items() <= self.config.items():
            return self
        fitted = GgufArchitecture.of(self.name, {**self.config, **changed}, self.fewest_tokens)
        return (
            fitted if context == self.context_length else replace(fitted, remarks=(self._remark(context),))
        )

    @property
    def context_length(self) -> int:
        length: int = self.config["max_position_embeddings"]
        return length

    def _remark(self, context: int) -> str:
        return (
            f"The file's context length is {context} tokens, {self.name} is published with "
            f"{self.context_length}: the file's was taken."
        )


def _published(model_id: str) -> GgufArchitecture:
    config = published_config(model_id)
    dropped = config["model_type"] == "gemma3_text" and config["vocab_size"] > GEMMA3_TOKENIZER_ENTRIES
    return GgufArchitecture.of(model_id, config, GEMMA3_TOKENIZER_ENTRIES if dropped else None)


ARCHITECTURES = tuple(_published(model_id) for model_id in published_ids())


def recognise(file: GgufFile, known: tuple[GgufArchitecture, ...]) -> GgufArchitecture:
    """The table's entry for this file, its metadata checked against every number.

    Raises SpecError for a file that is no language model, for a model that is not in the table, and for
    metadata that contradicts it.
    """
    prefix = file.word("general.architecture")
    _refuse_by_name(file, prefix)
    stated = (file.metadata.get(f"{prefix}.{key}") for key in ("block_count", "embedding_length"))
    # Nothing but a number is compared: an array is equal to some of what it is compared with.
    layers, hidden = (value if type(value) is int else None for value in stated)
    for entry in known:
        size = tuple(entry.stated[f"{entry.prefix}.{key}"] for key in ("block_count", "embedding_length"))
        if (prefix, layers, hidden) == (entry.prefix, *size):
            fitted = entry.fitted_to(file)
            _require_agreement(file, fitted)
            return fitted
    raise SpecError(
        file.path,
        f"a {excerpt(prefix)} of {layers} layers and width {hidden} is not a model known as GGUF",
        f"known are {', '.join(entry.name for entry in known)}; give a Hugging Face directory for others",
    )


def _refuse_by_name(file: GgufFile, prefix: str | None) -> None:
    kind = "mmproj" if prefix == "clip" else file.word("general.type")
    if kind is not None and kind != LANGUAGE_MODEL:
        unknown = f"a file of general.type {excerpt(kind)}, not a model", "give the GGUF of a model"
        what, then = NO_MODELS.get(kind, unknown)
        raise SpecError(file.path, f"is {what}", then)
    if prefix is not None and prefix in NOT_SUPPORTED:
        raise SpecError(
            file.path, f"is {NOT_SUPPORTED[prefix]}", "give a Gemma 1, 2 or 3, or a dense Gemma 4"
        )
    experts = file.metadata.get(f"{prefix}.expert_count", 0)
    if prefix == "gemma4" and experts != 0:
        raise SpecError(
            file.path,
            "is the Gemma 4 mixture of experts (26B-A4B), which is not supported",
            "choose a dense Gemma 4: E2B, E4B, 12B or 31B",
        )


def _require_agreement(file: GgufFile, entry: GgufArchitecture) -> None:
    for key, value in file.metadata.items():
        family, _, rest = key.partition(".")
        if family != entry.prefix:
            continue
        if key not in entry.stated and rest.partition(".")[0] in TOWERS:
            raise SpecError(
                f"{file.path}: {key}",
                "belongs to a tower: the file holds a model and its towers, as ollama lays them out",
                "give llama.cpp's GGUF, which has the language model alone, or a Hugging Face directory",
            )
        if key not in entry.stated:
            raise SpecError(
                f"{file.path}: {key}",
                f"is not a key of {entry.name} and may change what it computes",
                "use a newer gemma-export, or a Hugging Face directory",
            )
        if not agrees(value, entry.stated[key]):
            raise SpecError(
                f"{file.path}: {key}",
                f"is {_spelled(value)}, {entry.name} has {_spelled(entry.stated[key])}",
                ANOTHER_FILE,
            )


def _spelled(value: MetadataValue | Stated) -> str:
    match value:
        case PerLayer(values):
            return str(values[0]) if len(set(values)) == 1 else excerpt(list(values))
        case bool() | int() | float() | str() | tuple():
            return excerpt(value)
    return excerpt(value.tolist())
