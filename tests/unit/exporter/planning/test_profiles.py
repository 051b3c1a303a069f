"""Profiles: every shipped one is sound, and a wrong one is refused with the path of its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import ProfileError
from exporter.formats.table import family_of
from exporter.planning.profiles import (
    TARGETS,
    load_device,
    load_profile,
    load_target,
    profile_names,
    read_profile,
)
from exporter.resources import data_directory
from runtimes.formats import Format

GOOD = """
name = "x"
title = "X"
kind = "ios"
formats = ["coreml"]
recipe = "int8"
context = 2048

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

[bandwidth]
gigabytes_per_second = 51
status = "sourced"
source = "a data sheet"

[accelerators]
status = "sourced"
source = "its manual"

[accelerators.by_format]
coreml = "NPU"

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
    if profile.memory.ram is not None:
        assert profile.memory.app.bytes < profile.memory.ram.bytes


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_names_an_accelerator_for_each_format_that_its_runtime_has(name: str) -> None:
    profile = load_profile(name)
    assert set(profile.accelerators.by_format) == set(profile.formats)
    for format, accelerator in profile.accelerators.by_format.items():
        assert accelerator in family_of(format).accelerators


def test_a_target_means_each_format_for_its_most_particular_accelerator() -> None:
    assert load_target("android").accelerators == {"litertlm": "CPU", "onnx": "CPU"}
    assert load_device("pixel-9").accelerators == {"litertlm": "GPU", "onnx": "CPU"}
    everything = load_target("all").accelerators
    assert (everything["onnx"], everything["onnx-web"]) == ("CPU", "GPU")


def test_profiles_cover_every_kind_of_device() -> None:
    kinds = {load_profile(name).kind for name in profile_names()}
    assert kinds == {"android", "ios", "macos", "desktop", "web"}
    assert len(profile_names()) > 20


@pytest.mark.parametrize(
    ("target", "formats"),
    [
        ("android", ("litertlm", "onnx")),
        ("ios", ("coreml",)),
        ("macos", ("onnx", "coreml")),
        ("desktop", ("onnx",)),
        ("web", ("onnx-web",)),
        ("all", ("litertlm", "onnx", "onnx-web", "coreml")),
    ],
)
def test_a_target_writes_the_formats_of_its_kind(target: str, formats: tuple[Format, ...]) -> None:
    found = load_target(target)
    assert found.formats == formats
    assert found.recipe == "int8"
    assert found.context == min(profile.context for profile in found.profiles)


def test_a_device_alone_is_a_target_too() -> None:
    target = load_device("raspberry-pi-5")
    assert (target.name, target.formats, target.context) == ("raspberry-pi-5", ("litertlm",), 2048)


def test_every_target_is_tested_above() -> None:
    assert set(TARGETS) == {"android", "ios", "macos", "desktop", "web", "all"}


def test_an_optional_fact_may_be_left_out(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path, GOOD))
    assert profile.memory.app_with_entitlement is None
    assert profile.bandwidth is not None
    assert profile.bandwidth.gigabytes_per_second == 51.0


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ('metric = "phys_footprint"', 'metric = "phys_footprint"\nfoo = 1', "$.memory.foo"),
        ('metric = "phys_footprint"', 'metric = "rss"', "$.memory.metric"),
        ('title = "X"\n', "", "$.title"),
        ('title = "X"', 'title = "X"\nram = 4', "$.ram"),
        ("context = 2048", 'context = "2048"', "$.context"),
        ("context = 2048", "context = 0", "$.context"),
        ("context = 2048", "context = true", "$.context"),
        ('formats = ["coreml"]', 'formats = ["coreml", "tensorrt"]', "$.formats[1]"),
        ('formats = ["coreml"]', "formats = []", "$.formats"),
        ('formats = ["coreml"]', 'formats = ["coreml", "coreml"]', "$.formats"),
        ('kind = "ios"', 'kind = "watch"', "$.kind"),
        ('name = "x"', 'name = "y"', "$.name"),
        ('recipe = "int8"', 'recipe = ""', "$.recipe"),
        ("bytes = 4_000", "bytes = 0", "$.memory.app.bytes"),
        ("bytes = 4_000", "bytes = 4e3", "$.memory.app.bytes"),
        ("bytes = 4_000", "bytes = 9_000", "$.memory.app.bytes"),
        ('source = "a guess"', 'source = " "', "$.memory.app.source"),
        ('status = "unverified"', 'status = "likely"', "$.memory.app.status"),
        ('coreml = "NPU"', 'coreml = "TPU"', "$.accelerators.by_format.coreml"),
        ('coreml = "NPU"', 'onnx = "CPU"', "$.accelerators.by_format"),
        ('coreml = "NPU"', "", "$.accelerators.by_format"),
        ('source = "its manual"', 'source = ""', "$.accelerators.source"),
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
    assert caught.value.where == f"device_profiles/x.toml: {at}"


def test_what_is_not_toml_is_refused_by_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"device_profiles/x\.toml: cannot be read as TOML"):
        read_profile(write(tmp_path, "name = "))


def test_an_unknown_profile_or_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"nokia-3310.*default-android"):
        load_profile("nokia-3310")
    with pytest.raises(ProfileError, match=r"--target watch.*android, ios"):
        load_target("watch")


def test_profiles_that_disagree_on_the_recipe_do_not_make_a_target(tmp_path: Path) -> None:
    shipped = data_directory("device_profiles")
    for name in TARGETS["all"]:
        text = (shipped / f"{name}.toml").read_text(encoding="utf-8")
        if name == "default-web":
            text = text.replace('recipe = "int8"', 'recipe = "int4"')
        path = write(tmp_path, text, name)
    with pytest.raises(ProfileError, match="int4, int8"):
        load_target("all", path.parent)
