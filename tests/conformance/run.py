"""Compares the product with ONNX Runtime's Python binding on the ONNX backend suite; ./scripts/conformance runs it."""

import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import contrib
import suite

TABLE = Path(__file__).with_name("refused.txt")
# Share of what the binding passes, random operators excepted, that the product has to pass.
BAR = 0.998


def product(command: list[str], cases: list[suite.Case]) -> dict[str, str | None]:
    """What the product makes of each case: None where it passes, or the reason."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        for case in cases:
            suite.write(case, Path(folder) / case.name)
        answers = suite.lines([*command, folder])
    return {case.name: judge(case, answers[case.name]) for case in cases}


def judge(case: suite.Case, answer: dict) -> str | None:
    if "error" in answer:
        return suite.one_line(answer["error"])
    for outputs, (_, expected) in zip(answer["outputs"], case.sets, strict=True):
        if differs := case.differs(suite.outputs(outputs, expected), expected):
            return f"differs: {differs}"
    return None


def kind(reason: str) -> str:
    """A reason without the names in it, so that equal ones are counted together."""
    return re.sub(r"`[^`]*`", "`…`", reason)


def table() -> dict[str, str]:
    """The committed refusals: a case and its reason on each line."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def main() -> int:
    binary, *names = sys.argv[1:]
    write = "--write" in names
    names = {name for name in names if name != "--write"}
    own = [case for case in contrib.load() if not names or case.name in names]
    cases = suite.load(names)
    passing = [case for case in cases if suite.binding(case) is None]
    random = [case for case in passing if case.random]
    reasons = product([binary], passing + own)
    failed = {case.name: reasons[case.name] for case in passing if reasons[case.name] and not case.random}
    failed_own = {case.name: reasons[case.name] for case in own if reasons[case.name]}
    counted = len(passing) - len(random)
    kinds = Counter(case.kind for case in cases)
    print(f"{len(cases)} cases ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})")
    print(f"the binding passes {len(passing)}, {len(random)} of them with operators that draw random numbers")
    for case in random:
        print(f"  random: {case.name}: {reasons[case.name] or 'passes, but is to be refused'}")
    by_kind = defaultdict(list)
    for name, reason in (failed | failed_own).items():
        by_kind[kind(reason)].append(name)
    for reason, which in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        print(f"{len(which)} × {reason}")
        print("".join(f"    {name}\n" for name in sorted(which)), end="")
    share = (counted - len(failed)) / max(counted, 1)
    print(f"of ONNX Runtime's own operators, beside the suite, the product passes {len(own) - len(failed_own)} of {len(own)}")
    print(f"the product passes {round(share * counted)} of {counted} ({share:.2%})")
    failed |= failed_own
    if write:
        head = "# Cases that the binding passes and the product does not, with the reason; ./scripts/conformance --write writes it.\n"
        TABLE.write_text(head + "".join(f"{name} {failed[name]}\n" for name in sorted(failed)))
        return 0
    return compare(failed, {case.name for case in random if not reasons[case.name]}, names, share)


def compare(failed: dict[str, str], drawn: set[str], names: set[str], share: float) -> int:
    known = {name: reason for name, reason in table().items() if not names or name in names}
    wrong = [f"{name} fails, and is not in {TABLE.name}: {failed[name]}" for name in failed.keys() - known.keys()]
    wrong += [f"{name} is in {TABLE.name} and passes now: take it out" for name in known.keys() - failed.keys()]
    wrong += [
        f"{name} fails for another reason than {TABLE.name} says: {failed[name]}"
        for name in known.keys() & failed.keys() if failed[name] != known[name]
    ]
    wrong += [f"{name} draws random numbers, and was not refused" for name in drawn]
    if not names and share < BAR:
        wrong.append(f"{share:.2%} pass, and {BAR:.1%} have to")
    for line in sorted(wrong):
        print(f"conformance: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
