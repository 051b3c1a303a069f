"""A release of a base and an adapter is under what both state, and holds the texts of both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.errors import CheckpointError
from exporter.packaging.adapter_licence import add_adapters_licence
from exporter.packaging.licences import APACHE_TEXT, GEMMA_SENTENCE, LicencePack, write_licence_pack


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    directory = tmp_path / "adapter"
    directory.mkdir()
    return directory


@pytest.fixture
def release(tmp_path: Path) -> Path:
    directory = tmp_path / "release"
    directory.mkdir()
    return directory


def packed(release: Path, adapter: Path | None, base: Path | None = None) -> tuple[LicencePack, str]:
    """The pack of a Gemma 3 with the adapter merged, and the notice, as one line."""
    pack = write_licence_pack(
        release, model="gemma-x", model_type="gemma3_text", documents=base, modified=("onnx",), change="."
    )
    pack = add_adapters_licence(release, pack, adapter)
    assert set(pack.files) == {path.name for path in release.iterdir()}
    return pack, (release / "NOTICE").read_text(encoding="utf-8")


def test_an_adapters_own_licence_is_named_beside_gemmas_terms_and_carried(
    release: Path, adapter: Path
) -> None:
    (adapter / "README.md").write_text("---\nlicense: apache-2.0\nlibrary_name: peft\n---\n# Mine\n")
    (adapter / "LICENSE.txt").write_bytes(APACHE_TEXT.read_bytes())
    (adapter / "NOTICE").write_text("of the adapter")
    pack, notice = packed(release, adapter)
    assert pack.licence.front_matter == ("license: gemma",)
    assert (release / "LICENSE-of-adapter.txt").read_bytes() == APACHE_TEXT.read_bytes()
    assert (release / "NOTICE-of-adapter").read_text() == "of the adapter"
    assert notice.startswith(GEMMA_SENTENCE)
    for said in (notice, pack.notes[-1]):
        assert "under Apache License 2.0, as README.md of its directory states" in said
        assert "its text is in LICENSE-of-adapter.txt" in said
        assert "Its base stays under Gemma Terms of Use: both bind" in said


def test_a_licence_of_an_adapter_never_takes_the_place_of_its_bases(
    release: Path, adapter: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "LICENSE").write_text("Words of the base.")
    (adapter / "LICENSE").write_text("Words of the adapter.")
    pack, notice = packed(release, adapter, base)
    assert (release / "LICENSE").read_text() == "Words of the base."
    assert (release / "LICENSE-of-adapter").read_text() == "Words of the adapter."
    assert (pack.text, "the licence in LICENSE-of-adapter" in notice) == ("LICENSE", True)


def test_a_stated_licence_without_its_text_is_named_all_the_same(release: Path, adapter: Path) -> None:
    (adapter / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    pack, notice = packed(release, adapter)
    assert "the licence “cc-by-nc-4.0”, as README.md of its directory states" in notice
    assert "its text was not in the adapter's directory" in pack.notes[-1]


def test_an_adapter_that_states_none_is_said_to(release: Path, adapter: Path) -> None:
    pack, notice = packed(release, adapter)
    assert "states no licence of its own" in notice
    assert "states no licence of its own" in pack.notes[-1]


def test_without_an_adapter_nothing_is_said_of_one(release: Path) -> None:
    assert "adapter" not in packed(release, None)[1]


def test_a_legal_file_that_is_a_link_out_of_the_adapter_is_refused(
    release: Path, adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", adapter / "LICENSE")
    with pytest.raises(CheckpointError):
        packed(release, adapter)
