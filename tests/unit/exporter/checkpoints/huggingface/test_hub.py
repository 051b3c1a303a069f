"""Fetching a checkpoint by name: the files, the cache, and every way in which it cannot be had.

The real client of the Hub runs against a fake Hub on the loopback; nothing leaves the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from huggingface_hub import constants

from exporter.checkpoints.huggingface import hub as module
from exporter.checkpoints.huggingface.hub import WANTED, fetch
from exporter.checkpoints.open import open_source
from exporter.errors import CheckpointError
from exporter.models.published_names import PublishedName, resolve_name
from tests.checkpoints import write_huggingface
from tests.fake_hub import COMMIT, FakeHub, serving, use_endpoint
from tests.unit.exporter.checkpoints.multimodal_checkpoints import write_multimodal

READ = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "LICENSE"}


def named(name: str) -> PublishedName:
    found = resolve_name(name)
    assert found is not None
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What we read, and much that is in repositories besides."""
    directory = write_huggingface(tmp_path / "repository")
    for name in ("LICENSE", "README.md", "gemma-2-2b.gguf", "pytorch_model.bin", "model.fp16.safetensors"):
        (directory / name).write_bytes(b"content")
    (directory / "original").mkdir()
    (directory / "original" / "model.safetensors").write_bytes(b"content")
    return directory


@pytest.fixture
def hub(hub_cache: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub("google/gemma-2-2b", repository)) as served:
        use_endpoint(served.url, monkeypatch)
        yield served


def refusal(name: str = "2b") -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        fetch(named(name))
    return caught.value


def test_a_name_asks_for_its_repository_and_revision(
    monkeypatch: pytest.MonkeyPatch, hub_cache: Path
) -> None:
    asked: dict[str, object] = {}
    snapshot = hub_cache / "models--google--gemma-4-E2B-it" / "snapshots" / COMMIT

    def download(repo_id: str, **more: object) -> str:
        asked.update(more, repo_id=repo_id)
        return str(snapshot)

    monkeypatch.setattr(module, "snapshot_download", download)
    assert fetch(named("gemma-4-e2b-it@abc")) == snapshot
    assert asked == {
        "repo_id": "google/gemma-4-E2B-it",
        "revision": "abc",
        "cache_dir": hub_cache,
        "allow_patterns": list(WANTED),
    }


def test_only_files_that_are_read_are_fetched_and_only_once(hub: FakeHub, hub_cache: Path) -> None:
    directory = fetch(named("2b"))
    assert directory == hub_cache / "models--google--gemma-2-2b" / "snapshots" / COMMIT
    assert set(hub.fetched) == READ == {path.name for path in directory.iterdir()}
    hub.fetched.clear()
    assert fetch(named("2b")) == directory
    assert hub.fetched == []


def test_shards_and_their_index_are_fetched() -> None:
    names = ("model.safetensors.index.json", "model-00001-of-00004.safetensors", "chat_template.jinja")
    assert all(any(fnmatch(name, pattern) for pattern in WANTED) for name in names)


def test_a_fetched_checkpoint_is_opened_by_its_name(hub: FakeHub) -> None:
    source = open_source("2b")
    assert source.name == "gemma-2-2b"
    assert source.rows("model.norm.weight", 0, 64).shape == (64,)


@pytest.mark.parametrize("offline", [False, True], ids=["nobody answers", "HF_HUB_OFFLINE"])
def test_what_is_in_the_cache_needs_no_network(
    hub_cache: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    with serving(FakeHub("google/gemma-2-2b", repository)) as served:
        use_endpoint(served.url, monkeypatch)
        directory = fetch(named("2b"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert fetch(named("2b")) == directory


def test_a_cache_that_others_filled_is_used_offline(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hf download` or transformers lay it out: files in blobs, links in snapshots, refs."""
    home = hub_cache / "models--google--gemma-3-4b-it"
    snapshot, blobs = home / "snapshots" / COMMIT, home / "blobs"
    write_multimodal(snapshot, "gemma3", "outer")
    blobs.mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(Path("../../blobs") / path.name)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = open_source("gemma-3-4b-it")
    assert (source.name, source.left_out) == ("gemma-3-4b-it", ())


@pytest.mark.parametrize("ref", ["../../../base", "../snapshots", "."])
def test_a_ref_that_leads_out_of_the_snapshots_is_not_followed(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    write_huggingface(tmp_path / "base")
    home = hub_cache / "models--google--gemma-3-270m"
    (home / "snapshots").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(ref, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refusal("gemma-3-270m")
    assert error.where == str(home)
    assert "which is no snapshot of google/gemma-3-270m" in error.what


@pytest.mark.parametrize(
    ("status", "code", "what"),
    [
        (401, "GatedRepo", "is only for accounts that accepted its licence"),
        (403, "GatedRepo", "is only for accounts that accepted its licence"),
        (401, "RepoNotFound", "is not there, or not for this account"),
        (401, "", "is not for this account"),
        (403, "", "is not for this account"),
    ],
)
def test_no_access_says_to_accept_the_licence_and_to_log_in(
    hub: FakeHub, hub_cache: Path, status: int, code: str, what: str
) -> None:
    hub.refusal = (status, code)
    error = refusal()
    assert error.where == "google/gemma-2-2b on the Hugging Face Hub"
    assert error.what == what
    assert "https://huggingface.co/google/gemma-2-2b" in error.then
    assert "`hf auth login`" in error.then
    assert not list(hub_cache.rglob("config.json"))


def test_an_unknown_revision_is_named(hub: FakeHub) -> None:
    error = refusal("google/gemma-2-2b@nightly")
    assert error.what == "has no branch, tag or commit 'nightly'"


def test_without_a_network_the_connection_is_named(hub_cache: Path) -> None:
    error = refusal()
    assert error.what.startswith("cannot be fetched (ConnectError")
    assert "a directory" in error.then


def test_a_hub_that_is_broken_is_named(hub: FakeHub) -> None:
    hub.refusal = (503, "")
    assert "503" in refusal().what


def test_offline_and_not_in_the_cache_names_the_variable(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids" in refusal().what


def test_a_cache_that_lacks_a_file_is_not_taken_for_whole(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fetch(named("2b"))
    (directory / "tokenizer.json").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "is not wholly in the local cache" in refusal().what


def test_a_transfer_that_breaks_off_leaves_no_file_and_goes_on_the_next_time(
    hub: FakeHub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # between retries
    hub.cut = "model.safetensors"
    assert "peer closed connection" in refusal().what
    assert not list(hub_cache.rglob("model.safetensors"))
    hub.cut = None
    hub.fetched.clear()
    directory = fetch(named("2b"))
    assert set(hub.fetched) == {"model.safetensors"}
    fetched, original = directory / "model.safetensors", hub.directory / "model.safetensors"
    assert fetched.read_bytes() == original.read_bytes()


def test_legal_files_that_are_fetched_are_those_a_release_carries_on(tmp_path: Path) -> None:
    from exporter.packaging.licences import write_licence_pack

    names = {"LICENSE", "LICENSE.txt", "GEMMA_TERMS.html", "terms.md", "USE_POLICY.md", "NOTICE", "COPYING"}
    checkpoint, release = tmp_path / "checkpoint", tmp_path / "release"
    checkpoint.mkdir()
    release.mkdir()
    for name in names:
        (checkpoint / name).write_text("words", encoding="utf-8")
    pack = write_licence_pack(
        release, model="gemma", model_type="gemma2", documents=checkpoint, modified=(), change="None."
    )
    assert len(pack.files) == len(names) + 1  # our NOTICE
    assert all(any(fnmatch(name, pattern) for pattern in WANTED) for name in names)
