"""What `--model` may name on the command line, and what is said of a name before anything is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.checkpoints import write_huggingface
from tests.fake_hub import COMMIT, FakeHub, serving, use_endpoint
from tests.unit.exporter.test_cli import refused, run

if TYPE_CHECKING:
    pass


def test_a_model_that_is_not_there_says_what_was_tried(tmp_path: Path) -> None:
    message = refused(tmp_path, tmp_path / "nowhere")
    assert "not a directory and not a .gguf file" in message


def test_a_name_is_explained_before_it_is_fetched_and_no_access_is_refused(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FakeHub("google/gemma-2-2b", tmp_path, refusal=(403, "GatedRepo"))) as hub:
        use_endpoint(hub.url, monkeypatch)
        result = run("--target", "desktop", "--model", "2b", "-o", str(tmp_path / "release"))
    assert result.exit_code == 2
    assert result.stdout.strip() == (
        "2b means gemma-2-2b, pretrained (google/gemma-2-2b on the Hugging Face Hub); gemma-2-2b-it is the "
        "instruction-tuned one."
    )
    assert "accept the licence at https://huggingface.co/google/gemma-2-2b" in result.stderr
    assert "`hf auth login`" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("--target", "desktop", "--max-ram", "1MiB"), "--max-ram 1 MiB: "),
        (("--target", "desktop", "--anyway", "--max-ram", "1MiB"), "--max-ram 1 MiB: "),
        (("--target", "desktop", "-o", "TAKEN"), "taken: is there and is not a release"),
        (("--target", "desktop", "-o", "TAKEN/thesis.tex/x"), "thesis.tex/x: cannot be written"),
        (("--target", "desktop", "--calibration", "TAKEN"), "taken: cannot be read as text"),
        (("--target", "desktop", "--adapter", "TAKEN"), "adapter_config.json: no such file"),
        (("quantize", "--recipe", "float", "-o", "TAKEN"), "taken: is there and is not a quantised"),
        (("quantize", "--recipe", "int4", "-o", "NEW", "--calibration", "TAKEN"), "cannot be read as text"),
        (
            ("quantize", "--recipe", "int4", "-o", "NEW", "--adapter", "TAKEN"),
            "adapter_config.json: no such",
        ),
    ],
)
@pytest.mark.usefixtures("hub_cache")
def test_what_no_file_of_a_model_decides_is_refused_before_any_is_fetched(
    command: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("mine")
    words = [each.replace("TAKEN", str(taken)).replace("NEW", str(tmp_path / "new")) for each in command]
    result = run(*words, "--model", "gemma-3-1b-it")
    assert result.exit_code == 2
    assert said in result.stderr, "and not that nobody answers"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["taken"]
    assert [each.name for each in taken.iterdir()] == ["thesis.tex"]


def test_a_checkpoint_in_the_hubs_cache_is_planned_by_its_name(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan refuses a context that this checkpoint, and no published one, has no room for."""
    home = hub_cache / "models--google--gemma-3-270m"
    write_huggingface(home / "snapshots" / COMMIT)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = run("--target", "desktop", "--model", "gemma-3-270m", "--context", "4096")
    assert result.exit_code == 2
    assert "(google/gemma-3-270m on the Hugging Face Hub)" in result.stdout
    assert "choose a context from 1 to 512" in result.stderr


@pytest.mark.parametrize("name", ["gemma-3n-e2b", "google/gemma-4-26B-A4B-it"])
def test_a_gemma_that_is_not_exported_is_refused_before_anybody_is_asked(name: str) -> None:
    result = run("--target", "desktop", "--model", name)
    assert result.exit_code == 2
    assert "which is not supported" in result.stderr
    assert result.stdout == ""


def test_validate_explains_a_name_too(tmp_path: Path) -> None:
    result = run("validate", str(tmp_path), "--model", "9b")
    assert "9b means gemma-2-9b" in result.stdout


@pytest.mark.parametrize("command", [("--target", "desktop"), ("validate", "release")])
def test_an_empty_model_is_not_the_current_directory(command: tuple[str, ...]) -> None:
    result = run(*command, "--model", "")
    assert result.exit_code == 2
    assert "error: --model: is empty; name a model" in result.stderr
