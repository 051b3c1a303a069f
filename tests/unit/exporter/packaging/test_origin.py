"""What a release is made from: the Hub's cache, a published name or the checkpoint's own card tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.packaging.origin import ModelOrigin, origin_of
from tests.tiny import RandomSource, tiny_gemma3

CARD = "---\nlicense: gemma\nbase_model: google/gemma-3-1b-it\nlanguage:\n- en\n- fi\n---\n\n# Mine\n"


@dataclass(frozen=True)
class Published(RandomSource):
    """Of the architecture of a published model, without its weights."""

    model: str = "gemma-3-270m"

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", text_alone(published_spec(self.model)))
        object.__setattr__(self, "weights", {})


def documented(directory: Path, card: str | None, name: str = "mine") -> RandomSource:
    directory.mkdir(parents=True)
    if card is not None:
        (directory / "README.md").write_text(card, encoding="utf-8")
    return RandomSource(tiny_gemma3(), name=name, documents=directory)


def test_a_snapshot_in_the_hubs_cache_is_its_repository_quantised(tmp_path: Path) -> None:
    place = tmp_path / "models--somebody--My-Gemma" / "snapshots" / "0123"
    found = origin_of(documented(place, CARD))
    assert found == ModelOrigin(
        "somebody/My-Gemma", "somebody/My-Gemma", "quantized", ("en", "fi"), itself=True
    )


def test_an_adapter_makes_a_fine_tune_of_it(tmp_path: Path) -> None:
    place = tmp_path / "models--somebody--My-Gemma" / "snapshots" / "0123"
    source = replace(documented(place, None), adapter=tmp_path)
    assert origin_of(source) == ModelOrigin("mine", "somebody/My-Gemma", "finetune", ())


@pytest.mark.parametrize(
    ("name", "model", "base"),
    [
        ("gemma-3-270m", "gemma-3-270m", "google/gemma-3-270m"),
        ("gemma-3-270m-it", "gemma-3-270m", "google/gemma-3-270m-it"),
        ("gemma-3-270m", "gemma-3-1b", None),
        ("2b", "gemma-2-2b", None),
        ("gemma-3n-e2b", "gemma-3-270m", None),
    ],
)
def test_a_published_name_counts_where_the_architecture_is_that_models(
    name: str, model: str, base: str | None
) -> None:
    source = Published(tiny_gemma3(), name=name, model=model)
    assert origin_of(source).base == base


def test_the_base_a_checkpoints_card_states_is_what_it_was_tuned_from(tmp_path: Path) -> None:
    found = origin_of(documented(tmp_path / "mine", CARD))
    assert found == ModelOrigin("mine", "google/gemma-3-1b-it", "finetune", ("en", "fi"))


@pytest.mark.parametrize(
    "card",
    [
        None,
        "no front matter",
        "---\nbase_model: '<b>/x'\nlanguage: [English, 3]\n---\n",
        "---\nbase_model: ../../etc\n---\n",
        "---\n{ no yaml\n---\n",
    ],
)
def test_what_is_not_a_repository_or_a_language_is_not_taken_over(card: str | None, tmp_path: Path) -> None:
    assert origin_of(documented(tmp_path / "mine", card)) == ModelOrigin("mine", None, None, ())
