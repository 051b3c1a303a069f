"""What the GPU accelerator is given of an artifact, and the largest tensor in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.errors import ArtifactError, BeyondAdapter
from runtimes.formats import Format
from runtimes.litert.gpu_files import gpu_files, largest_tensor, require_room
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease

TABLE = 512 * 64  # entries of the tiny vocabulary's embedding


def test_a_tflite_is_opened_from_elsewhere(tiny_release: TinyRelease, tmp_path: Path) -> None:
    path = tiny_release.directory / tiny_release.artifacts["tflite"].path
    files = gpu_files(path, tmp_path)
    assert files.text.parent == tmp_path, "caches are written beside it"
    assert files.text.read_bytes() == path.read_bytes()
    assert files.embedders == {}


@pytest.mark.parametrize("format", ["tflite", "litertlm"])
def test_a_model_is_opened_a_second_time_from_the_same_place(
    tiny_release: TinyRelease, tmp_path: Path, format: Format
) -> None:
    """A path runs the evaluation text, and then asks for facts from far back."""
    path = tiny_release.directory / tiny_release.artifacts[format].path
    before = path.read_bytes()
    first = gpu_files(path, tmp_path).text.read_bytes()
    assert gpu_files(path, tmp_path).text.read_bytes() == first
    assert path.read_bytes() == before


def test_a_bundle_s_text_model_is_cut_out_whole(tiny_release: TinyRelease, tmp_path: Path) -> None:
    directory = tiny_release.directory
    files = gpu_files(directory / tiny_release.artifacts["litertlm"].path, tmp_path)
    alone = (directory / tiny_release.artifacts["tflite"].path).read_bytes()
    assert files.text.read_bytes()[: len(alone)] == alone


def test_embedders_stay_what_the_cpu_driver_opens(embedded_release: TinyRelease, tmp_path: Path) -> None:
    path = embedded_release.directory / embedded_release.artifacts["litertlm"].path
    assert set(gpu_files(path, tmp_path).embedders) == {"embeddings", "per_layer_embeddings"}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"LITERTLM and more", b"0000TFL4" * 20):
        path = tmp_path / "model"
        path.write_bytes(content)
        (tmp_path / "scratch").mkdir(exist_ok=True)
        with pytest.raises(ArtifactError, match="export"):
            largest_tensor(path, gpu_files(path, tmp_path / "scratch").text, fp16=False)
        (tmp_path / "scratch" / "text.tflite").unlink(missing_ok=True)


def test_the_largest_tensor_is_counted_as_it_is_stored(
    tiny_release: TinyRelease, float_release: TinyRelease
) -> None:
    integers = tiny_release.directory / tiny_release.artifacts["tflite"].path
    assert largest_tensor(integers, integers, fp16=False).bytes >= TABLE
    floats = float_release.directory / float_release.artifacts["tflite"].path
    found = largest_tensor(floats, floats, fp16=False)
    assert (found.name, found.bytes) == ("model.embed_tokens.weight", TABLE * 4)
    assert largest_tensor(floats, floats, fp16=True).bytes == TABLE * 2, "half of it in fp16"


def test_a_tensor_larger_than_the_adapter_takes_is_named_with_the_limit(float_release: TinyRelease) -> None:
    path = float_release.directory / float_release.artifacts["tflite"].path
    require_room(path, path, False, TABLE * 4, "a small GPU")
    with pytest.raises(BeyondAdapter) as found:
        require_room(path, path, False, TABLE * 4 - 1, "a small GPU")
    assert str(found.value) == (
        "model.tflite needs a buffer of 131,072 bytes for model.embed_tokens.weight, and a small GPU takes "
        "131,071 at most"
    )
