"""What a tower's graph for browsers has not: what WebGPU refuses or computes wrong, each seen there.

Not asserted: what it computes (tests/parity/test_web_images.py), nor a browser (test_web_senses.py there).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.formats.held_memory import OpenedModel
from exporter.formats.table import family_of
from exporter.schemes import INT8_CHANNEL
from runtimes.formats import Format
from runtimes.images.prepared import PreparedImage
from runtimes.onnx.image_encoder import PIXELS, POSITIONS, OnnxImageEncoder
from runtimes.onnx.session import inference_session
from tests.seen_pictures import picture
from tests.unit.exporter.lowering.onnx.seeing_releases import SeeingRelease, seeing_release

PADDING = 27  # patches


@pytest.fixture(scope="module", params=["Gemma 3", "Gemma 4 E2B", "Gemma 4 31B"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    return seeing_release(tmp_path_factory.mktemp("web"), request.param, "onnx-web", chat_template=None)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Those of what is run for each picture too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def test_no_attention_of_onnx_runtimes_own_and_no_fp16_that_is_looked_up(release: SeeingRelease) -> None:
    model = onnx.load(str(release.directory / release.encoder.path), load_external_data=False)
    nodes = list(nodes_of(model.graph))
    halves = {each.name for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16}
    kinds = {node.op_type for node in nodes}
    assert not kinds & {"MultiHeadAttention", "Attention", "GroupQueryAttention"}
    assert any(kind.startswith("AttendBy") for kind in kinds)
    assert halves, "of patches and positions"
    assert not [node.name for node in nodes if node.op_type == "Gather" and node.input[0] in halves]


def test_padding_makes_no_difference(release: SeeingRelease) -> None:
    """transformers.js gives as many patches as there is room for, most of them none."""
    seen: PreparedImage = picture(release.spec)
    if seen.positions is None:
        return  # a SigLIP is given whole squares
    with OnnxImageEncoder(release.opening) as encoder:
        expected = encoder.rows(seen)
    session = inference_session(release.directory / release.encoder.path, 2)
    room = ((0, 0), (0, PADDING), (0, 0))
    given = {
        PIXELS: np.pad(seen.pixels, room),
        POSITIONS: np.pad(seen.positions.astype(np.int64), room, constant_values=-1),
    }
    (found,) = session.run(None, given)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)


def test_a_base_model_has_an_empty_template_without_which_no_processor_opens(
    release: SeeingRelease,
) -> None:
    assert (release.directory / "chat_template.jinja").read_bytes() == b""


def test_a_processors_graph_keeps_what_its_kernels_are_fastest_at(tmp_path: Path) -> None:
    release = seeing_release(tmp_path, "Gemma 4 E2B", "onnx")
    model = onnx.load(str(release.directory / release.encoder.path), load_external_data=False)
    assert "MultiHeadAttention" in {node.op_type for node in nodes_of(model.graph)}


def stored_in(graph: Path, weight: str) -> dict[str, int]:
    """Bytes of a weight that a graph reads, by data file."""
    found: dict[str, int] = {}
    for tensor in onnx.load(str(graph), load_external_data=False).graph.initializer:
        facts = {each.key: each.value for each in tensor.external_data}
        if facts and tensor.name.startswith(f"{weight}."):
            found[facts["location"]] = found.get(facts["location"], 0) + int(facts["length"])
    return found


@pytest.mark.parametrize("format", ["onnx-web", "onnx"])
def test_a_tied_table_is_in_both_data_files_as_it_is_counted(format: Format, tmp_path: Path) -> None:
    seeing = seeing_release(tmp_path, "Gemma 4 E2B", format)
    spec = seeing.checkpoint.components["text"].spec
    graphs = [
        *(seeing.directory / "onnx").glob("embed*.onnx"),
        *(seeing.directory / "onnx").glob("dec*.onnx"),
    ]
    found = [stored_in(each, spec.head_name) for each in graphs]
    assert len(found) == 2
    assert all(found), "one looks rows up, the other multiplies"
    files = {name: size for each in found for name, size in each.items()}
    (size,) = set(files.values())
    assert len(files) == (2 if format == "onnx-web" else 1)
    schemes = {each.name: INT8_CHANNEL for each in spec.weights() if each.is_matrix}
    opened = OpenedModel(spec, schemes, format, "CPU", 64, 16, 0, 0)
    counted = family_of(format).written(replace(opened, rows=True)) - family_of(format).written(opened)
    assert counted == pytest.approx(sum(files.values()) - size, rel=0.1)
