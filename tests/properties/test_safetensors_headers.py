"""Headers of safetensors files: what the safetensors library refuses is refused here too, and the reverse.

Generated near what is right: three tensors laid end to end, then one number, type or tensor changed. Not
compared: the words, and dtypes this reader has no use for.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.errors import CheckpointError

SIZES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4, "I64": 8}
OFFSETS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 40), st.sampled_from([False, True, None, 1.0, "0", 2**63])
)


@st.composite
def headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """A header, and how many bytes of data follow it."""
    header: dict[str, Any] = {}
    at = 0
    for name in ("a", "b", "c"):
        dtype, shape = draw(st.sampled_from(sorted(SIZES))), draw(st.lists(st.integers(0, 3), max_size=3))
        end = at + SIZES[dtype]
        for side in shape:
            end = at + (end - at) * side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    entry = header[draw(st.sampled_from(["a", "b", "c"]))]
    match draw(st.integers(0, 6)):
        case 0:
            entry["data_offsets"][draw(st.integers(0, 1))] = draw(OFFSETS)
        case 1:
            entry["shape"] = draw(st.lists(OFFSETS, max_size=3))
        case 2:
            entry["dtype"] = draw(st.sampled_from(["F32", "XX", 3, None]))
        case 3:
            del entry[draw(st.sampled_from(sorted(entry)))]
        case 4:
            header["__metadata__"] = draw(st.sampled_from([{}, {"k": "v"}, {"k": 1}, [], None, "text"]))
        case 5:
            del header[draw(st.sampled_from(["a", "b", "c"]))]
    return header, max(0, at + draw(st.sampled_from([0, 0, 0, 0, -1, 1, 8])))


def taken_by_the_library(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return bool(file.keys() is not None)
    except SafetensorError:
        return False


def taken_here(path: Path) -> bool:
    try:
        return SafetensorsFile.open(path) is not None
    except CheckpointError:
        return False


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors") / "m.safetensors"


@settings(max_examples=400)
@given(headers())
def test_a_header_is_taken_where_the_library_takes_it(path: Path, made: tuple[dict[str, Any], int]) -> None:
    header, size = made
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    assert taken_here(path) == taken_by_the_library(path)
