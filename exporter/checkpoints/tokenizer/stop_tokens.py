"""The one list of tokens at which every format of a release stops, from all that say so.

generation_config.json (or config.json where it says nothing) comes first, as `generate` stops there; then
config.json, the tokenizer's end of text, and what the chat template ends an answer with. More stops than a
model was trained for do no harm; one too few and it plays the user too. Not about reading any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.checkpoints.tokenizer.turn_end import Rendered, render_turn
from exporter.errors import TokenizerError
from exporter.listing import listed
from runtimes.excerpt import plain_excerpt

# Gemma 4 hands the word to the tool with it; its generation_config.json stops there too.
TOOLS_TURN = "<|tool_response>"


@dataclass(frozen=True)
class StopsStated:
    """Who says that generation ends at these tokens ("config.json")."""

    by: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class StopTokens:
    """tokens: in order of who says so. remark: which were taken, where those who say so differ."""

    tokens: tuple[int, ...]
    remark: str | None


def join_stops(stated: Sequence[StopsStated], names: NamedTokens) -> StopTokens:
    """stated: in order of rank, the first not empty."""
    first = stated[0]
    joined = list(dict.fromkeys(first.tokens))
    added = []
    for each in stated[1:]:
        if more := [token for token in dict.fromkeys(each.tokens) if token not in joined]:
            joined += more
            added.append(f"{each.by} adds {_named(more, names)}")
    if not added:
        return StopTokens(tuple(joined), None)
    return StopTokens(
        tuple(joined),
        f"Every format stops at {_named(joined, names)}: {first.by} says {_named(first.tokens, names)}, "
        f"{', '.join(added)}.",
    )


def complete(
    where: object, facts: TokenFacts, stated: Sequence[StopsStated], names: NamedTokens, rows: int
) -> TokenFacts:
    """The facts with every stop token, what ends an answer, and remarks.

    stated: by files, the first not empty. names: of the tokenizer. rows: of the embedding. Raises
    TokenizerError for a token that ends or begins text, or is in the template, and has no row, and for a
    template that cannot be rendered.
    """
    said, remarks, markers = list(stated), [*facts.remarks, *names.remarks], frozenset[str]()
    turn_end = None
    if facts.chat_template is not None:
        special = _special(facts, names)
        rendered = render_turn(facts.chat_template, special, names.added, where)
        turn_end, markers = rendered.turn_end, rendered.markers
        said.append(
            StopsStated("the chat template", tuple(_of_template(facts.chat_template, rendered, names)))
        )
        if turn_end is None:
            why = "it writes none" if rendered.failure is None else f"it fails: {rendered.failure[:200]}"
            remarks.append(f"No token that ends an answer was found in the chat template ({why}).")
    stops = join_stops(said, names)
    _require_rows(where, {"bos_token_id": facts.bos_token}, rows)
    ends = {f"stop token {names.name(token) or token}": token for token in stops.tokens}
    _require_rows(where, ends, rows)
    _require_rows(
        where, {f"{name} of the chat template": names.added[name] for name in sorted(markers)}, rows
    )
    remarks += [stops.remark] if stops.remark is not None else []
    remarks += _without_rows(names, rows)
    written = frozenset(names.added[name] for name in markers)
    return replace(
        facts, stop_tokens=stops.tokens, turn_end=turn_end, remarks=tuple(remarks), written=written
    )


def _special(facts: TokenFacts, names: NamedTokens) -> Mapping[str, str]:
    """What templates are rendered with: the tokenizer's own names, as it is the tokenizer that renders."""
    if names.special is not None:
        return names.special
    stated = {"bos_token": names.name(facts.bos_token), "eos_token": names.name(facts.eos_token)}
    return {key: name or "" for key, name in stated.items()}


def _of_template(template: str, rendered: Rendered, names: NamedTokens) -> Iterator[int]:
    if rendered.turn_end is not None:
        yield names.added[rendered.turn_end]
    if TOOLS_TURN in template and TOOLS_TURN in names.added:
        yield names.added[TOOLS_TURN]


def _without_rows(names: NamedTokens, rows: int) -> Iterator[str]:
    if names.size > rows:
        beyond = [name for name, token in names.added.items() if token >= rows]
        which = f", among them {', '.join(beyond[:3])}" if beyond else ""
        yield (
            f"The tokenizer has {names.size} tokens and the embedding {rows} rows: text with a token that "
            f"has none{which}, cannot be run."
        )


def _require_rows(where: object, tokens: Mapping[str, int], rows: int) -> None:
    for what, token in tokens.items():
        if token >= rows:
            raise TokenizerError(
                where,
                f"{plain_excerpt(what)} is token {token}, and the embedding has {rows} rows",
                "give the model the tokenizer it was trained with, or its enlarged embedding",
            )


def _named(tokens: Sequence[int], names: NamedTokens) -> str:
    return listed(f"{token} ({name})" if (name := names.name(token)) else str(token) for token in tokens)
