"""Keeping coremltools' chatter off our user's terminal.

It draws progress bars on stderr, warns of every torch newer than its own tests, and at import names
each Apple library that Linux does not have. Errors still come through, as exceptions.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

# torchao and torch speak up when coremltools imports them.
LOGGERS = ("coremltools", "torchao", "torch.utils._pytree")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Import and call coremltools inside this."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
