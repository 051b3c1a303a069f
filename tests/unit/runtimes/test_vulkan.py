"""Asking for Vulkan adapters where there are none, where drivers crash, and where one answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runtimes import vulkan
from runtimes.errors import BeyondAdapter
from runtimes.vulkan import VulkanAdapter, VulkanListing, has_loader, vulkan_adapters

GPU = VulkanAdapter("Radeon", "discrete GPU", False, 1 << 30, "RADV Mesa 25")
SOFTWARE = VulkanAdapter("llvmpipe", "CPU", True, 1 << 27, "")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Answers are kept by what steers the loader; every test steers it elsewhere."""
    monkeypatch.setenv("VK_LAYER_PATH", str(tmp_path))


def answering(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(
        vulkan,
        "own_python",
        lambda module, *given: ([sys.executable, "-c", program, *given], dict(os.environ)),
    )


@pytest.mark.skipif(not has_loader(), reason="the Vulkan loader is not installed")
def test_a_loader_without_drivers_has_no_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", os.devnull)
    assert vulkan_adapters() == ()


@pytest.mark.usefixtures("on_the_gpu")
def test_the_adapters_of_this_machine_say_what_they_take() -> None:
    found = vulkan_adapters() if has_loader() else ()
    if not found:
        pytest.skip("no Vulkan adapter is here")
    for each in found:
        assert each.name
        assert each.kind in vulkan.KINDS
        assert each.largest_buffer >= 1 << 27, "the least the specification allows"
        assert each.driver, "every driver of Vulkan 1.2 and later names itself"


def test_gpus_come_first_and_a_cpu_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = VulkanListing((SOFTWARE, GPU))
    answering(
        monkeypatch,
        "import json, sys; from runtimes.records import to_plain; from runtimes.vulkan import *;"
        f"json.dump(to_plain({listing!r}), open(sys.argv[1], 'w'))",
    )
    assert vulkan_adapters() == (GPU, SOFTWARE)
    assert GPU.in_words == "Radeon"
    assert SOFTWARE.in_words == "llvmpipe, a CPU in place of a GPU"
    assert GPU.described == "Radeon; driver RADV Mesa 25; fp16: no; largest buffer 1,024 MiB"
    assert "; a driver that does not name itself; fp16: yes; largest buffer 128 MiB" in SOFTWARE.described


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; print('radv: oops', flush=True); os.abort()", "SIGABRT; it printed last: radv: oops"),
        ("pass", "adapters.json"),
        ("import sys; open(sys.argv[1], 'w').write('{\"adapters\": 3}')", "expected an array"),
    ],
)
def test_drivers_that_do_not_answer_are_said_to(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, program)
    with pytest.raises(BeyondAdapter, match="the Vulkan drivers here do not answer") as found:
        vulkan_adapters()
    assert said in str(found.value)


def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "SECONDS", 1.0)
    answering(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(BeyondAdapter, match="not done after 1 s"):
        vulkan_adapters()
