"""Jinja source without the method calls that a runtime's engine lacks, said in words it has.

As `x.get('k')` becomes `(x['k']|default(none))` for one whose Jinja has no methods. Which calls, and in
which words, is a runtime's to say. Not about what else an engine does otherwise.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from exporter.lowering.template_source import SourcePiece, join_source, split_source

Said = Mapping[tuple[str, int], str]
"""Method and number of arguments to what says the same of {x}, its object, and of arguments {0}, {1}."""

OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, frozenset(")]}")


def without_methods(template: str, said: Said) -> str:
    """The source again; the same text where it calls none of these methods, or is no Jinja."""
    methods = {name for name, _ in said}
    if not any(f".{name}(" in template for name in methods) or (tokens := split_source(template)) is None:
        return template
    at = 0
    while at < len(tokens):
        at = _said_otherwise(tokens, at, said) if _is_call(tokens, at, methods) else at + 1
    return join_source(tokens)


def _is_call(tokens: Sequence[SourcePiece], at: int, methods: Container[str]) -> bool:
    window = [token.text for token in tokens[at : at + 3]]
    return len(window) == 3 and window[0] == "." and window[1] in methods and window[2] == "("


def _said_otherwise(tokens: list[SourcePiece], dot: int, said: Said) -> int:
    """Put a call in other words, in place; returns where to look on: its arguments may hold calls too."""
    end = _closing(tokens, dot + 2)
    if end == len(tokens):
        return end
    arguments = _split(tokens[dot + 3 : end])
    form = said.get((tokens[dot + 1].text, len(arguments)))
    begin = _operand(tokens, dot)
    if form is None or begin is None:
        return dot + 1
    x = "".join(token.text for token in tokens[begin:dot])
    words = form.replace("{x}", x)
    for i, argument in enumerate(arguments):
        words = words.replace(f"{{{i}}}", argument.strip())
    again = split_source("{{" + words + "}}")
    if again is None:
        return dot + 1
    tokens[begin : end + 1] = again[1:-1]
    return begin


def _closing(tokens: Sequence[SourcePiece], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        if tokens[at].kind == "operator":
            depth += (tokens[at].text in OPEN) - (tokens[at].text in CLOSE)
        if depth == 0:
            return at
    return len(tokens)


def _split(tokens: Sequence[SourcePiece]) -> list[str]:
    """Arguments as source."""
    found, depth = [""], 0
    for token in tokens:
        if token.kind == "operator":
            depth += (token.text in OPEN) - (token.text in CLOSE)
        if token.kind == "operator" and token.text == "," and depth == 0:
            found.append("")
        else:
            found[-1] += token.text
    return [] if found == [""] else found


def _operand(tokens: Sequence[SourcePiece], dot: int) -> int | None:
    """Where the object of a method begins: a name or a literal, with what is behind it in brackets."""
    at = dot - 1
    while at >= 0:
        token = tokens[at]
        if token.kind == "operator" and token.text in CLOSE:
            if (at := _opening(tokens, at)) < 0:
                return None
            before = tokens[at - 1]
            follows = before.kind in ("name", "string") or before.text in CLOSE
            if not follows or (before.kind == "name" and before.text in WORDS):
                return at
            at -= 1
        elif token.kind in ("name", "string", "integer"):
            if tokens[at - 1].text != ".":
                return at
            at -= 2
        else:
            return None
    return None


# Names before a bracket that call nothing.
WORDS = frozenset({"in", "not", "and", "or", "if", "else", "elif", "is", "set"})


def _opening(tokens: Sequence[SourcePiece], closing: int) -> int:
    depth = 0
    for at in range(closing, -1, -1):
        if tokens[at].kind == "operator":
            depth += (tokens[at].text in CLOSE) - (tokens[at].text in OPEN)
        if depth == 0:
            return at
    return -1
