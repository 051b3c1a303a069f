"""Which safetensors file holds which tensor of a Hub directory, in one file or in shards.

Not about what the names mean (`text_tensors`) or about dtypes (`tensor_set`). Pickle files
(pytorch_model.bin) are refused, not read: loading one runs whatever code it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import PICKLES, WEIGHTS, WEIGHTS_INDEX
from exporter.checkpoints.files.safetensors_file import SafetensorsFile, TensorHeader
from exporter.errors import CheckpointError
from runtimes.excerpt import plain_excerpt


@dataclass(frozen=True)
class StoredTensor:
    """A tensor where it lies. `header.name` is its name in the file, whatever we call it."""

    file: SafetensorsFile
    header: TensorHeader

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes of its data from byte `offset`. Raises CheckpointError for a file cut short."""
        return self.file.read_bytes(self.header.name, offset, count)


def find_weights(directory: CheckpointDirectory) -> dict[str, StoredTensor]:
    """Every tensor of the directory by the name it is stored under. Reads headers only.

    Raises CheckpointError where there are no safetensors, where a file is missing or damaged, and where
    index and shards do not belong together.
    """
    if directory.has(WEIGHTS):
        return _tensors(SafetensorsFile.open(directory.file(WEIGHTS)))
    if directory.has(WEIGHTS_INDEX):
        return _sharded(directory)
    pickles = sorted(entry.name for entry in directory.path.iterdir() if entry.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            directory.path / pickles[0],
            "is a pickle, which runs code when it is loaded, and there are no safetensors beside it",
            "convert it with transformers' save_pretrained on a machine you can lose",
        )
    raise CheckpointError(
        directory.path,
        f"there is no {WEIGHTS} and no {WEIGHTS_INDEX}",
        "give a directory with safetensors weights",
    )


def _tensors(file: SafetensorsFile) -> dict[str, StoredTensor]:
    return {name: StoredTensor(file, header) for name, header in file.tensors.items()}


def _sharded(directory: CheckpointDirectory) -> dict[str, StoredTensor]:
    index = directory.path / WEIGHTS_INDEX
    placed = directory.json(WEIGHTS_INDEX).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(shard, str) for shard in placed.values()):
        raise CheckpointError(index, "has no weight_map of names to files", "fetch it again")
    found: dict[str, StoredTensor] = {}
    paths = {shard: directory.file(shard) for shard in sorted(set(placed.values()))}
    for shard, path in paths.items():
        file = SafetensorsFile.open(path)
        listed = {name for name, home in placed.items() if home == shard}
        if astray := sorted(listed.symmetric_difference(file.tensors)):
            where = "is in the index but not there" if astray[0] in listed else "is not in the index"
            raise CheckpointError(
                file.path,
                f"tensor {plain_excerpt(astray[0])} {where}",
                "index and shard do not belong together, fetch both",
            )
        found |= _tensors(file)
    return found
