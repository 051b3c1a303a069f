"""The chat template as onnxruntime-genai is given it: rewritten where its Jinja would render other text.

    (1) genai keeps the blanks around blocks that transformers leaves out: they are left out of the source.
    (2) genai's Jinja (minja) lacks some methods of strings: they are said by filters.
    (3) It has no filter `upper`, and takes a macro of that name for one (of ASCII letters).
    (4) It flattens the schemas of tools, but for a template with the words "tool.function".

What comes out renders the same in Jinja itself (transformers, transformers.js), which the words of (3) and
(4) tell nothing. Whether it does in genai, validation asks (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.lowering.template_methods import without_methods
from exporter.lowering.template_source import SourcePiece, join_source, split_source

METHODS = {
    ("upper", 0): "({x}|upper)",
    ("lower", 0): "({x}|lower)",
    ("join", 1): "({0}|join({x}))",
    ("replace", 2): "({x}.split({0})|join({1}))",
}
# A letter at a time, as minja has `capitalize`. Names in its macros are everyone's: hence long ones.
UPPER = (
    "{%- macro upper(upper_of) -%}{%- for upper_at in range(upper_of | length) -%}"
    "{{- upper_of[upper_at:upper_at + 1].capitalize() -}}{%- endfor -%}{%- endmacro -%}"
)
RAW_TOOLS, AS_IS = "tool.function", "{#- tool.function -#}"
ENDS = ("block_end", "comment_end", "raw_begin", "raw_end")
NOTHING = "{{ '' }}"  # parts a block from a line feed that is text


def genai_template(template: str) -> str:
    """What stands beside a graph for a checkpoint's template: the template itself where nothing is in the
    way."""
    # (1), (2)
    said = without_methods(_without_trimmed_blanks(template), METHODS)
    before = ""
    # (3)
    if "upper" in said:
        before += UPPER
    # (4)
    if "tools" in said and RAW_TOOLS not in said:
        before += AS_IS
    # A template may begin with blanks, which no `-` may trim.
    return before + (NOTHING if before and said[:1].isspace() else "") + said


def _without_trimmed_blanks(template: str) -> str:
    plain, trimmed = split_source(template), split_source(template, trim=True)
    if plain is None or trimmed is None or plain == trimmed:
        return template
    return join_source(list(_closed(trimmed)))


def _closed(trimmed: Sequence[SourcePiece]) -> list[SourcePiece]:
    """Without what a lexer that trims leaves in its tags: the line feed behind."""
    found: list[SourcePiece] = []
    for piece in trimmed:
        if piece.kind == "data" and piece.text.startswith("\n") and found and found[-1].kind in ENDS:
            found.append(SourcePiece("data", NOTHING))
        ends = piece.kind in ENDS and not piece.text.startswith("-")
        found.append(SourcePiece(piece.kind, piece.text.removesuffix("\n")) if ends else piece)
    return found
