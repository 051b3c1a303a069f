"""What a user may call a published model, and the repository each name means."""

from __future__ import annotations

import pytest

from exporter.errors import UsageError
from exporter.models.published import published_ids, published_spec, repositories
from exporter.models.published_names import resolve_name


@pytest.mark.parametrize(
    ("name", "model", "repository"),
    [
        ("2b", "gemma-2-2b", "google/gemma-2-2b"),
        ("9B", "gemma-2-9b", "google/gemma-2-9b"),
        ("gemma-2b-it", "gemma-2b", "google/gemma-2b-it"),
        ("gemma-2-9b", "gemma-2-9b", "google/gemma-2-9b"),
        ("gemma-2-9b-pt", "gemma-2-9b", "google/gemma-2-9b"),
        ("gemma-2-9b-it", "gemma-2-9b", "google/gemma-2-9b-it"),
        ("gemma-3-270m", "gemma-3-270m", "google/gemma-3-270m"),
        ("gemma-3-1b", "gemma-3-1b", "google/gemma-3-1b-it"),
        ("gemma-3-1b-pt", "gemma-3-1b", "google/gemma-3-1b-pt"),
        ("google/gemma-3-4b-it", "gemma-3-4b", "google/gemma-3-4b-it"),
        ("gemma-4-e2b", "gemma-4-e2b", "google/gemma-4-E2B"),
        ("google/gemma-4-E2B-it", "gemma-4-e2b", "google/gemma-4-E2B-it"),
        ("gemma-4-12b-pt", "gemma-4-12b", "google/gemma-4-12B"),
        ("gemma-3-1b-it-qat-q4_0-unquantized", "gemma-3-1b", "google/gemma-3-1b-it-qat-q4_0-unquantized"),
        ("google/gemma-4-12B-it-qat-w4a16-ct", "gemma-4-12b", "google/gemma-4-12B-it-qat-w4a16-ct"),
    ],
)
def test_a_name_means_one_repository(name: str, model: str, repository: str) -> None:
    resolved = resolve_name(name)
    assert resolved is not None
    assert (resolved.model, resolved.repository, resolved.revision) == (model, repository, None)
    assert published_spec(resolved.model).layers


@pytest.mark.parametrize("model", published_ids())
def test_a_repositorys_own_name_means_that_repository(model: str) -> None:
    pretrained, instruct = repositories(model)
    for repository, training in ((pretrained, "pretrained"), (instruct, "instruction-tuned")):
        resolved = resolve_name(repository)
        assert resolved is not None
        assert (resolved.model, resolved.repository, resolved.training) == (model, repository, training)


def test_no_repository_is_listed_twice() -> None:
    listed = [repository for model in published_ids() for repository in repositories(model)]
    assert len(set(listed)) == len(listed)
    assert all(repository.startswith("google/gemma-") for repository in listed)


def test_what_follows_an_at_sign_is_the_revision() -> None:
    resolved = resolve_name("google/gemma-2-2b@c5ebcd40d208330abc697524c919956e692655cf")
    assert resolved is not None
    assert resolved.revision == "c5ebcd40d208330abc697524c919956e692655cf"
    assert "google/gemma-2-2b at c5ebcd40" in str(resolved)


def test_an_at_sign_with_nothing_behind_it_is_an_empty_revision() -> None:
    with pytest.raises(UsageError, match="--model gemma-3-270m@: names an empty revision; name a branch"):
        resolve_name("gemma-3-270m@")


@pytest.mark.parametrize("revision", ["a" * 9000, "main\nerror: gone", "\x1b[31mred", "\udcff"])
def test_a_revision_is_repeated_on_one_line_and_not_whole(revision: str) -> None:
    said = str(resolve_name(f"gemma-3-270m@{revision}"))
    assert said.isprintable()
    assert len(said) < 700


def test_a_name_says_what_it_means_and_what_the_other_training_is_called() -> None:
    assert str(resolve_name("2b")) == (
        "2b means gemma-2-2b, pretrained (google/gemma-2-2b on the Hugging Face Hub); "
        "gemma-2-2b-it is the instruction-tuned one"
    )
    assert str(resolve_name("gemma-3-4b")) == (
        "gemma-3-4b is instruction-tuned (google/gemma-3-4b-it on the Hugging Face Hub); "
        "gemma-3-4b-pt is the pretrained one"
    )


@pytest.mark.parametrize("name", ["gemma-4-e2b", "gemma-4-E2B", "google/gemma-4-E2B", "gemma-4-E2B@main"])
def test_a_name_that_is_the_model_s_own_is_not_said_to_mean_itself(name: str) -> None:
    said = str(resolve_name(name))
    assert said.startswith(f"{name} is pretrained (google/gemma-4-E2B")
    assert "means" not in said


@pytest.mark.parametrize("name", ["2b", "gemma-4-e2b-pt", "gemma-4-12b-qat-q4_0-unquantized"])
def test_any_other_name_says_which_model_it_means(name: str) -> None:
    found = resolve_name(name)
    assert found is not None
    assert (f" means {found.model}, " in str(found)) is (found.model not in name or name.endswith("-pt"))


@pytest.mark.parametrize(
    "name", ["4b", "gemma-9000", "gemma-3-4b-it-gguf", "unsloth/gemma-3-4b-it", "google/", "", "llama-3-8b"]
)
def test_other_names_mean_nothing(name: str) -> None:
    assert resolve_name(name) is None


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("gemma-3n-e2b", "Gemma 3n"),
        ("google/gemma-3n-E4B-it", "Gemma 3n"),
        ("gemma-4-26b-a4b", "mixture of experts"),
        ("google/gemma-4-26B-A4B-it-qat-w4a16-ct", "mixture of experts"),
        ("google/gemma-4-E2B-it-assistant", "drafter"),
        ("google/paligemma-3b-pt-224", "PaliGemma"),
        ("shieldgemma-2-4b-it", "ShieldGemma 2"),
        ("google/embeddinggemma-300m", "EmbeddingGemma"),
        ("t5gemma-2b-2b-ul2", "T5Gemma"),
    ],
)
def test_a_gemma_that_is_not_exported_is_refused_by_its_title(name: str, title: str) -> None:
    with pytest.raises(UsageError, match=f"is .*{title}.*, which is not supported: ") as caught:
        resolve_name(name)
    assert caught.value.where == f"--model {name}"
