"""The command: runs the suites, prints what they find and the summaries.

python -m tests.conformance                      everything, against the lists of what has to pass
python -m tests.conformance --op 'cum*' --verbose
python -m tests.conformance --modules --only 'nn.Conv*'
python -m tests.conformance --optimizers --names
python -m tests.conformance --update-expected    what passes now has to pass from now on
"""

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

from .runner import Answer, Pair, run
from .suites import SUITES, Suite


def worst(statuses: list[str]) -> str:
    order = ("CRASH", "FAIL", "MISSING", "PASS", "LEFT-OUT")
    return min(statuses, key=order.index)


def tally(counts: Counter) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def chosen_pairs(suite: Suite, arguments: argparse.Namespace) -> list[Pair]:
    patterns = [*(arguments.only or ()), *((arguments.op or ()) if suite.name == "operators" else ())]
    pairs = []
    for name, parts in suite.module.entries().items():
        bare = name.rpartition(".")[2] if suite.name == "modules" else name
        if patterns and not any(fnmatchcase(name, p) or fnmatchcase(bare, p) for p in patterns):
            continue
        pairs += [(name, part) for part in parts if not arguments.dtype or part in arguments.dtype]
    if arguments.only_expected:
        expected = suite.read_expected()
        pairs = [pair for pair in pairs if pair in expected]
    return pairs


def run_suite(suite: Suite, arguments: argparse.Namespace) -> tuple[dict[Pair, Answer], bool]:
    """All answers, and whether nothing was lost that has to pass."""

    def report(name: str, found: dict[Pair, Answer], seconds: float) -> None:
        status = worst([status for status, _ in found.values()])
        if status == "MISSING" and not arguments.verbose:
            return
        passed = sum(state == "PASS" for state, _ in found.values())
        print(f"{status:8} {name}  {passed} of {len(found)}  ({seconds:.1f} s)", flush=True)
        shown: set[str] = set()
        for (_, part), (state, why) in sorted(found.items()):
            if arguments.verbose or (state in ("FAIL", "CRASH") and why not in shown):
                print(f"           {part}: {state} {why}", flush=True)
                shown.add(why)

    start = time.monotonic()
    results = run(suite.name, chosen_pairs(suite, arguments), max(1, arguments.jobs), report)
    summarise(suite, results, time.monotonic() - start)

    expected = suite.read_expected()
    passed = {pair for pair, (status, _) in results.items() if status == "PASS"}
    if arguments.update_expected:
        suite.write_expected({pair for pair in expected if pair not in results} | passed)
    lost = sorted(pair for pair in expected & results.keys() if pair not in passed)
    crashed = sorted(pair for pair, (status, _) in results.items() if status == "CRASH")
    for word, pairs in (("LOST", lost), ("CRASH", crashed)):
        for name, part in pairs:
            print(f"{word} {name} {part}: {' '.join(results[name, part])}")
    return results, not crashed and (not lost or arguments.update_expected)


def summarise(suite: Suite, results: dict[Pair, Answer], seconds: float) -> None:
    counts = Counter(status for status, _ in results.values())
    by_name = defaultdict(list)
    for (name, _), (status, _) in results.items():
        by_name[name].append(status)
    by_status = Counter(worst(statuses) for statuses in by_name.values())
    absent = sorted(name for name, statuses in by_name.items() if worst(statuses) == "MISSING")
    out = {name: why for (name, _), (status, why) in sorted(results.items()) if status == "LEFT-OUT"}
    if absent:
        print(f"\nMISSING ({len(absent)} {suite.name}): {' '.join(absent)}")
    if out:
        print(f"\nLEFT-OUT ({len(out)} {suite.name}):")
        print("\n".join(f"  {name}: {why}" for name, why in out.items()))
    print(f"\n{suite.name}: {by_status['PASS']} of {len(by_name)} pass; " + tally(by_status))
    print(f"pairs of {suite.name.removesuffix('s')} and {suite.parts}: {tally(counts)}; {seconds:.0f} s")
    print(f"{counts['PASS']} of {len(results) - counts['LEFT-OUT']}\n", flush=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", help="only the operators that match (may be given again)")
    for name in SUITES:
        parser.add_argument(f"--{name}", action="store_true", help=f"only the {name}")
    parser.add_argument("--only", action="append", help="only the entries that match (may be given again)")
    parser.add_argument(
        "--dtype", "--part", action="append", help="only these dtypes or other parts, or `errors`"
    )
    parser.add_argument("--list", action="store_true", help="list entries and their parts, run nothing")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument(
        "--verbose", action="store_true", help="every part's result, passing and missing ones too"
    )
    parser.add_argument("--only-expected", action="store_true", help="run only what the expected lists name")
    parser.add_argument(
        "--update-expected", action="store_true", help="rewrite the expected lists for what was run"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args(argv)


def main() -> int:
    arguments = parse()
    suites = [suite for suite in SUITES.values() if getattr(arguments, suite.name)]
    if arguments.op and SUITES["operators"] not in suites:
        suites.insert(0, SUITES["operators"])
    rows, good = [], True
    for suite in suites or SUITES.values():
        if arguments.list:
            for name, part in chosen_pairs(suite, arguments):
                why = suite.module.reason(name)
                print(name, part, f"(left out: {why})" if why else "")
            continue
        results, kept = run_suite(suite, arguments)
        good = good and kept
        rows += [
            {"suite": suite.name, "op": name, "dtype": part, "status": status, "reason": why}
            for (name, part), (status, why) in sorted(results.items())
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
