"""The ways an artifact is fed the evaluation tokens, and what is compared on the way.

Two routes, because chunked prefill and cached decode are different graphs or different kernels:
  every position   all by prefill where the artifact returns all its logits, else all by decode
  taking turns     prefill in chunks, a few decode steps, prefill again, then decode past the window;
                   neither prefill ends on a chunk's boundary
The second covers both hand-overs, and its decode steps are also held against the first route's
logits at the same positions: an artifact must not depend on how it was fed. What takes a route is a
`RouteRunner`: `SessionRunner` feeds a session call by call.
Not about what the figures should be (`gates`) or which artifact plays which part (`artifact_check`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.evaluation.statistics import Agreement, RowReader, agree, agree_with_each
from exporter.lowering.interface import Call, RouteRunner, Segment
from exporter.reference.logits_file import LogitsFile
from runtimes.session import Logits, Session, SessionFacts, Tokens

DECODE_TAIL = 128  # steps decoded at the end, past the window of every small model
INTERLUDE = 8  # steps decoded between the two prefills
BATCH_BYTES = 16 << 20  # of logits compared at once, where calls return single rows


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
    whole: Call = "prefill" if facts.prefill_logits == "all" else "decode"
    chunk = facts.prefill_chunk
    return Route((Segment(whole, positions),), chunk), turns_of(positions, chunk)


def turns_of(positions: int, chunk: int) -> Route:
    """The second route, which the logits that come back make no difference to."""
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
    return Route(turns, chunk)


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
class SessionRunner:
    """Satisfies `RouteRunner` with an open session. pace: its calls are added to it."""

    session: Session
    pace: Pace = field(default_factory=Pace)

    @property
    def facts(self) -> SessionFacts:
        return self.session.facts

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        self.session.reset()
        at = 0
        for segment in segments:
            end = at + segment.tokens
            step = self.facts.prefill_chunk if segment.call == "prefill" else 1
            for start in range(at, end, step):
                stop = min(end, start + step)
                begin = time.perf_counter()
                logits = self._call(segment.call, tokens[start:stop])
                self.pace.seconds[segment.call] += time.perf_counter() - begin
                self.pace.tokens[segment.call] += stop - start
                if len(logits):
                    yield stop - len(logits), logits
                tell(stop)
            at = end

    def _call(self, call: Call, tokens: Tokens) -> Logits:
        return (
            self.session.prefill(tokens) if call == "prefill" else self.session.decode(int(tokens[0]))[None]
        )


@dataclass(frozen=True)
class RouteResult:
    """agreements: reference's name to how the logits that came back agree with it.

    kept: position to logits [vocab] of the positions asked for. non_finite: logits that are not
    finite numbers.
    """

    agreements: Mapping[str, Agreement]
    kept: Mapping[int, NDArray[np.float32]]
    non_finite: int


@dataclass(frozen=True)
class Keeping:
    """What to keep of a route's logits. at: positions whose logits to return. file: for all of them."""

    at: NDArray[np.int64] | None = None
    file: LogitsFile | None = None


NOTHING = Keeping()


def run_route(
    runner: RouteRunner,
    route: Route,
    tokens: Tokens,
    references: Mapping[str, LogitsFile | Mapping[int, NDArray[np.float32]]],
    tell: Callable[[int], None],
    keeping: Keeping = NOTHING,
) -> RouteResult:
    """Feed tokens[:-1] and compare what comes back; tokens[1:] are the true next ones.

    references: a file of every position, or logits of some: others are not compared with it. tell: called
    with tokens done. Raises what the runner raises.
    """
    files = {name: each for name, each in references.items() if isinstance(each, LogitsFile)}
    samples = {name: each for name, each in references.items() if not isinstance(each, LogitsFile)}
    wanted = set() if keeping.at is None else set(keeping.at.tolist())
    parts: dict[str, list[Agreement]] = {name: [] for name in references}
    kept: dict[int, NDArray[np.float32]] = {}
    non_finite = 0
    with closing(runner.run(route.segments, tokens[:-1], tell)) as found:
        for start, logits in _joined(found):
            stop = start + len(logits)
            non_finite += int(logits.size - np.isfinite(logits).sum())
            readers = {name: _reader(file, start) for name, file in files.items()}
            found_here = agree_with_each(list(readers.values()), logits, tokens[start + 1 : stop + 1])
            for name, agreement in zip(readers, found_here, strict=True):
                parts[name].append(agreement)
            for name, some in samples.items():
                if here := [position for position in range(start, stop) if position in some]:
                    expected = np.stack([some[position] for position in here])
                    at = np.array(here)
                    parts[name].append(agree(expected, logits[at - start], tokens[at + 1]))
            if keeping.file is not None:
                keeping.file.write_rows(start, logits)
            kept.update({at: logits[at - start].copy() for at in range(start, stop) if at in wanted})
    agreements = {name: Agreement.joined(each) for name, each in parts.items() if each}
    return RouteResult(agreements, kept, non_finite)


def _reader(file: LogitsFile, start: int) -> RowReader:
    """Of a file's rows, counted from `start`."""
    return lambda first, end: file.rows(start + first, start + end)


def _joined(found: Iterator[tuple[int, Logits]]) -> Iterator[tuple[int, Logits]]:
    """The same rows, neighbours together until they are `BATCH_BYTES`: comparing one by one is slow."""
    start, rows = 0, list[Logits]()
    for at, logits in found:
        if rows and (start + len(rows) != at or (len(rows) + 1) * rows[0].nbytes > BATCH_BYTES):
            yield start, np.concatenate(rows)
            rows = []
        if len(logits) > 1:
            yield at, logits
            continue
        if not rows:
            start = at
        rows.append(logits)
    if rows:
        yield start, np.concatenate(rows)
