"""A release of a tiny model on the light install: run, timed, and checked without torch or its checkpoint.

Matrix: commands × packages that are there, others hidden from a process of its own; that pip installs no
others is not asserted here. Not about what a check by recorded calls finds in changed releases
(`test_changed_releases`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.structure import ROOT
from exporter.cli import main
from tests.end_to_end.small_release import make_release, words

# What `pip install '.[run]'` brings, and its own dependencies; then the runtimes'.
LIGHT = ["click", "rich", "numpy", "tokenizers", "jinja2", "PIL", "markupsafe", "pygments", "markdown_it"]
LIGHT += ["mdurl", "soundfile", "_soundfile", "_soundfile_data", "cffi", "_cffi_backend", "soxr"]
LIGHT += ["typing_extensions"]
ONNX = ("onnxruntime",)
LITERT = ("ai_edge_litert", "flatbuffers", "backports", "ml_dtypes", "google", "tqdm", "typing_extensions")
PROGRAM = """
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    '''Finds the standard library, the project and the packages named, and nothing else.'''

    there = {*sys.argv.pop(1).split(","), *sys.stdlib_module_names, "exporter", "runtimes"}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return super().find_spec(name, path, target) if name.partition(".")[0] in cls.there else None

sys.meta_path[:] = [each for each in sys.meta_path if each is not PathFinder] + [Installed]
from exporter.cli import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "coremltools", "huggingface_hub"} & set(sys.modules)
    assert not heavy, heavy
"""


def on_a_light_install(*arguments: object, runtimes: tuple[str, ...] = (*ONNX, *LITERT)) -> Any:
    there = ",".join([*LIGHT, *runtimes])
    command = [sys.executable, "-c", PROGRAM, there, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("made"))


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(made, tmp_path / "release")


def test_validate_makes_the_recorded_calls_again_in_every_runtime(made: Path) -> None:
    done = on_a_light_install("validate", made, "--timings")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s  check by recorded calls" in done.stdout
    said = words(done.stdout)
    assert said.startswith("Checked by its recorded calls (torch and transformers not installed)")
    for runtime in ("LiteRT 2", "ONNX Runtime 1", "MIL evaluator 1"):
        assert runtime in said
    assert "PASSED by recorded calls: of 8 checks 8 passed" in said


def test_a_runtime_that_is_not_there_is_skipped_with_its_extra_and_no_pass(made: Path) -> None:
    done = on_a_light_install("validate", made, runtimes=LITERT)
    assert done.returncode == 3, done.stdout + done.stderr
    said = words(done.stdout)
    assert "onnx/model.onnx, recorded calls: skipped, because onnxruntime is not installed; install" in said
    assert "gemma-export[run-onnx]" in said
    assert "INCONCLUSIVE by recorded calls: of 7 checks 6 passed, 1 skipped" in said


@pytest.mark.parametrize("format", ["onnx", "tflite", "coreml"])
def test_every_artifact_continues_a_prompt_alike(format: str, made: Path) -> None:
    done = on_a_light_install("run", made, "hello", "--max-tokens", 8, "--format", format)
    first = on_a_light_install("run", made, "hello", "--max-tokens", 8)
    assert done.returncode == first.returncode == 0, done.stderr + first.stderr
    assert done.stdout == first.stdout
    assert done.stderr == ""


def test_run_takes_the_first_artifact_whose_runtime_is_there_and_says_so(made: Path) -> None:
    done = on_a_light_install("run", made, "hello", "--max-tokens", 2, runtimes=ONNX)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Passed over model.tflite: ai-edge-litert is not installed")


def test_run_without_the_runtime_asked_for_says_what_to_install(made: Path) -> None:
    done = on_a_light_install("run", made, "hello", "--format", "onnx", runtimes=())
    assert done.returncode == 2
    assert "onnxruntime is not installed; install gemma-export[run-onnx]" in done.stderr


def test_a_seed_repeats_what_a_temperature_says(made: Path) -> None:
    flags = ("--max-tokens", 12, "--temperature", 1.5, "--format", "onnx")
    one, again, other = (on_a_light_install("run", made, "hello", *flags, "--seed", n) for n in (1, 1, 2))
    assert one.stdout == again.stdout != other.stdout


def test_bench_times_every_artifact_and_names_what_it_could_not(made: Path) -> None:
    flags = ("--runs", 2, "--prefill-tokens", 16, "--decode-tokens", 4, "--json")
    done = on_a_light_install("bench", made, *flags, runtimes=ONNX)
    assert done.returncode == 3, done.stderr
    found = {each["format"]: each for each in json.loads(done.stdout)["artifacts"]}
    assert "ai-edge-litert is not installed" in found["tflite"]["not_run"]
    for format in ("onnx", "coreml"):
        speed = found[format]["speed"]
        assert [len(speed[kind]["runs"]) for kind in ("prefill", "decode")] == [2, 2]


def test_bench_says_whose_figures_they_are(made: Path) -> None:
    done = on_a_light_install("bench", made, "--runs", 1, "--format", "onnx", "--decode-tokens", 4)
    assert done.returncode == 0, done.stderr
    assert "on this machine: " in done.stdout
    assert "no phone took part" in done.stdout


@pytest.mark.parametrize(
    "command",
    [("--target", "android"), ("quantize", "--recipe", "int8", "-o", "q"), ("compare", "{release}")],
)
def test_what_needs_torch_names_the_extra(command: tuple[str, ...], made: Path, tmp_path: Path) -> None:
    given = [word.format(release=made) for word in command]
    given = [str(tmp_path / "q") if word == "q" else word for word in given]
    done = on_a_light_install(*given)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install '.[export]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_published_model_is_planned_and_the_sample_names_both_extras_it_needs() -> None:
    for command in (("profiles",), ("plan", "--model", "2b", "--profile", "pixel-8")):
        assert on_a_light_install(*command).returncode == 0
    sample = on_a_light_install("plan", "--profile", "pixel-8")
    assert sample.returncode == 2
    assert sample.stderr.startswith("error: gguf: the package is not installed"), "not one of adapters"
    assert "'.[export,sample]' for the sample, the default --model" in sample.stderr
    for nothing in ("nosuch", "27b", "./nosuch.gguf"):
        unknown = on_a_light_install("plan", "--model", nothing, "--profile", "pixel-8")
        assert unknown.returncode == 2
        assert unknown.stderr.startswith(f"error: --model {nothing}"), "of what nobody installs away"


def test_a_checkpoint_on_a_light_install_is_refused_with_both_ways_out(made: Path) -> None:
    done = on_a_light_install("validate", made, "--model", "sample")
    assert done.returncode == 2
    assert "pip install '.[export]', or leave the flag out" in done.stderr


def test_a_file_that_was_cut_short_is_named_by_run_before_its_runtime_sees_it(release: Path) -> None:
    path = release / "onnx" / "model.onnx.data"
    path.write_bytes(path.read_bytes()[:1000])
    result = CliRunner().invoke(main, ["run", str(release), "hi", "--format", "onnx"])
    assert result.exit_code == 2
    assert "model.onnx.data: has 1000 bytes, the manifest says" in result.stderr


@pytest.mark.parametrize("temperature", ["nan", "-1", "inf", "warm"])
def test_a_temperature_that_is_none_is_refused(temperature: str, release: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(release), "hi", "--temperature", temperature])
    assert result.exit_code == 2
    assert "--temperature" in result.stderr


def test_more_threads_than_end_are_refused_and_more_tokens_than_fit_are_not(release: Path) -> None:
    threads = CliRunner().invoke(main, ["bench", str(release), "--threads", "9999"])
    assert threads.exit_code == 2
    assert "--threads" in threads.stderr
    tokens = CliRunner().invoke(main, ["run", str(release), "hi", "--max-tokens", "9" * 30])
    assert tokens.exit_code == 0, tokens.output


def test_an_empty_prompt_is_continued_and_one_that_fills_the_context_is_refused(release: Path) -> None:
    nothing = CliRunner().invoke(main, ["run", str(release), "", "--max-tokens", "3", "--format", "onnx"])
    assert nothing.exit_code == 0, nothing.output
    long = CliRunner().invoke(main, ["run", str(release), "a" * 96, "--format", "onnx"])
    assert long.exit_code == 2
    assert "PROMPT: has 97 tokens, and the context of 96 would hold none after it" in long.stderr


def test_a_reader_that_goes_away_ends_a_run_as_it_ends_every_command(release: Path) -> None:
    command = [sys.executable, "-m", "exporter.cli", "run", str(release), "hello", "--format", "onnx"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(120) == 141
    assert said == "stopped: nobody reads the output any more\n"
