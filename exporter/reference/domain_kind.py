"""`DomainKind`: what a text of `samples/languages` is an example of.

Not about reading one (`domains`), which takes a tokenizer.
"""

from typing import Literal

DomainKind = Literal["language", "code", "chat"]
