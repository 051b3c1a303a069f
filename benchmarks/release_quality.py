"""The README's table: what each artifact of a release measured, from its report.json.

python -m benchmarks.release_quality RELEASE [RELEASE ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from exporter.views.json_report import read_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", nargs="+", type=Path)
    options = parser.parse_args()
    print("| recipe | comparison | artifact | executed by | mean KL | top-1 | perplexity ratio |")
    print("|---|---|---|---|---|---|---|")
    for release in options.releases:
        report = read_report(release / "report.json")
        for found in report.comparisons:
            if found.kind == "execution":
                continue
            numbers = found.statistics
            print(
                f"| {report.recipe} | {found.kind} | {found.artifact or '–'} | {found.subject} "
                f"| {numbers.mean_kl:.2g} | {numbers.top1:.2%} | {numbers.perplexity_ratio:.4f} |"
            )


if __name__ == "__main__":
    main()
