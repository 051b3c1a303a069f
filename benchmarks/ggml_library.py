"""llama.cpp's own quantisers, called: ggml's base library built from source and loaded by ctypes.

The source is the sdist of llama-cpp-python on PyPI, fetched with pip; gcc builds three of its files into
one shared library in the user's cache, once. Nothing of it is copied into this tree. Not about which tensor
gets which type (`ggml_mixes`).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtimes.cache_directory import cache_directory

VERSION = "0.3.36"  # of llama-cpp-python
SOURCES = ("ggml.c", "ggml-quants.c", "ggml-threading.cpp")
# ggml.h, enum ggml_type.
NUMBERS = ((0, "F32"), (1, "F16"), (2, "Q4_0"), (3, "Q4_1"), (6, "Q5_0"), (7, "Q5_1"), (8, "Q8_0"))
NUMBERS_OF_256 = ((12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K"), (20, "IQ4_NL"), (23, "IQ4_XS"))
TYPES = {name: number for number, name in (*NUMBERS, *NUMBERS_OF_256)}
SHARE = 1 << 21  # weights a thread quantises at once

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class _Traits(ctypes.Structure):
    """ggml.h, struct ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


class GgmlLibrary:
    """Quantising and dequantising rows. type: a key of TYPES."""

    def __init__(self, path: Path) -> None:
        # Lazily: what ggml.c calls of other files is never reached from here.
        self._library = ctypes.CDLL(str(path), mode=os.RTLD_LAZY)
        number, pointer = ctypes.c_int64, ctypes.c_void_p
        self._library.ggml_quantize_chunk.restype = ctypes.c_size_t
        self._library.ggml_quantize_chunk.argtypes = (
            *(ctypes.c_int, pointer, pointer),
            *(number, number, number, pointer),
        )
        self._library.ggml_row_size.restype = ctypes.c_size_t
        self._library.ggml_row_size.argtypes = (ctypes.c_int, number)
        self._library.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
        self._library.ggml_get_type_traits.argtypes = (ctypes.c_int,)
        for name, number_of_type in TYPES.items():
            if (found := self._traits(name).type_name.decode()).upper() != name:
                raise RuntimeError(f"{path}: type {number_of_type} is {found}, expected {name}")

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(os.cpu_count() or 1)  # ctypes lets go of the interpreter's lock

    def _traits(self, type: str) -> _Traits:
        found: _Traits = self._library.ggml_get_type_traits(TYPES[type]).contents
        return found

    def block(self, type: str) -> int:
        """Weights that share a block, which a row's must be a multiple of."""
        return int(self._traits(type).blck_size)

    def row_bytes(self, type: str, inputs: int) -> int:
        """Bytes of a row of `inputs` weights."""
        return int(self._library.ggml_row_size(TYPES[type], inputs))

    def quantise(self, type: str, rows: Floats, importance: Floats | None) -> Bytes:
        """rows: [rows, in]; importance: of each input, [in]. Returns [rows, row_bytes]."""
        rows = np.ascontiguousarray(rows, np.float32)
        count, inputs = rows.shape
        packed = np.zeros((count, self.row_bytes(type, inputs)), np.uint8)
        weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
        step = max(1, SHARE // inputs)

        def one(start: int) -> int:
            stop = min(count, start + step)
            written = self._library.ggml_quantize_chunk(
                *(TYPES[type], rows[start:stop].ctypes.data, packed[start:stop].ctypes.data),
                *(0, stop - start, inputs, None if weights is None else weights.ctypes.data),
            )
            return int(written)

        if sum(self._pool.map(one, range(0, count, step))) != packed.nbytes:
            raise RuntimeError(f"ggml_quantize_chunk did not fill {count} rows of {type}")
        return packed

    def values(self, type: str, packed: Bytes, inputs: int) -> Floats:
        """What packed rows [rows, row_bytes] mean, [rows, in]."""
        packed = np.ascontiguousarray(packed)
        rows = np.empty((len(packed), inputs), np.float32)
        if type == "F32":
            return packed.view(np.float32).reshape(rows.shape)
        self._traits(type).to_float(packed.ctypes.data, rows.ctypes.data, rows.size)
        return rows


def ggml_library() -> GgmlLibrary:
    """The library, built on first use. Raises CalledProcessError where pip or the compiler fails."""
    path = cache_directory() / f"ggml-{VERSION}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            _build(Path(place), path)
    return GgmlLibrary(path)


def _build(scratch: Path, path: Path) -> None:
    package = "llama-cpp-python"
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package)
    subprocess.run([*pip, f"{package}=={VERSION}", "--dest", str(scratch)], check=True)
    (archive,) = scratch.glob("*.tar.gz")
    inside = f"llama_cpp_python-{VERSION}/vendor/llama.cpp/ggml"
    wanted = tuple(f"{inside}/{each}/" for each in ("include", "src"))
    with tarfile.open(archive) as opened:
        # Plain files alone: `filter="data"`, which says so, is not in every Python 3.11.
        named = (each for each in opened if each.isfile() and each.name.startswith(wanted))
        opened.extractall(scratch, [each for each in named if ".." not in Path(each.name).parts])
    sources = scratch / inside / "src"
    (sources / "ggml-version.h").write_text('#define GGML_VERSION "0"\n#define GGML_COMMIT "0"\n')
    flags = ("-O3", "-march=native", "-fPIC", "-shared", "-D_GNU_SOURCE", "-I../include", "-I.")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    command = ["gcc", *flags, "-o", str(partial), *SOURCES, "-lm", "-lstdc++"]
    subprocess.run(command, cwd=sources, check=True)
    partial.replace(path)
