"""`Embedder`: a small LiteRT model that turns one token into vectors.

Bundles of Gemma 4 E look tokens up outside the text model, as LiteRT-LM does. Not about the text model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError
from runtimes.litert.calls import TOKENS
from runtimes.litert.compiled import close_model, compile_model
from runtimes.litert.container import EMBEDDER, EMBEDDERS
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Tokens

EMBEDDINGS = EMBEDDERS[EMBEDDER]


@dataclass(frozen=True)
class Embedder:
    """One token in, `vectors` out. shape: theirs, [1, 1, ..]."""

    model: Any
    signature: int
    token: Any
    vectors: Any
    shape: tuple[int, ...]

    @staticmethod
    def of(model: Any, path: Path) -> Embedder:
        """Raises ArtifactError where the model is anything else. path: named in it."""
        names = list(model.get_signature_list())
        if len(names) != 1:
            raise _not_one_token(path)
        (name,) = names
        inputs, outputs = model.get_input_tensor_details(name), model.get_output_tensor_details(name)
        if [math.prod(entry["shape"]) for entry in inputs.values()] != [1] or len(outputs) != 1:
            raise _not_one_token(path)
        (token,), ((vectors, entry),) = inputs, outputs.items()
        return Embedder(
            model,
            model.get_signature_index(name),
            model.create_input_buffer_by_name(name, token),
            model.create_output_buffer_by_name(name, vectors),
            tuple(int(side) for side in entry["shape"]),
        )

    def look_up(self, tokens: Tokens) -> NDArray[np.float32]:
        """The vectors of tokens [tokens]: [1, tokens, ..]."""
        size = math.prod(self.shape)
        found = np.empty((len(tokens), size), np.float32)
        for row, token in zip(found, tokens, strict=True):
            self.token.write(np.array([[token]], np.int32))
            self.model.run_by_index(self.signature, [self.token], [self.vectors])
            row[:] = self.vectors.read(size, np.float32)
        return found.reshape(1, len(tokens), *self.shape[2:])

    def close(self) -> None:
        # Buffers before the model.
        self.token.destroy()
        self.vectors.destroy()
        close_model(self.model)


def open_embedders(files: Mapping[str, Path], scratch: Path, path: Path) -> dict[str, Embedder]:
    """Compile each file, with a directory of its own in `scratch`. Inside `refusals_explained(path)`."""
    opened = {}
    for name, file in files.items():
        own = scratch / name
        own.mkdir()
        opened[name] = Embedder.of(compile_model(file, own, 1), path)
    return opened


def with_vectors(
    inputs: Mapping[str, NDArray[Any]],
    embedders: Mapping[str, Embedder],
    placed: Sequence[PlacedRows] = (),
) -> dict[str, NDArray[Any]]:
    """A call's inputs as a text model behind embedders (by the input they fill) takes them. placed: rows
    in place of embeddings; what else is looked up there is the first entry's, as for padding."""
    if not embedders:
        return dict(inputs)
    (tokens,) = inputs[TOKENS]
    if placed:
        tokens = tokens.copy()
        for each in placed:
            tokens[each.start : each.stop] = 0
    rest = {name: values for name, values in inputs.items() if name != TOKENS}
    vectors = {name: embedder.look_up(tokens) for name, embedder in embedders.items()}
    for each in placed:
        vectors[EMBEDDINGS][0, each.start : each.stop] = each.rows
    return rest | vectors


def _not_one_token(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: an embedder in it does not take one token; export it again")
