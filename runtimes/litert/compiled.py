"""Compiling a .tflite with LiteRT for the CPU, its log kept off the terminal and its refusals explained.

Not about signatures or how they are called (`session`).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.native_log import NativeLog, native_log_kept

CACHE_NAME = "xnnpack.cache"


def require_litert() -> None:
    """Raise RuntimeUnavailable without ai-edge-litert."""
    try:
        import ai_edge_litert.compiled_model  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise RuntimeUnavailable(
            "ai-edge-litert is not installed here; pip install 'gemma-export[run-litert]'"
        ) from error


def require_room_to_pack(scratch: Path, packed: int) -> None:
    """Raise OSError where XNNPACK's packed copy of weights, of so many bytes, may not fit into `scratch`.

    XNNPACK aborts the process where the disk fills up while it packs.
    """
    free = shutil.disk_usage(scratch).free
    if free < packed:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: XNNPACK's copy of the weights takes up to {packed >> 10} KiB, "
            f"{free >> 10} KiB are free",
            str(scratch),
        )


@contextmanager
def refusals_explained(path: Path) -> Iterator[None]:
    """Turn the runtime's refusal of what was made of `path` into an ArtifactError with its log."""
    log = NativeLog()
    try:
        with native_log_kept() as log:
            yield
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: LiteRT refuses it ({log.errors() or error}); export it again"
        ) from error


def compile_model(path: Path, scratch: Path, threads: int) -> Any:
    """A CompiledModel with an environment of its own. Call it inside `refusals_explained`.

    scratch: directory for XNNPACK's packed copy of the weights. Mapped from there it costs no anonymous
    memory, unless the directory is itself in memory (tmpfs).
    """
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.environment import Environment
    from ai_edge_litert.options import CpuOptions, HardwareAccelerator, Options

    options = Options(
        hardware_accelerators=HardwareAccelerator.CPU,
        cpu_options=CpuOptions(
            num_threads=threads,
            # A cache made for another model would be used unchecked, so it is never kept.
            xnnpack_weight_cache_path=str(scratch / CACHE_NAME),
        ),
    )
    return CompiledModel.from_file(str(path), environment=Environment.create(), options=options)


def close_model(model: Any) -> None:
    """Release a model after its buffers."""
    environment = model.environment
    with native_log_kept():
        model.close()
        environment.close()
