"""`gemma-export plan` and `gemma-export profiles`: what they print, refuse, and do without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.planning.profiles import profile_names
from exporter.resources import data_directory
from exporter.views.plan_tables import not_yet
from tests.checkpoints import write_huggingface

HEAVY = (
    "gguf",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "coremltools",
    "ai_edge_litert",
    "huggingface_hub",
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def imported(*arguments: str) -> list[str]:
    """Heavy packages that a command has imported when it is done, in a process of its own."""
    program = (
        "import sys; from click.testing import CliRunner; from exporter.cli import main; "
        f"CliRunner().invoke(main, {list(arguments)!r}); print(*set(sys.modules) & set({HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--model", "9b", "--profile", "macbook-m3-pro", "--profile", "pixel-8"),
        ("plan", "--model", "9b", "--profile", "pixle-8"),
        ("--profile", "pixle-8"),
        ("profiles",),
    ],
)
def test_planning_a_published_model_and_refusing_a_name_import_nothing_heavy(
    arguments: tuple[str, ...],
) -> None:
    assert imported(*arguments) == []


def test_a_local_checkpoint_is_planned_without_torch(tmp_path: Path) -> None:
    checkpoint = write_huggingface(tmp_path / "checkpoint")
    found = imported("plan", "--model", str(checkpoint), "--profile", "pixel-8")
    assert not {"torch", "transformers", "coremltools"} & set(found)
    result = run("plan", "--model", str(checkpoint), "--profile", "pixel-8", "--json")
    assert result.exit_code == 0, result.output
    assert "model.safetensors" in json.loads(result.stdout)["source"]


def test_a_plan_says_what_fits_by_component_what_was_rejected_and_what_it_takes() -> None:
    result = run("plan", "--model", "2b", "--profile", "android-6gb", "--profile", "macbook-m3-pro")
    assert result.exit_code == 0
    for words in (
        "2b means gemma-2-2b",
        "android-6gb: litertlm on the CPU may not fit: 3,090 MB at the peak of the 3,221 MB an app may use "
        "(ru_maxrss, estimate), 3,242 MB with",
        "not int8 at 2,048: litertlm on the CPU takes",
        "weights (packed)",
        "Release int4 for android-6gb: litertlm 1,768 MB. It takes text alone.",
        "Release int8 for macbook-m3-pro",
        "Making them takes up to",
        "no device took part",
    ):
        assert words in result.output, words


def test_a_format_that_no_device_is_said_to_run_is_named_without_a_size() -> None:
    result = run("plan", "--model", "2b", "--target", "android", "--format", "tflite")
    assert "tflite, which none of these devices is said to run" in result.output
    assert result.exit_code == 1, "no device is served"


def test_a_plan_says_what_an_image_in_one_call_leaves_of_the_context() -> None:
    result = run("plan", "--model", "gemma-3-4b", "--profile", "pixel-9")
    assert "takes no turn that begins behind position" in result.output


def test_a_plan_for_a_device_on_which_nothing_fits_says_so_with_exit_code_1() -> None:
    result = run("plan", "--model", "9b", "--profile", "pixel-8")
    assert result.exit_code == 1
    assert (
        "pixel-8: Nothing would fit, not even the smallest there is, mixed:4625MB with a context of 256"
        in result.output
    )
    assert "share one scale a row" in result.output, "in plain words"
    assert result.output.count("share one scale a row") == 1, "of four candidates, once"
    assert (
        "not int4 at 1,024: litertlm on the GPU takes 6,662 MB, and an app may use 4,295 MB; and as "
        in (result.output)
    )
    shorter = run("plan", "--model", "9b", "--profile", "pixel-8", "--context", "128")
    assert "the smallest there is, mixed:4625MB with a context of 128: " in shorter.output


def test_a_plan_as_json_has_a_key_for_a_cache_and_nothing_beside_it() -> None:
    result = run("plan", "--model", "2b", "--profile", "pixel-8", "--json")
    found = json.loads(result.stdout)
    assert len(found["cache_key"]) == 64
    assert found["source"] == {"repository": "google/gemma-2-2b", "revision": "main"}
    assert found["versions"]["gemma-export"]
    assert found["devices"][0]["verdict"]["artifacts"][0]["memory"]["KV cache"] > 0


def test_without_a_device_every_one_is_planned() -> None:
    result = run("plan", "--model", "gemma-3-270m", "--json")
    assert [each["verdict"]["profile"] for each in json.loads(result.stdout)["devices"]] == list(
        profile_names()
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipe", "int5"), "use one of as-stored"),
        (("--context", "100000"), "choose a context from 1 to 8192"),
        (("--profile", "./nowhere.toml"), "there is no such file"),
        (("--profile", f"{'x' * 5000}.toml"), "is longer than names may be"),
        (("--profile", "~nobody-of-that-name/x.toml"), "there is no such file"),
        (("--profile", "pixel-8", "--format", "coreml"), "choose litertlm or onnx"),
        (("--target", "watch"), "is not one of"),
        (("nonsense",), "nothing is called nonsense here"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = run("plan", "--model", "2b", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_profile_of_ones_own_is_planned_for_and_a_contradiction_in_it_refused(tmp_path: Path) -> None:
    text = (data_directory("device_profiles") / "pixel-8.toml").read_text(encoding="utf-8")
    mine = tmp_path / "my-phone.toml"
    mine.write_text(text.replace('name = "pixel-8"', 'name = "my-phone"'), encoding="utf-8")
    assert run("plan", "--model", "2b", "--profile", str(mine)).exit_code == 0
    wrong = mine.read_text(encoding="utf-8").replace("bytes = 4_294_967_296", "bytes = 40_294_967_296")
    mine.write_text(wrong, encoding="utf-8")
    result = run("plan", "--model", "2b", "--profile", str(mine))
    assert result.exit_code == 2
    assert "my-phone.toml: $.memory.app.bytes: is more than the device's ram" in result.stderr


def test_two_profiles_of_one_name_are_refused_unless_they_are_the_same(tmp_path: Path) -> None:
    mine = tmp_path / "pixel-8.toml"
    text = (data_directory("device_profiles") / "pixel-8.toml").read_text(encoding="utf-8")
    mine.write_text(text, encoding="utf-8")
    asked = ("plan", "--model", "2b", "--profile", "pixel-8", "--profile", str(mine), "--recipe", "int4")
    assert run(*asked).exit_code != 2
    mine.write_text(text.replace("context = 2048", "context = 1024"), encoding="utf-8")
    result = run(*asked)
    assert result.exit_code == 2
    assert "--profile pixel-8: is the name of two that differ" in result.stderr
    capitals = tmp_path / "Pixel-8.toml"
    capitals.write_text(text.replace('name = "pixel-8"', 'name = "Pixel-8"'), encoding="utf-8")
    result = run(*asked[:-3], str(capitals), *asked[-2:])
    assert result.exit_code == 2
    assert "--profile Pixel-8: is the name of two that differ, whatever their capitals" in result.stderr


def test_a_profile_called_what_no_directory_is_called_everywhere_is_refused_by_file_and_key(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "my phone.toml"
    text = (data_directory("device_profiles") / "pixel-8.toml").read_text(encoding="utf-8")
    mine.write_text(text.replace('name = "pixel-8"', 'name = "my phone"'), encoding="utf-8")
    result = run("plan", "--model", "2b", "--profile", str(mine))
    assert result.exit_code == 2
    assert "my phone.toml: $.name: is 'my phone', and directories of releases are called" in result.stderr
    assert "as in my-phone, here and in the file's name" in result.stderr


def test_a_target_beside_a_device_is_refused_by_plan_as_by_an_export() -> None:
    both = ("--target", "web", "--profile", "pixel-8")
    for command in ((), ("plan",)):
        result = run(*command, *both)
        assert result.exit_code == 2
        assert "--target web: goes with no --profile: " in result.stderr


def test_profiles_are_listed_with_how_much_of_them_is_sourced() -> None:
    result = run("profiles")
    assert result.exit_code == 0
    for words in ("pixel-8", "litertlm (GPU)", "int8, int4", "GeForce RTX 3060", " of "):
        assert words in result.output


def test_profiles_as_json_have_every_fact_with_its_source() -> None:
    found = json.loads(run("profiles", "--json").stdout)
    assert [each["name"] for each in found] == list(profile_names())
    assert found[0]["memory"]["app"]["source"]


def test_an_export_that_fits_no_device_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    result = run("--model", "9b", "--profile", "pixel-8", "-o", str(tmp_path / "release"))
    assert result.exit_code == 2
    assert "error: pixel-8: Nothing would fit, not even the smallest there is, mixed:" in result.stderr
    assert "or export it with --anyway" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_devices_on_a_pipe_has_every_name_whole() -> None:
    said = run("profiles").output
    assert [name for name in profile_names() if f" {name} " not in said] == []


def test_a_source_is_said_once_of_several_candidates() -> None:
    result = run("plan", "--model", "gemma-3-4b", "--profile", "default-web")
    assert result.output.count("a file that is read there 2,145 MB at most") > 2
    assert result.output.count("of an ArrayBuffer in Chrome") == 1
    assert "as said above" not in result.output.split("not int8")[0], "of nothing but candidates"


@pytest.mark.parametrize(
    ("said", "clauses", "words"),
    [
        ((), ("a", "b"), "a; b"),
        (("x a y",), ("a", "b"), "b; and as said above"),
        (("a",), ("a",), "as said above"),
        (("1 MB (sourced: S)",), ("2 MB (sourced: S)",), "2 MB"),
        ((), ("2 MB (sourced: S)",), "2 MB (sourced: S)"),
        (("1 MB (sourced: S)",), ("2 MB (sourced: T)",), "2 MB (sourced: T)"),
        (("1 MB (unverified: S)",), ("2 MB (unverified: S)",), "2 MB"),
    ],
)
def test_what_was_said_is_not_said_again(
    said: tuple[str, ...], clauses: tuple[str, ...], words: str
) -> None:
    assert not_yet(said, clauses) == words
