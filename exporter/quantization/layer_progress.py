"""`LayerProgress`: how many layers of a quantised checkpoint are whole, told as each becomes so.

Not about how far a matrix is (`store.writer`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from exporter.progress import Progress

LAYERS_DONE = "quantise: layers"
_LAYER = re.compile(r"model\.layers\.(\d+)\.")


class LayerProgress:
    """Over matrices of the model, by name; those that are there already are told of as any other."""

    def __init__(self, names: Iterable[str], progress: Progress) -> None:
        self._progress = progress
        self._missing: dict[str, set[str]] = {}
        for name in names:
            if (found := _LAYER.match(name)) is not None:
                self._missing.setdefault(found[1], set()).add(name)
        self._layers = len(self._missing)

    def written(self, name: str) -> None:
        """A matrix is there. Tells where it was its layer's last."""
        found = _LAYER.match(name)
        if found is None or found[1] not in self._missing:
            return
        self._missing[found[1]].discard(name)
        if not self._missing[found[1]]:
            del self._missing[found[1]]
            self._progress(LAYERS_DONE, self._layers - len(self._missing), self._layers)
