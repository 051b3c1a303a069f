"""`open_source`: which source a `--model` reference means. An explicit table, tried in order.

Not about what the names of published models are (`exporter.models.published_names`) or how they are
fetched (`hub`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.models.published import published_ids
from exporter.models.published_names import PublishedName, resolve_name

SAMPLE = "sample"


def open_source(reference: str | None) -> CheckpointSource:
    """(1) nothing or "sample": the sample; (2) a directory: Hugging Face; (3) a .gguf file: GGUF; (4) a
    published model's name: a directory of the Hub's cache, fetched if it is not there.

    Raises UsageError for anything else, and what the source raises on opening.
    """
    # Imported here: they load libraries that `--help` has no use for.
    from exporter.checkpoints.gguf.source import GgufSource
    from exporter.checkpoints.sample import sample_documents, sample_path

    # (1)
    if reference is None or reference == SAMPLE:
        return GgufSource.open(sample_path(), sample_documents())
    path = Path(reference).expanduser()
    # (2)
    if path.is_dir():
        return open_directory(path)
    # (3)
    if _is_gguf(path):
        return GgufSource.open(path)
    # (4)
    if (name := resolve_name(reference)) is not None:
        from exporter.checkpoints.huggingface.hub import fetch

        return open_directory(fetch(name))
    raise UsageError(
        f"--model {reference}",
        f"is not {SAMPLE!r}, not a directory and not a .gguf file (looked at {path.absolute()}), and no "
        "published Gemma is called that",
        f"give a directory, a file, nothing for the sample, or a name: {', '.join(published_ids())}",
    )


def open_directory(path: Path) -> CheckpointSource:
    """The source over a directory as the Hub lays it out."""
    from exporter.checkpoints.huggingface.source import HuggingFaceSource

    return HuggingFaceSource.open(path)


def published_name(reference: str | None) -> PublishedName | None:
    """What `open_source` will fetch for `reference`: None where it is the sample, a directory or a file.

    Needs no network. Raises UsageError for a Gemma that is not exported.
    """
    if reference is None:
        return None
    path = Path(reference).expanduser()
    return None if path.is_dir() or _is_gguf(path) else resolve_name(reference)


def open_checkpoint(reference: str | None, adapter: Path | None) -> CheckpointSource:
    """`open_source`, with a LoRA adapter directory merged into it where one is given.

    Raises CheckpointError for an adapter that lies beside the model and was not asked for.
    """
    from exporter.checkpoints.adapters.source import LoraSource, refuse_adapter_beside

    if reference not in (None, SAMPLE) and (path := Path(str(reference)).expanduser()).is_dir():
        refuse_adapter_beside(path, adapter)
    base = open_source(reference)
    return base if adapter is None else LoraSource.open(base, adapter)


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf" and path.is_file()
