"""Profiles: every shipped one is sound, and a wrong one is refused with the path of its key."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from exporter.errors import ProfileError
from exporter.formats.table import family_of
from exporter.planning.fidelity import CLASSES
from exporter.planning.profiles import (
    TARGETS,
    load_device,
    load_profile,
    load_target,
    nearest_names,
    profile_names,
    read_profile,
)
from exporter.resources import data_directory

GOOD = """
name = "x"
title = "X"
kind = "ios"
context = 2048
recipes = ["int8", "int4"]

[gates]
fidelity = "calibrated"
formats = ["coreml"]
context = 1024
artifact_bytes = 3_000
memory_bytes = 3_500

[runtimes.coreml]
accelerator = "NPU"
status = "sourced"
source = "its manual"

[runtimes.coreml.blockwise]
kernels = true
status = "sourced"
source = "its release notes"

[memory]
metric = "phys_footprint"

[memory.ram]
bytes = 8_000
status = "sourced"
source = "a data sheet"

[memory.app]
bytes = 4_000
status = "unverified"
source = "a guess"

[memory.app_with_entitlement]
bytes = 5_000
status = "unverified"
source = "a larger guess"

[bandwidth]
gigabytes_per_second = 51
status = "sourced"
source = "a data sheet of its memory"

[largest_buffer]
bytes = 1_000
status = "sourced"
source = "its driver"
"""


def write(directory: Path, text: str, name: str = "x") -> Path:
    profiles = directory / "device_profiles"
    profiles.mkdir(exist_ok=True)
    path = profiles / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_loads_and_leaves_the_system_some_memory(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.recipe_order[0] == "int8"
    if profile.memory.ram is not None:
        assert profile.memory.app.bytes < profile.memory.ram.bytes


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_means_accelerators_that_its_runtimes_have(name: str) -> None:
    for format, runtime in load_profile(name).runtimes.items():
        assert runtime.accelerator in family_of(format).accelerators


def test_most_facts_of_the_shipped_profiles_are_sourced_those_about_blocks_left_out_too() -> None:
    facts = [fact for name in profile_names() for fact in load_profile(name).facts()]
    of_devices = [fact for fact in facts if not fact[0].endswith(".blockwise")]
    for some in (facts, of_devices):
        counts = Counter(status for _, status, _ in some)
        assert counts["sourced"] >= len(some) / 2, counts


def test_an_unverified_fact_says_what_it_rests_on_instead() -> None:
    words = ("from memory", "rule of thumb", "assumed", "computed", "taken over", "as the")
    facts = [fact for name in profile_names() for fact in load_profile(name).facts()]
    unexplained = {
        source
        for _, status, source in facts
        if status == "unverified" and not any(each in source for each in words)
    }
    assert unexplained == set()


def test_profiles_cover_every_kind_of_device() -> None:
    kinds = {load_profile(name).kind for name in profile_names()}
    assert kinds == {"android", "ios", "macos", "desktop", "web"}
    asked_for = {
        *("android-6gb", "android-8gb", "ipad-pro-m4", "mac-mini-m4", "macbook-m1", "macbook-m3-pro"),
        *("macbook-m4-pro", "snapdragon-x-laptop", "galaxy-s26"),
    }
    assert asked_for <= set(profile_names())


def test_a_target_is_its_profiles_and_a_device_alone_is_one_too() -> None:
    assert [each.name for each in load_target("all").profiles] == list(TARGETS["all"])
    device = load_device("raspberry-pi-5")
    assert (device.name, [each.name for each in device.profiles]) == ("raspberry-pi-5", ["raspberry-pi-5"])


def test_every_fact_is_counted_by_its_key(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path, GOOD))
    assert {key: (status, source) for key, status, source in profile.facts()} == {
        "memory.ram": ("sourced", "a data sheet"),
        "memory.app": ("unverified", "a guess"),
        "memory.app_with_entitlement": ("unverified", "a larger guess"),
        "bandwidth": ("sourced", "a data sheet of its memory"),
        "largest_buffer": ("sourced", "its driver"),
        "runtimes.coreml": ("sourced", "its manual"),
        "runtimes.coreml.blockwise": ("sourced", "its release notes"),
    }


def test_a_gate_on_memory_lowers_what_an_app_may_use(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path, GOOD))
    assert (profile.budget, profile.budget_with_entitlement) == (3_500, 3_500)
    open_to_all = read_profile(write(tmp_path, GOOD.replace("memory_bytes = 3_500\n", "")))
    assert (open_to_all.budget, open_to_all.budget_with_entitlement) == (4_000, 5_000)


def test_what_a_profile_does_not_say_of_recipes_its_kind_does(tmp_path: Path) -> None:
    said = 'recipes = ["int8", "int4"]\n'
    profile = read_profile(write(tmp_path, GOOD))
    assert profile.recipe_order == ("int8", "int4")
    assert read_profile(write(tmp_path, GOOD.replace(said, ""))).recipe_order == ("int8", "int4-zp", "int4")


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ('metric = "phys_footprint"', 'metric = "phys_footprint"\nfoo = 1', "$.memory.foo"),
        ('metric = "phys_footprint"', 'metric = "rss"', "$.memory.metric"),
        ('metric = "phys_footprint"', 'metric = "gpu_memory"', "$.memory.metric"),
        ('title = "X"\n', "", "$.title"),
        ('title = "X"', 'title = "X"\nram = 4', "$.ram"),
        ("context = 2048", 'context = "2048"', "$.context"),
        ("context = 2048", "context = 0", "$.context"),
        ("context = 2048", "context = true", "$.context"),
        ('kind = "ios"', 'kind = "watch"', "$.kind"),
        ('name = "x"', 'name = "y"', "$.name"),
        ('recipes = ["int8", "int4"]', 'recipes = ["int8", "int5"]', "$.recipes[1]"),
        ('recipes = ["int8", "int4"]', "recipes = []", "$.recipes"),
        ('recipes = ["int8", "int4"]', 'recipes = ["int8", "int8"]', "$.recipes"),
        ('fidelity = "calibrated"', 'fidelity = "good"', "$.gates.fidelity"),
        ('formats = ["coreml"]', 'formats = ["onnx"]', "$.gates.formats"),
        ('formats = ["coreml"]', "formats = []", "$.gates.formats"),
        ('formats = ["coreml"]', 'formats = ["coreml", "coreml"]', "$.gates.formats"),
        ("context = 1024", "context = 4096", "$.gates.context"),
        ("context = 1024", "context = 0", "$.gates.context"),
        ("artifact_bytes = 3_000", "artifact_bytes = 0", "$.gates.artifact_bytes"),
        ("memory_bytes = 3_500", "memory_bytes = -1", "$.gates.memory_bytes"),
        ("[runtimes.coreml]", "[runtimes.tensorrt]", "a key of $.runtimes"),
        ('accelerator = "NPU"', 'accelerator = "TPU"', "$.runtimes.coreml.accelerator"),
        ('source = "its manual"', 'source = ""', "$.runtimes.coreml.source"),
        ('source = "its release notes"', 'source = " "', "$.runtimes.coreml.blockwise.source"),
        ("kernels = true", "kernels = 1", "$.runtimes.coreml.blockwise.kernels"),
        ("bytes = 4_000", "bytes = 0", "$.memory.app.bytes"),
        ("bytes = 4_000", "bytes = 4e3", "$.memory.app.bytes"),
        ("bytes = 4_000", "bytes = 9_000", "$.memory.app.bytes"),
        ("bytes = 5_000", "bytes = 3_999", "$.memory.app_with_entitlement.bytes"),
        ('source = "a guess"', 'source = " "', "$.memory.app.source"),
        ('status = "unverified"', 'status = "likely"', "$.memory.app.status"),
        ("bytes = 1_000", "bytes = 0", "$.largest_buffer.bytes"),
        ('source = "its driver"', 'source = ""', "$.largest_buffer.source"),
        ("gigabytes_per_second = 51", "gigabytes_per_second = -1", "$.bandwidth.gigabytes_per_second"),
        ("gigabytes_per_second = 51", "gigabytes_per_second = nan", "$.bandwidth.gigabytes_per_second"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_path(tmp_path: Path, old: str, new: str, at: str) -> None:
    assert old in GOOD
    with pytest.raises(ProfileError) as caught:
        read_profile(write(tmp_path, GOOD.replace(old, new)))
    assert caught.value.where == f"{tmp_path}/device_profiles/x.toml: {at}"


def test_an_error_in_a_profile_calls_its_file_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, GOOD.replace("context = 2048", "context = 0"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for called in (
        str(path),
        "device_profiles/x.toml",
        "./device_profiles/x.toml",
        "~/device_profiles/x.toml",
    ):
        with pytest.raises(ProfileError) as caught:
            load_profile(called)
        assert caught.value.where == f"{called}: $.context"
    with pytest.raises(ProfileError) as caught:
        load_profile("x", path.parent)
    assert caught.value.where == "device_profiles/x.toml: $.context", "one that ships"


@pytest.mark.parametrize(
    ("accelerator", "kernels", "at", "said"),
    [
        ("GPU", "true", "blockwise.kernels", "end the process of LiteRT's GPU accelerator"),
        ("NPU", "false", "accelerator", "what LiteRT is given here runs on CPU or GPU"),
    ],
)
def test_a_profile_that_contradicts_its_runtime_is_refused(
    accelerator: str, kernels: str, at: str, said: str, tmp_path: Path
) -> None:
    text = GOOD.replace("coreml", "litertlm").replace('"NPU"', f'"{accelerator}"')
    text = text.replace("kernels = true", f"kernels = {kernels}")
    with pytest.raises(ProfileError, match=said) as caught:
        read_profile(write(tmp_path, text))
    assert caught.value.where.endswith(f"$.runtimes.litertlm.{at}")


def test_what_is_not_toml_is_refused_by_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"device_profiles/x\.toml: cannot be read as TOML"):
        read_profile(write(tmp_path, "name = "))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("Pixel 9", "pixel-9"),
        ("iphone15pro", "iphone-15-pro"),
        ("macbok-m3-pro", "macbook-m3-pro"),
        ("galaxy_s26_ultra", "galaxy-s26-ultra"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(asked: str, meant: str) -> None:
    assert nearest_names(asked, profile_names())[0] == meant
    with pytest.raises(ProfileError, match=f"did you mean {meant}"):
        load_profile(asked)


def test_a_name_like_none_is_answered_with_where_they_are_listed() -> None:
    with pytest.raises(ProfileError, match=r"name one that is there; `gemma-export profiles` lists all"):
        load_profile("zzzzzz")
    with pytest.raises(ProfileError, match=r"--target watch.*android, ios"):
        load_target("watch")


def test_a_profile_of_ones_own_is_taken_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('name = "x"', 'name = "my-phone"'), "my-phone")
    assert load_device(str(path)).name == "my-phone"
    with pytest.raises(ProfileError, match=r"there is no such file; correct the path"):
        load_profile(str(tmp_path / "gone.toml"))


def test_every_class_a_gate_may_ask_for_is_a_word(tmp_path: Path) -> None:
    for each in CLASSES:
        text = GOOD.replace('fidelity = "calibrated"', f'fidelity = "{each}"')
        assert read_profile(write(tmp_path, text)).gates.fidelity == each


def test_a_profile_of_the_current_directory_is_refused_by_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, GOOD.replace('"x"', '"pixel-8"')).parent)
    with pytest.raises(ProfileError) as caught:
        read_profile(Path("./x.toml"))
    assert caught.value.where == "x.toml: $.name"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("my phone", "my-phone"),
        ("téléphone", "telephone"),
        ("..", "unnamed"),
        ("a+b", "a-b"),
        ("x" * 41, "x" * 40),
    ],
)
def test_a_name_that_is_no_directory_s_everywhere_is_refused_with_one_that_is(
    tmp_path: Path, name: str, instead: str
) -> None:
    text = GOOD.replace('name = "x"', f'name = "{name}"')
    with pytest.raises(ProfileError) as refused:
        read_profile(write(tmp_path, text, name))
    assert refused.value.where.endswith(f"{name}.toml: $.name")
    assert f"as in {instead}, here and in the file's name" in refused.value.what
    renamed = text.replace(f'name = "{name}"', f'name = "{instead}"')
    assert read_profile(write(tmp_path, renamed, instead)).name == instead


@pytest.mark.parametrize("name", ["", "a/b", "../x"])
def test_a_name_that_no_file_has_is_refused_for_what_it_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProfileError, match="directories of releases are called after it") as refused:
        read_profile(write(tmp_path, GOOD.replace('name = "x"', f'name = "{name}"')))
    assert refused.value.where.endswith("x.toml: $.name")


def test_a_limit_on_files_is_for_formats_that_are_read_whole(tmp_path: Path) -> None:
    limit = '\n[largest_file]\nbytes = 1_000\nstatus = "sourced"\nsource = "its manual"\n'
    with pytest.raises(ProfileError, match="counts for none of coreml: none is read whole") as caught:
        read_profile(write(tmp_path, GOOD + limit))
    assert caught.value.where == f"{tmp_path}/device_profiles/x.toml: $.largest_file"
    web = (data_directory("device_profiles") / "default-web.toml").read_text(encoding="utf-8")
    named = web.replace('name = "default-web"', 'name = "x"')
    found = read_profile(write(tmp_path, named)).facts()
    assert "largest_file" in {key for key, _, _ in found}
    with pytest.raises(ProfileError, match=r"\$\.largest_file\.bytes: expected a positive integer"):
        read_profile(write(tmp_path, named.replace("bytes = 2_145_386_496", "bytes = 0")))
