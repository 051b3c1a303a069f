"""`TowerOnPath`: a tower, and what takes its rows, on an execution path that is here; running either there.

What goes wrong becomes a sentence, and a failing gate where the release is to blame (docs/adr/0018). Not
about judging what comes back (`tower_paths`, `prompts_on_paths`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from exporter.formats.execution_path import BehindAnswer, ExecutionPath, RowsAnswer, Sensing, SensingOrder
from exporter.validation.checked_tower import CheckedTower
from exporter.validation.gates import count_gate
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.verdict import FAILURES
from runtimes.errors import (
    ArtifactError,
    BeyondAdapter,
    EncoderError,
    ExecutionFailed,
    ProcessingError,
    RuntimeUnavailable,
    SessionError,
)

Given = TypeVar("Given", RowsAnswer, BehindAnswer)


@dataclass(frozen=True)
class TowerOnPath(CheckedTower):
    """execution: a path that is here. sensing: how it executes towers and decoders."""

    execution: ExecutionPath
    sensing: Sensing

    @property
    def title(self) -> str:
        return self.execution.title

    def say(self, why: object) -> None:
        """A sentence under "Not checked"."""
        self.not_checked(f"{self.path}, {self.title}: {why}.")

    def attempt(self, artifact: str, what: str, run: Callable[[SensingOrder], Given]) -> Given | None:
        """What comes of it; None where it cannot be tried after all, or fails. artifact: that is run. what:
        is asked of it, for gates."""
        subject = f"{self.title}: {what}"
        scratch = Path(tempfile.mkdtemp(prefix=f"{self.execution.name}-", dir=self.scratch))
        order = SensingOrder(self.directory, self.encoder, self.artifact, scratch, self.execution.seconds)
        try:
            with self.job.stopwatch.step(self.title):
                answer = run(order)
        except (RuntimeUnavailable, BeyondAdapter) as error:
            self.say(error)
            return None
        except (ArtifactError, EncoderError, ExecutionFailed, ProcessingError, SessionError) as error:
            self.say(error)
            self.gate(count_gate(self.kind, artifact, subject, FAILURES, 1, "failures"))
            return None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # a killed process may still be letting go of it
        if answer.left_over is not None:
            left = len(answer.left_over)
            self.gate(count_gate(self.kind, artifact, subject, LEFT_OVER, left, "operations"))
        return answer
