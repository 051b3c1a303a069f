"""One artifact: its weights read back, its float twin and itself run along both routes.

Steps of `check_artifact`:
  (1) weights: codes and scales in the written file against the quantised checkpoint   stored_weights
  (2) the twin, in every arithmetic, against transformers on the quantised checkpoint; its logits stay
      on disk for (3) and (4), the twin itself is deleted                               twin_check
  (3) the artifact on every path that is here, beside this process's CPU                path_check
  (4) the artifact, in every arithmetic                                                 execution_check
  (5) where its lowering failed: the first layer that does not compute what it should    first_wrong_layer
  (6) its chat template, in its runtime                                                 template_check
One session is open at a time. What cannot be done is skipped with its reason, never left out.
"""

from __future__ import annotations

from exporter.errors import LoweringError
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.execution_check import Executed, run_itself
from exporter.validation.first_wrong_layer import name_first_layer
from exporter.validation.gates import count_gate
from exporter.validation.path_check import check_paths
from exporter.validation.stored_weights import differing_by_matrix
from exporter.validation.template_check import check_template
from exporter.validation.twin_check import run_twins
from runtimes.errors import ArtifactError

UNREADABLE = "unreadable"


def check_artifact(check: ArtifactCheck) -> list[Executed]:
    """Run every check of one artifact; comparisons and gates go to its findings."""
    stopwatch = check.job.stopwatch
    with stopwatch.step(check.artifact.path):
        # (1)
        with stopwatch.step("weights read back"):
            _weights(check)
        # (2)
        with stopwatch.step("float twin"):
            twins = run_twins(check)
        # (3)
        with stopwatch.step("execution paths"):
            check_paths(check, twins)
        # (4)
        with stopwatch.step("the artifact"):
            executed = [run_itself(check, driver, twins) for driver in check.drivers]
        # (5)
        name_first_layer(check)
        # (6)
        with stopwatch.step("chat template"):
            check_template(check)
    return [found for found in executed if found is not None]


def _weights(check: ArtifactCheck) -> None:
    statistic, unit, subject = "differing numbers", "numbers", "stored weights"
    try:
        stored = check.lowering.read_back(check.release.directory, check.artifact)
        differing = differing_by_matrix(stored, check.release.checkpoint)
        count = differing.total()
        if differing:
            others = f" and {len(differing) - 1} others" if len(differing) > 1 else ""
            subject = f"{subject}: {next(iter(differing))}{others}"
    except (LoweringError, ArtifactError) as error:
        check.findings.not_checked.append(f"{check.artifact.path}: {error}.")
        count, statistic, unit = 1, UNREADABLE, "files"
    check.findings.gates.append(count_gate("weights", check.artifact.path, subject, statistic, count, unit))
