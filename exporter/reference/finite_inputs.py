"""`require_finite`: a linear whose inputs overflow or are not numbers ends calibration by its name.

Codes made of them would be nonsense that looks like weights. Not about weights, which are checked as they
are read (`exporter.checkpoints`).
"""

from __future__ import annotations

from torch import Tensor

from exporter.errors import ReferenceModelError


def require_finite(weight: str, squares: Tensor) -> None:
    """squares: of what enters the linear of this weight, by input. Raises ReferenceModelError."""
    if squares.isfinite().all():
        return
    raise ReferenceModelError(
        weight,
        "what enters it on the calibration text is not finite, or so large that its square is not",
        "fetch the checkpoint again if weights before it are damaged; a model that computes so can only be "
        "exported with --recipe float",
    )
