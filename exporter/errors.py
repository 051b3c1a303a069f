"""Everything the exporter refuses, as one tree.

    ExportError                      where, what, what next; the command exits 2
    ├── UsageError                   a flag or a name that means nothing here
    ├── CheckpointError              the source: absent, truncated, hostile, wrong dtype or shape, NaN
    ├── SpecError                    config.json: unknown model_type, a key missing or unknown
    ├── TokenizerError               no tokenizer, or one that cannot be written as tokenizer.json
    ├── RecipeError                  a recipe that is unknown, ambiguous, or leaves a weight undecided
    ├── ProfileError                 a device profile with unknown keys or impossible values
    ├── PlanError                    a plan the target, the context or the memory cannot carry
    ├── QuantizedCheckpointError     the intermediate checkpoint is damaged or from another plan
    ├── LoweringError                a graph that is not what the lowering expects
    ├── ReferenceModelError          the reference cannot be built or run
    └── ReleaseError                 the output cannot be written, or is there already
        └── FullDiskError            because a disk is full: what was finished is worth keeping

A comparison that fails its limit is not an error but a verdict (`exporter.validation.verdict`).
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of the exporter's errors.

    where: the file, flag or tensor at fault. what: what is wrong with it. then: what to do next.
    """

    def __init__(self, where: object, what: str, then: str) -> None:
        super().__init__(f"{where}: {what}; {then}")
        self.where = str(where)
        self.what = what
        self.then = then


class UsageError(ExportError):
    """A flag or a name that means nothing here."""


class CheckpointError(ExportError):
    """A checkpoint source that cannot be trusted or read."""


class SpecError(ExportError):
    """An architecture that is unknown or not fully stated."""


class TokenizerError(ExportError):
    """A tokenizer that is missing or cannot be expressed as tokenizer.json."""


class RecipeError(ExportError):
    """A recipe that is unknown, ambiguous, or not total."""


class ProfileError(ExportError):
    """A device profile that is unknown or not strict TOML of its schema."""


class PlanError(ExportError):
    """A plan the target, the context or the memory cannot carry."""


class QuantizedCheckpointError(ExportError):
    """A quantised checkpoint that is damaged or belongs to another plan."""


class LoweringError(ExportError):
    """A traced graph or artifact that is not what the lowering expects."""


class ReferenceModelError(ExportError):
    """The reference model cannot be built or run."""


class ReleaseError(ExportError):
    """A release that cannot be written, or that is there already."""


class FullDiskError(ReleaseError):
    """A disk that takes no more: once there is room, what was finished is good to go on from."""
