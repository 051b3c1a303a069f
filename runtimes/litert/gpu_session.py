"""`GpuSession`: a .tflite or .litertlm on LiteRT's GPU accelerator, behind the `Session` interface.

For a process of its own (`gpu_process`): what the accelerator dislikes ends the process. Its log goes to
file descriptor 2, where whoever started the process reads which adapter it chose and what it left over.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Literal, Self

from runtimes.litert.calls import GraphCall
from runtimes.litert.embedders import open_embedders
from runtimes.litert.facts import session_facts
from runtimes.litert.gpu_files import GpuFiles
from runtimes.litert.multimodal_session import LiteRtMultimodalSession
from runtimes.litert.session import LiteRtSession, LoadedModels, Signature, signatures_of

GpuArithmetic = Literal["fp32", "fp16"]

WORDS: dict[GpuArithmetic, str] = {
    "fp32": "fp32, weights dequantised on the way",
    "fp16": "fp16, weights dequantised on the way",
}
POLL = 0.01  # seconds between looks at the other threads
QUIET_POLLS = 5  # in a row without one that runs


class GpuSession(LiteRtSession):
    """`open_on_gpu` makes one. fully_accelerated: whether the accelerator took every operation."""

    fully_accelerated: bool

    @classmethod
    def open_on_gpu(cls, path: Path, files: GpuFiles, scratch: Path, arithmetic: GpuArithmetic) -> Self:
        """path: what the files were made of. Raises ArtifactError for a graph that is not a decoder's,
        and RuntimeError where LiteRT refuses it, with what it thinks of it in the log."""
        directory = tempfile.TemporaryDirectory(prefix="gpu-", dir=scratch)
        embedders = open_embedders(files.embedders, Path(directory.name), path)
        model = open_compiled(files.text, arithmetic)
        facts = session_facts(path, signatures_of(model), set(embedders), WORDS[arithmetic], files.masks)
        session = cls(LoadedModels(model, embedders, files.masks), facts, directory)
        session.fully_accelerated = bool(model.is_fully_accelerated())
        return session

    def _run(self, signature: Signature, call: GraphCall) -> None:
        super()._run(signature, call)
        # A run is only submitted. A read waits 10 s for it, then fails and loses the buffer.
        wait_for_other_threads()


class GpuMultimodalSession(GpuSession, LiteRtMultimodalSession):
    """Satisfies `MultimodalSession`. `open_on_gpu` makes one, `take_rows` has it take rows."""


def wait_for_other_threads() -> None:
    """Until no other thread of this process has anything to compute: a software driver's queue is then
    empty. A GPU's own time is not seen, and far below 10 s a call."""
    quiet = 0
    while quiet < QUIET_POLLS:
        time.sleep(POLL)
        quiet = 0 if _others_run() else quiet + 1


def _others_run() -> bool:
    own = threading.get_native_id()
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) == own:
            continue
        try:
            # The state follows the name, which is in parentheses and may hold anything (proc(5)).
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has just ended
            continue
        if state in ("R", "D"):
            return True
    return False


def open_compiled(model: Path, arithmetic: GpuArithmetic) -> Any:
    """What the accelerator does not take goes to the CPU, so that it can be named and not just refused."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.environment import Environment
    from ai_edge_litert.options import CpuOptions, GpuOptions, HardwareAccelerator, Options

    options = Options(
        hardware_accelerators=HardwareAccelerator.GPU | HardwareAccelerator.CPU,
        cpu_options=CpuOptions(num_threads=2),
        gpu_options=GpuOptions(enforce_f32=arithmetic == "fp32"),
    )
    return CompiledModel.from_file(str(model), environment=Environment.create(), options=options)
