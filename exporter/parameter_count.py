"""How many parameters a model or a part of it has, in words.

Whatever is said of a count shows it, as `byte_size` does of sizes. Not about counting.
"""

from __future__ import annotations

MILLION = 1e6
WHOLE_FROM = 10  # millions: below them a decimal says something


def parameters(count: int) -> str:
    """In millions from one million up, which is how models are talked of: "417 M parameters"."""
    millions = count / MILLION
    if millions >= WHOLE_FROM:
        return f"{millions:,.0f} M parameters"
    if millions >= 1:
        return f"{millions:.1f} M parameters"
    return f"{count:,} parameter{'' if count == 1 else 's'}"
