"""Lines that a CI job shows among its errors, as GitHub Actions reads them: `::error title=…::…`.

Not about what is wrong.
"""

from __future__ import annotations

import os

ACTIONS = "GITHUB_ACTIONS"


def in_actions() -> bool:
    """Whether this process is a step of such a job."""
    return os.environ.get(ACTIONS) == "true"


def error_line(title: str, message: str) -> str:
    """On one line, with what has a meaning to the reader escaped."""
    called = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::error title={called}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
