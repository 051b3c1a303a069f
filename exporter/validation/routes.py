"""The ways a session is fed the evaluation tokens, and what is compared on the way.

Two routes, because chunked prefill and cached decode are different graphs or different kernels:
  every position   all by prefill where the artifact returns all its logits, else all by decode
  taking turns     prefill in chunks, a few decode steps, prefill again, then decode past the window;
                   neither prefill ends on a chunk's boundary
The second covers both hand-overs, and its decode steps are also held against the first route's
logits at the same positions: an artifact must not depend on how it was fed.
Not about what the figures should be (`gates`) or which artifact plays which part (`artifact_check`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exporter.validation.logits_file import LogitsFile
from exporter.validation.statistics import Agreement, agree
from runtimes.session import Logits, Session, SessionFacts, Tokens

DECODE_TAIL = 128  # steps decoded at the end, past the window of every small model
INTERLUDE = 8  # steps decoded between the two prefills
BATCH_BYTES = 16 << 20  # of decoded logits compared at once

Call = Literal["prefill", "decode"]


@dataclass(frozen=True)
class Segment:
    """Tokens given by one kind of call."""

    call: Call
    tokens: int


@dataclass(frozen=True)
class Route:
    """Segments that together hold every token once, in order."""

    segments: tuple[Segment, ...]
    chunk: int

    @property
    def description(self) -> str:
        return ", ".join(
            f"prefill of {segment.tokens} in chunks of {self.chunk}"
            if segment.call == "prefill"
            else f"{segment.tokens} decode steps"
            for segment in self.segments
        )

    def decoded(self) -> NDArray[np.int64]:
        """Positions whose token is given by decode."""
        calls = np.repeat(
            [segment.call == "decode" for segment in self.segments],
            [segment.tokens for segment in self.segments],
        )
        return np.flatnonzero(calls)


def plan_routes(facts: SessionFacts, positions: int) -> tuple[Route, Route]:
    """The two routes for `positions` tokens; the first one covers every position."""
    chunk = facts.prefill_chunk
    whole: Call = "prefill" if facts.prefill_logits == "all" else "decode"
    tail = min(DECODE_TAIL, positions // 2)
    interlude = min(INTERLUDE, positions // 8)
    first = _off_boundary((positions - tail) // 2, chunk)
    second = _off_boundary(positions - tail - first - interlude, chunk)
    turns = (
        Segment("prefill", first),
        Segment("decode", interlude),
        Segment("prefill", second),
        Segment("decode", positions - first - interlude - second),
    )
    return Route((Segment(whole, positions),), chunk), Route(turns, chunk)


def _off_boundary(tokens: int, chunk: int) -> int:
    return tokens - 1 if chunk > 1 and tokens > 1 and tokens % chunk == 0 else tokens


@dataclass
class Pace:
    """How long a session took over its calls, comparisons not counted."""

    tokens: dict[Call, int] = field(default_factory=lambda: {"prefill": 0, "decode": 0})
    seconds: dict[Call, float] = field(default_factory=lambda: {"prefill": 0.0, "decode": 0.0})

    def per_second(self, call: Call) -> float | None:
        """None where no such call was made."""
        return self.tokens[call] / self.seconds[call] if self.seconds[call] else None


@dataclass(frozen=True)
class RouteResult:
    """agreements: reference's name to how the logits that came back agree with it.

    kept: position to logits [vocab] of the positions asked for. non_finite: logits that are not
    finite numbers.
    """

    agreements: Mapping[str, Agreement]
    kept: Mapping[int, NDArray[np.float32]]
    non_finite: int


def run_route(
    session: Session,
    route: Route,
    tokens: Tokens,
    references: Mapping[str, LogitsFile | Mapping[int, NDArray[np.float32]]],
    *,
    pace: Pace,
    tell: Callable[[int], None],
    keep: NDArray[np.int64] | None = None,
    write: LogitsFile | None = None,
) -> RouteResult:
    """Feed tokens[:-1] and compare what comes back; tokens[1:] are the true next ones.

    references: a file of every position, or logits of some: others are not compared with it.
    keep: positions whose logits to return. write: a file to put all logits in. tell: called with
    tokens done. Raises what the session raises.
    """
    wanted = set() if keep is None else set(keep.tolist())
    parts: dict[str, list[Agreement]] = {name: [] for name in references}
    kept: dict[int, NDArray[np.float32]] = {}
    non_finite = 0
    for start, logits in _feed(session, route, tokens[:-1], pace):
        stop = start + len(logits)
        non_finite += int(logits.size - np.isfinite(logits).sum())
        for name, reference in references.items():
            if isinstance(reference, LogitsFile):
                parts[name].append(agree(reference.rows(start, stop), logits, tokens[start + 1 : stop + 1]))
            elif here := [position for position in range(start, stop) if position in reference]:
                expected = np.stack([reference[position] for position in here])
                at = np.array(here)
                parts[name].append(agree(expected, logits[at - start], tokens[at + 1]))
        if write is not None:
            write.write_rows(start, logits)
        kept.update({at: logits[at - start].copy() for at in range(start, stop) if at in wanted})
        tell(stop)
    agreements = {name: Agreement.joined(found) for name, found in parts.items() if found}
    return RouteResult(agreements, kept, non_finite)


def _feed(session: Session, route: Route, tokens: Tokens, pace: Pace) -> Iterator[tuple[int, Logits]]:
    """(position of the first row, logits) for every call that returns any."""
    session.reset()
    batch = max(1, BATCH_BYTES // (session.facts.vocab_size * 4))
    at = 0
    for segment in route.segments:
        end = at + segment.tokens
        step = route.chunk if segment.call == "prefill" else batch
        for start in range(at, end, step):
            stop = min(end, start + step)
            begin = time.perf_counter()
            logits = _call(session, segment.call, tokens[start:stop])
            pace.seconds[segment.call] += time.perf_counter() - begin
            pace.tokens[segment.call] += stop - start
            if len(logits):
                yield stop - len(logits), logits
        at = end


def _call(session: Session, call: Call, tokens: Tokens) -> Logits:
    if call == "prefill":
        return session.prefill(tokens)
    return np.stack([session.decode(int(token)) for token in tokens])
