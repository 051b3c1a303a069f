"""What commands do before their work: silence chatty packages, and say which model a name stands for."""

from __future__ import annotations

import atexit
import logging
from typing import Any

from exporter.exits import silence_farewells


def say_what_it_means(model: str | None, console: Any) -> None:
    """The model and repository a name stands for, before anything is fetched."""
    from exporter.checkpoints.open import published_name

    if (name := published_name(model)) is not None:
        console.print(f"{name}.", highlight=False)


def quieten() -> None:
    """What packages we depend on say on import, about kernels nobody asked for, and as the process ends."""
    atexit.register(silence_farewells)
    for chatty in ("torchao", "torch.utils._pytree"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
