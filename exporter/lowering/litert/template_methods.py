"""Jinja source without the method calls that LiteRT-LM's engine lacks, said by filters and tests.

`x.get('k')` becomes `(x['k']|default(none))`, `x.strip()` becomes `(x|trim)`. Other methods stay as they
are. Not about what else the engine does otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, frozenset(")]}")
# Method and number of arguments to what says the same of {x}, its object.
SAID: dict[tuple[str, int], str] = {
    ("get", 1): "({x}[{0}]|default(none))",
    ("get", 2): "({x}[{0}]|default({1}))",
    ("strip", 0): "({x}|trim)",
    ("strip", 1): "({x}|trim({0}))",
    ("upper", 0): "({x}|upper)",
    ("lower", 0): "({x}|lower)",
    ("title", 0): "({x}|title)",
    ("capitalize", 0): "({x}|capitalize)",
    ("replace", 2): "({x}|replace({0}, {1}))",
    ("split", 1): "({x}|split({0})|list)",
    ("startswith", 1): "({x} is startingwith({0}))",
    ("endswith", 1): "({x} is endingwith({0}))",
    ("join", 1): "({0}|join({x}))",
    ("keys", 0): "({x}|list)",
}
METHODS = frozenset(name for name, _ in SAID)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def without_methods(template: str) -> str:
    """The source again; the same text where it calls none of these methods, or is no Jinja."""
    import jinja2  # here: base models come without a template

    if not any(f".{name}(" in template for name in METHODS):
        return template
    try:
        # Every piece of the source, blanks included; only those that a tag's `-` trims are lost.
        lexed = jinja2.Environment(keep_trailing_newline=True).lex(template)
        tokens = [_Token(kind, text) for _, kind, text in lexed]
    except jinja2.TemplateSyntaxError:
        return template
    at = 0
    while at < len(tokens):
        at = _said_otherwise(tokens, at) if _is_call(tokens, at) else at + 1
    return "".join(token.text for token in tokens)


def _is_call(tokens: Sequence[_Token], at: int) -> bool:
    window = [token.text for token in tokens[at : at + 3]]
    return len(window) == 3 and window[0] == "." and window[1] in METHODS and window[2] == "("


def _said_otherwise(tokens: list[_Token], dot: int) -> int:
    """Put a call in other words, in place; returns where to look on: its arguments may hold calls too."""
    end = _closing(tokens, dot + 2)
    if end == len(tokens):
        return end
    arguments = _split(tokens[dot + 3 : end])
    form = SAID.get((tokens[dot + 1].text, len(arguments)))
    begin = _operand(tokens, dot)
    if form is None or begin is None:
        return dot + 1
    x = "".join(token.text for token in tokens[begin:dot])
    words = form.replace("{x}", x)
    for i, argument in enumerate(arguments):
        words = words.replace(f"{{{i}}}", argument.strip())
    import jinja2

    again = [_Token(kind, text) for _, kind, text in jinja2.Environment().lex("{{" + words + "}}")]
    tokens[begin : end + 1] = again[1:-1]
    return begin


def _closing(tokens: Sequence[_Token], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        if tokens[at].kind == "operator":
            depth += (tokens[at].text in OPEN) - (tokens[at].text in CLOSE)
        if depth == 0:
            return at
    return len(tokens)


def _split(tokens: Sequence[_Token]) -> list[str]:
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


def _operand(tokens: Sequence[_Token], dot: int) -> int | None:
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


def _opening(tokens: Sequence[_Token], closing: int) -> int:
    depth = 0
    for at in range(closing, -1, -1):
        if tokens[at].kind == "operator":
            depth += (tokens[at].text in CLOSE) - (tokens[at].text in OPEN)
        if depth == 0:
            return at
    return -1
