"""`open_source`: which source a `--model` reference means. An explicit table, tried in order.

Not about what the names of published models are (`exporter.models.published_names`) or how they are
fetched (`hub`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from exporter.checkpoints.files.hub_layout import CONFIG
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.models.components import EVERY_COMPONENT
from exporter.models.published import published_ids
from exporter.models.published_names import PublishedName, resolve_name
from runtimes.excerpt import plain_excerpt
from runtimes.manifest import MANIFEST_NAME, SUMS_NAME, ComponentName

SAMPLE = "sample"
QUANTISED = "quantized.json"  # in every quantised checkpoint (`quantization.store.journal`)
PROJECTOR = "mmproj"  # how llama.cpp's files of towers begin, which are no models


def open_source(
    reference: str | None, wanted: Collection[ComponentName] = EVERY_COMPONENT
) -> CheckpointSource:
    """(1) nothing or "sample": the sample; (2) a directory: Hugging Face; (3) a .gguf file: GGUF; (4) a
    published model's name: a directory of the Hub's cache, fetched if it is not there. wanted: components
    that are taken where they are there.

    Raises UsageError for anything else, and what the source raises on opening.
    """
    # What reads GGUF is imported where it is needed: it loads what `--help` has no use for, and is no part
    # of a light installation, which is to say what it does not know of a name too.
    # (1)
    if reference is None or reference == SAMPLE:
        from exporter.checkpoints.gguf.source import GgufSource
        from exporter.checkpoints.sample import sample_documents, sample_path

        return GgufSource.open(sample_path(), sample_documents())
    _require_name(reference)
    path = local_path(reference)
    # (2)
    if _is_directory(path):
        return open_directory(path, wanted)
    # (3)
    if _is_gguf(path):
        from exporter.checkpoints.gguf.source import GgufSource

        return GgufSource.open(path)
    # (4)
    if (name := resolve_name(reference)) is not None:
        from exporter.checkpoints.huggingface.hub import fetch

        return open_directory(fetch(name), wanted)
    raise UsageError(
        f"--model {plain_excerpt(reference)}",
        f"is not {SAMPLE!r}, not a directory and not a .gguf file (looked at "
        f"{plain_excerpt(path.absolute())}), and no published Gemma is called that",
        f"give a directory, a file, nothing for the sample, or a name: {', '.join(published_ids())}",
    )


def open_directory(path: Path, wanted: Collection[ComponentName] = EVERY_COMPONENT) -> CheckpointSource:
    """The source over a directory as the Hub lays it out.

    Raises UsageError for one of GGUF files alone, and for what gemma-export made of a checkpoint.
    """
    if (made := _made_here(path)) is not None:
        raise UsageError(
            f"--model {plain_excerpt(path)}",
            f"is a {made} that gemma-export made, and whose weights are rounded",
            "give the checkpoint it was made from, or see what validate, run and compare take",
        )
    files = sorted(each.name for each in path.glob("*.gguf") if not each.name.startswith(PROJECTOR))
    if files and not (path / CONFIG).exists():
        raise UsageError(
            f"--model {plain_excerpt(path)}",
            f"is a directory without {CONFIG}, and a GGUF is named itself",
            f"give --model {plain_excerpt(path / files[0])}",
        )
    from exporter.checkpoints.huggingface.source import HuggingFaceSource

    return HuggingFaceSource.open(path, wanted)


def published_name(reference: str | None) -> PublishedName | None:
    """What `open_source` will fetch for `reference`: None where it is the sample, a directory or a file.

    Needs no network. Raises UsageError for a Gemma that is not exported, and for a name that is none.
    """
    if reference is None:
        return None
    _require_name(reference)
    path = local_path(reference)
    return None if _is_directory(path) or _is_gguf(path) else resolve_name(reference)


def open_checkpoint(
    reference: str | None, adapter: Path | None, components: Collection[ComponentName] | None = None
) -> CheckpointSource:
    """`open_source`, with a LoRA adapter directory merged into it where one is given.

    components: those it must have, and no others; None for all that it has. Raises UsageError for one that
    it does not have, CheckpointError for an adapter that lies beside the model and was not asked for, and
    as `open_source` does.
    """
    source = open_as_far_as_there(reference, adapter, EVERY_COMPONENT if components is None else components)
    require_components(source.name, source.components, components)
    return source


def open_as_far_as_there(
    reference: str | None, adapter: Path | None, components: Collection[ComponentName]
) -> CheckpointSource:
    """The same, without those of the components that it does not have."""
    from exporter.checkpoints.adapters.source import LoraSource, refuse_adapter_beside, require_adapter
    from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory

    if reference is not None:
        _require_name(reference)
    if reference is not None and reference != SAMPLE and _is_directory(path := local_path(reference)):
        refuse_adapter_beside(path, adapter)
    if adapter is not None:
        require_adapter(CheckpointDirectory(adapter))  # before its base is fetched
    base = open_source(reference, components)
    return base if adapter is None else LoraSource.open(base, adapter)


def require_components(
    name: str, there: Collection[ComponentName], wanted: Collection[ComponentName] | None
) -> None:
    """Raise UsageError where the model called `name` lacks one that was asked for. wanted: None for all."""
    if lacking := sorted(set(wanted or ()) - set(there)):
        raise UsageError(
            f"--components {','.join(wanted or ())}",
            f"{name} has no {lacking[0]} here (config.json describes none; a GGUF has no towers in it)",
            "leave it out to take what there is",
        )


def _made_here(path: Path) -> str | None:
    if (path / QUANTISED).is_file():
        return "quantised checkpoint"
    return "release" if all((path / name).is_file() for name in (MANIFEST_NAME, SUMS_NAME)) else None


def _require_name(reference: str) -> None:
    """Raise UsageError for an empty name, which would be the current directory, and for bytes that are no
    UTF-8, which the libraries that read a checkpoint take no names of."""
    if not reference:
        raise UsageError("--model", "is empty", "name a model, or leave it out for the sample")
    try:
        reference.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"--model {plain_excerpt(reference)}", "is not UTF-8", "rename it, and give the new name"
        ) from error


def local_path(reference: str) -> Path:
    """As a shell reads it; `~nobody` of a user who is not there is a name like any other."""
    try:
        return Path(reference).expanduser()
    except RuntimeError:
        return Path(reference)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name no file system has
        return False


def _is_gguf(path: Path) -> bool:
    try:
        return path.suffix.lower() == ".gguf" and path.is_file()
    except (OSError, ValueError):
        return False
