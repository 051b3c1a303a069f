"""Shared fixtures, and CI's rule that a skip is a failure."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from exporter.planning.recipe import RECIPES
from tests.fake_hub import use_endpoint

# Hypothesis for a suite that must give the same answer on a busy machine, whichever part of it is run.
settings.register_profile(
    "reproducible", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("reproducible")

# Workers of pytest-xdist have a thread a processor each: one that spins while it waits for its next loop
# takes the processor from another worker. libgomp, which torch computes with, reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _hidden(name: str) -> str | None:
    """Point an environment variable at nothing. Returns what it was given as: workers of pytest-xdist
    inherit the controller's environment, in which it is hidden already."""
    kept = f"GEMMA_EXPORT_TESTS_GIVEN_{name}"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[kept] = os.environ.get(name, "")
    os.environ[name] = os.devnull
    return os.environ.get(kept) or None


VULKAN_DRIVERS = "VK_DRIVER_FILES"
# Tests run as on a machine without a GPU, which is what most release on; `on_the_gpu` is for those that are
# about one. With a software driver, every validation of a tiny model would compile shaders first.
GIVEN_DRIVERS = _hidden(VULKAN_DRIVERS)
# Nor do exports open a browser, but for those tests that are about one (`tests.web_engines`).
WEB_PACKAGES = "GEMMA_EXPORT_WEB"
GIVEN_WEB_PACKAGES = _hidden(WEB_PACKAGES)
# What a job that runs these tests is told is not for the exports in them.
for told in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    _hidden(told)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the files with tests of the real model the first, which makes `sample_release` in minutes, comes
    before all others, and the rest behind them, so that no worker waits for another's."""
    first, *rest = dict.fromkeys(item.path for item in items if item.get_closest_marker("sample")) or [None]
    places = {first: 0, **dict.fromkeys(rest, 2)}
    items.sort(key=lambda item: places.get(item.path, 1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):  # pytest reports an expected failure as skipped
        _fail_a_skip_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_a_skip_in_ci(report)
    return report


def _fail_a_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything must run: {report.longrepr}"


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def kept_conversions(of_all_workers: Path) -> Iterator[None]:
    """What is handed to coremltools a second time, by any worker, is not converted again."""
    if "exporter.lowering.coreml.traced_program" not in sys.modules:
        yield  # no test that was collected converts anything, and `make quick` does without torch
        return
    from exporter.lowering.coreml import traced_program
    from tests.kept_conversions import KeptConversions

    with pytest.MonkeyPatch.context() as patch:
        kept = KeptConversions.below(of_all_workers, traced_program.converted)
        patch.setattr(traced_program, "converted", kept)
        yield


@pytest.fixture
def converted_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are about converting: nothing is taken from `kept_conversions`."""
    from exporter.lowering.coreml import traced_program
    from tests.kept_conversions import KeptConversions

    if isinstance(traced_program.converted, KeptConversions):
        monkeypatch.setattr(traced_program, "converted", traced_program.converted.convert)


@pytest.fixture(scope="session")
def sample_release(of_all_workers: Path) -> Path:
    """The real Gemma 3 270M, every format, recipe int8, through the command line: minutes, once for all
    workers. On a tenth of the evaluation text and of the calibration text: all of them are a third of CI's
    time, and what lies past a window or is asked of each language is tried on tiny models."""
    release = of_all_workers / "sample" / "release"
    with (of_all_workers / "sample.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not release.exists():
            recipe = _of_little_text("int8", of_all_workers)
            command = [sys.executable, "-m", "exporter.cli", "--target", "all", "--recipe", str(recipe)]
            command += ["--validation-tokens", "128", "-o", str(release)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return release


def _of_little_text(recipe: str, place: Path) -> Path:
    """A recipe of ours that looks at a tenth of its calibration tokens."""
    text = (RECIPES / f"{recipe}.toml").read_text(encoding="utf-8")
    lessened, count = re.subn(
        r"^tokens = (\d+)$", lambda found: f"tokens = {int(found[1]) // 10}", text, flags=re.M
    )
    assert count == 1
    written = place / f"{recipe}.toml"
    written.write_text(lessened, encoding="utf-8")
    return written


@pytest.fixture
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's Vulkan drivers, whichever they are."""
    if GIVEN_DRIVERS is None:
        monkeypatch.delenv(VULKAN_DRIVERS)
    else:
        monkeypatch.setenv(VULKAN_DRIVERS, GIVEN_DRIVERS)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face Hub's client, which can ask nobody."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    use_endpoint("http://127.0.0.1:9", monkeypatch)  # the discard port: nobody answers
    return cache
