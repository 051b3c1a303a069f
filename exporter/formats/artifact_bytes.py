"""The files of an artifact and their bytes: what its driver opens, and the weights beside that.

Not about what it takes in memory (`held_memory`).
"""

from __future__ import annotations

from pathlib import Path

# In a web release that takes images, the graph of tokens points into the data files of these two: a browser
# opens no data file but one that is called as its graph is.
SHARED = ("decoder_model_merged", "embed_tokens")


def artifact_bytes(path: Path) -> int:
    """Of all its files."""
    return sum(each.stat().st_size for each in artifact_files(path))


def artifact_files(path: Path) -> tuple[Path, ...]:
    """A directory's, or a file and those whose names begin with its own: ONNX keeps its weights beside the
    graph, in `SHARED` files where it says so."""
    if path.is_dir():
        files = list(path.rglob("*"))
    else:
        rest = path.name.removeprefix("model")
        shared = [path.with_name(f"{name}{rest}_data") for name in SHARED]
        files = [*path.parent.glob(f"{path.name}*"), *(shared if path.name != rest else ())]
    return tuple(each for each in files if each.is_file())
