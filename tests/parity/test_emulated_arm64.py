"""A tiny Gemma 3's artifacts on an emulated ARM64 CPU against the same artifacts on this machine's.

Matrix: LiteRT and ONNX × int8 and int4 linears on a Cortex-A76 (dot products), int4 on QEMU's richest CPU
too (i8mm, SVE, bf16). Prefill to past the window, then decode. Asserted: mean KL. Not asserted: speed,
memory, or anything of a GPU. That a gate on it can fail is `test_validating_on_arm64`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.table import lowerings_for
from exporter.schemes import INT4_G32, INT8_CHANNEL, Scheme
from runtimes.arm64.emulation import EmulatedCpu
from runtimes.arm64.guest import Answer
from runtimes.arm64.root import Arm64Root, find_root
from runtimes.errors import ArtifactError, ExecutionFailed, RuntimeUnavailable
from runtimes.formats import Format
from runtimes.open import open_session
from runtimes.session import Logits
from tests.tiny import tiny_gemma3
from tests.tiny_releases import TinyRelease, mean_kl, quantized, some_tokens

PREFILLED, DECODED = 40, 16  # past the window of 16, twice
TOKENS = some_tokens(PREFILLED + DECODED)
FAMILIES: dict[str, Format] = {"litert": "tflite", "onnx": "onnx"}
# Measured: 1e-8 to 2e-8, and 6e-6 (ONNX) to 5e-5 (LiteRT), where a last bit decides how inputs are rounded.
LIMITS = {"int8-channel": 1e-6, "int4-g32": 1e-3}
TinyOf = Callable[[str, Scheme], TinyRelease]


@pytest.fixture(scope="module")
def root() -> Arm64Root:
    try:
        return find_root()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyOf:
    """A tiny release of a family, lowered once."""
    made: dict[tuple[str, str], TinyRelease] = {}

    def release(family: str, scheme: Scheme) -> TinyRelease:
        if (family, scheme.name) not in made:
            directory = tmp_path_factory.mktemp(f"{family}-{scheme.name}")
            checkpoint = quantized(directory, tiny_gemma3(), scheme)
            format = FAMILIES[family]
            lowering = lowerings_for([format])[family]
            made[family, scheme.name] = TinyRelease.lower(directory, checkpoint, lowering)
        return made[family, scheme.name]

    return release


def here(release: TinyRelease, family: str) -> Logits:
    with open_session(release.directory, release.artifacts[FAMILIES[family]]) as session:
        session.prefill(TOKENS[:PREFILLED])
        return np.stack([session.decode(int(token)) for token in TOKENS[PREFILLED:]])


def there(
    root: Arm64Root, cpu: str, release: TinyRelease, family: str, scratch: Path
) -> tuple[Logits, Answer]:
    scratch.mkdir()
    emulated = EmulatedCpu(root, cpu, seconds=300)
    return emulated.run(release.directory, release.artifacts[FAMILIES[family]], TOKENS, PREFILLED, scratch)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("scheme", "cpu"),
    [(INT8_CHANNEL, "cortex-a76"), (INT4_G32, "cortex-a76"), (INT4_G32, "max")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_the_emulated_cpu_computes_what_this_machine_computes(
    scheme: Scheme, family: str, cpu: str, root: Arm64Root, tiny: TinyOf, tmp_path: Path
) -> None:
    release = tiny(family, scheme)
    found, answer = there(root, cpu, release, family, tmp_path / "scratch")
    assert mean_kl(here(release, family), found) < LIMITS[scheme.name]
    assert "asimddp" in answer.features
    assert ("i8mm" in answer.features) == (cpu == "max")


def test_a_cpu_that_the_vendors_build_is_not_made_for_is_a_crash_with_its_signal(
    root: Arm64Root, tiny: TinyOf, tmp_path: Path
) -> None:
    """ai-edge-litert's ARM64 wheel needs ARMv8.1's atomics: it ends on a Cortex-A53 or A72."""
    with pytest.raises(ExecutionFailed, match=r"cortex-a53: ended by SIGILL; it printed last: opening"):
        there(root, "cortex-a53", tiny("litert", INT8_CHANNEL), "litert", tmp_path / "scratch")


def test_a_truncated_artifact_is_refused_there_as_it_is_here(
    root: Arm64Root, tiny: TinyOf, tmp_path: Path
) -> None:
    damaged = tiny("onnx", INT8_CHANNEL).copy(tmp_path)
    path = damaged.directory / damaged.artifacts["onnx"].path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"on an emulated cortex-a76: .* ONNX Runtime cannot load it"):
        there(root, "cortex-a76", damaged, "onnx", tmp_path / "scratch")
