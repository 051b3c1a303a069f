"""`open_source`: which source a `--model` reference means. An explicit table, tried in order.

Not about names of models on the Hub: they are not resolved here.
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError

SAMPLE = "sample"


def open_source(reference: str | None) -> CheckpointSource:
    """(1) nothing or "sample": the sample; (2) a directory: Hugging Face; (3) a .gguf file: GGUF.

    Raises UsageError for anything else, and what the source raises on opening.
    """
    # Imported here: both load libraries that `--help` has no use for.
    from exporter.checkpoints.gguf_source import GgufSource
    from exporter.checkpoints.huggingface_source import HuggingFaceSource
    from exporter.checkpoints.sample import sample_documents, sample_path

    # (1)
    if reference is None or reference == SAMPLE:
        return GgufSource.open(sample_path(), sample_documents())
    path = Path(reference).expanduser()
    # (2)
    if path.is_dir():
        return HuggingFaceSource.open(path)
    # (3)
    if path.suffix == ".gguf" and path.is_file():
        return GgufSource.open(path)
    raise UsageError(
        f"--model {reference}",
        f"is not {SAMPLE!r}, not a directory and not a .gguf file (looked at {path.absolute()})",
        "give a Hugging Face directory, a GGUF file, or nothing for the sample",
    )


def open_checkpoint(reference: str | None, adapter: Path | None) -> CheckpointSource:
    """`open_source`, with a LoRA adapter directory merged into it where one is given."""
    from exporter.checkpoints.lora import LoraSource

    base = open_source(reference)
    return base if adapter is None else LoraSource.open(base, adapter)
