"""The command line: ``harness demo``, ``harness measure``, ``harness dispositions``, ..."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.asterisk.build import load_build
from harness.bench import LiveCall, bench
from harness.capture.saved import load_timeline
from harness.demo import PHRASES, speak
from harness.dispositions import (
    MARKS,
    calls_planned,
    interruptions,
    measure_memory,
    run_dispositions,
)
from harness.errors import Fault, InputFault
from harness.judge.judge import CallVerdict, Verdict, judge
from harness.measure import Plan, measure, module_path
from harness.report.dispositions_table import (
    TABLE_WIDTH,
    dispositions_markdown,
    dispositions_notes,
    dispositions_table,
)
from harness.report.picture import PicturedCall, draw_picture
from harness.report.table import (
    LEGEND,
    compact_table,
    marks_table,
    summary_line,
    verdict_style,
)
from harness.run_folder import new_run_folder
from harness.websocket.protocol import Format

EXIT_PASS, EXIT_FAIL, EXIT_FAULT, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""PASS; the product failed; the harness or the machine did; nothing could be said; Ctrl-C"""

_EXIT_CODES = {"PASS": EXIT_PASS, "FAIL": EXIT_FAIL, "INCONCLUSIVE": EXIT_INCONCLUSIVE}
_FAILURES_SHOWN = 10
_ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code says which of the three kinds of fault there was, if any."""
    options = _parser().parse_args(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, _end_like_ctrl_c)
    try:
        command: Callable[[argparse.Namespace, Console], int] = options.command
        return command(options, console)
    except Fault as fault:
        Console(stderr=True).print(Text(str(fault), style="red"))
        return EXIT_FAULT
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; everything that was started is stopped")
        return EXIT_INTERRUPTED


def _end_like_ctrl_c(number: int, frame: FrameType | None) -> None:
    # Not KeyboardInterrupt raised here: asyncio makes an orderly cancellation of a Ctrl-C.
    signal.raise_signal(signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Proves when Asterisk has played what was sent over its WebSocket channel.",
        epilog="Exit codes: 0 passed, 1 the driver failed, 2 the harness or the machine failed, "
        "3 inconclusive, 130 interrupted.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="speech with marks, patched beside stock")
    demo.set_defaults(command=_demo)

    defaults = Plan()
    numbers = commands.add_parser("measure", help="many marks behind pieces of random size")
    numbers.add_argument("--module", choices=("patched", "stock"), default=defaults.module)
    numbers.add_argument("--marks", type=_positive, default=defaults.marks, help="in all calls")
    numbers.add_argument("--calls", type=_positive, default=defaults.calls, help="at once")
    numbers.add_argument("--seed", type=int, default=defaults.seed, help="of the first call")
    numbers.add_argument("--json", action="store_true", help="commands and events in JSON")
    numbers.set_defaults(command=_measure)

    every = commands.add_parser("dispositions", help="everything that can become of a mark")
    every.add_argument("--module", choices=("patched", "stock"), default=defaults.module)
    every.add_argument("--marks", type=_positive, default=MARKS, help="in all, at least")
    every.add_argument("--seed", type=int, default=defaults.seed, help="of the first call of each")
    every.add_argument("--only", nargs="+", default=(), metavar="TEXT", help="part of a name")
    every.set_defaults(command=_dispositions)

    again = commands.add_parser("judge", help="judge saved calls again")
    again.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a call")
    again.set_defaults(command=_judge)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _demo(options: argparse.Namespace, console: Console) -> int:
    build = load_build(_ROOT)
    folder = new_run_folder(_ROOT / "out")
    console.print(f"Asterisk {build.version}, speech on a SIP call, a mark after each phrase")
    with _progress(console, "marks answered, patched then stock", 2 * len(PHRASES)) as advance:
        patched, stock = speak(build, folder, advance)
    console.print()
    console.print(LEGEND)
    for call, title in (
        (patched, "Patched: MARK, answered by MARK_PLAYED"),
        (stock, "Stock: MARK_MEDIA, answered by MEDIA_MARK_PROCESSED"),
    ):
        console.print()
        console.print(marks_table(call.result, title, PHRASES))
        console.print(summary_line([call.result]))
        _print_ruler(console, [call.result])
    picture = folder / "demo.png"
    draw_picture(
        picture, [PicturedCall("patched", patched.result), PicturedCall("stock", stock.result)]
    )
    console.print()
    console.print(f"Picture: {_shown(picture)}", soft_wrap=True)
    console.print(f"All of it: {_shown(folder)}", soft_wrap=True)
    _print_failures(console, [patched])
    verdict = patched.result.verdict
    if verdict == "PASS" and not stock.result.counts[Verdict.EARLY]:
        console.print("The stock driver's early acknowledgements did not show.", style="yellow")
        verdict = "INCONCLUSIVE"
    _print_verdict(console, verdict)
    return _EXIT_CODES[verdict]


def _measure(options: argparse.Namespace, console: Console) -> int:
    plan = Plan(
        options.module,
        options.marks,
        min(options.calls, options.marks),
        options.seed,
        Format.JSON if options.json else Format.PLAIN,
    )
    build = load_build(_ROOT)
    folder = new_run_folder(_ROOT / "out")
    console.print(
        f"Asterisk {build.version}, {plan.module} module: {plan.marks} x {plan.command} behind "
        f"pieces of 1 to 3000 bytes, {plan.calls} calls at once",
        soft_wrap=True,
    )
    with _progress(console, "marks answered", plan.marks) as advance:
        calls = measure(build, folder, plan, advance)
    console.print(_calls_table(calls))
    verdicts = [call.result for call in calls]
    console.print(summary_line(verdicts), soft_wrap=True)
    _print_ruler(console, verdicts)
    console.print(f"All of it: {_shown(folder)}", soft_wrap=True)
    _print_failures(console, calls)
    verdict = overall(verdicts)
    _print_verdict(console, verdict)
    return _EXIT_CODES[verdict]


def _dispositions(options: argparse.Namespace, console: Console) -> int:
    build = load_build(_ROOT)
    folder = new_run_folder(_ROOT / "out")
    console.print(
        f"Asterisk {build.version}, {options.module} module, every disposition of a mark, "
        f"seeds from {options.seed}",
        soft_wrap=True,
    )
    with bench(build, folder, module_path(build, options.module)) as b:
        # First, while Asterisk has no memory left over from other calls. Stock keeps marks in its
        # queue of frames and cannot say how many.
        patched = options.module == "patched" and not options.only
        memory = measure_memory(b) if patched else None
        total = calls_planned(options.marks, options.only)
        with _progress(console, "calls", total) as advance:
            rows = run_dispositions(
                b, options.module, options.marks, options.seed, advance, options.only
            )
    table = dispositions_table(rows, "What became of the marks")
    # A narrow terminal breaks its lines, which is better than numbers cut off.
    Console(width=max(console.width, TABLE_WIDTH)).print(table)
    notes = dispositions_notes(rows, interruptions(rows), memory)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    (folder / "dispositions.md").write_text(dispositions_markdown(rows, notes))
    _print_ruler(console, [call.result for row in rows for call in row.calls])
    console.print(f"All of it: {_shown(folder)}", soft_wrap=True)
    for row in rows:
        _print_texts(console, row.failures)
    kinds = {row.verdict for row in rows}
    verdict = next((kind for kind in ("FAIL", "INCONCLUSIVE") if kind in kinds), "PASS")
    _print_verdict(console, verdict)
    return _EXIT_CODES[verdict]


def _judge(options: argparse.Namespace, console: Console) -> int:
    for folder in options.folders:
        if not folder.is_dir():
            raise InputFault(f"{folder} is no folder", "Give the folder of a call, below out/.")
    verdicts = []
    console.print(LEGEND)
    for folder in options.folders:
        verdict = judge(load_timeline(folder))
        verdicts.append(verdict)
        console.print()
        console.print(marks_table(verdict, str(folder)))
        console.print(summary_line([verdict]), soft_wrap=True)
        for note in verdict.notes:
            console.print(f"note: {note}", soft_wrap=True)
    _print_ruler(console, verdicts)
    result = overall(verdicts)
    _print_verdict(console, result)
    return _EXIT_CODES[result]


def overall(verdicts: Sequence[CallVerdict]) -> str:
    """FAIL if any call failed, else INCONCLUSIVE if any was, else PASS."""
    kinds = {verdict.verdict for verdict in verdicts}
    return next((kind for kind in ("FAIL", "INCONCLUSIVE") if kind in kinds), "PASS")


def _calls_table(calls: Sequence[LiveCall]) -> Table:
    table = compact_table("Calls")
    for heading in ("call", "marks", "packets", "lost", "median ms", "p99 ms", "max ms", "verdict"):
        table.add_column(heading, justify="left" if heading in ("call", "verdict") else "right")
    for call in calls:
        result = call.result
        numbers = result.statistics
        times = (
            [f"{ns / 1e6:+.3f}" for ns in (numbers.median_ns, numbers.p99_ns, numbers.max_ns)]
            if numbers
            else ["-"] * 3
        )
        table.add_row(
            call.name,
            *(str(count) for count in (len(result.marks), result.packets, result.lost)),
            *times,
            result.verdict,
        )
    return table


def _print_ruler(console: Console, verdicts: Sequence[CallVerdict]) -> None:
    rulers = [verdict.ruler for verdict in verdicts]
    worst = max(ruler.error_ns for ruler in rulers) / 1e6
    source = {
        "capture": "one packet capture of both legs",
        "socket": "socket time stamps (packets cannot be captured here: run as root for that)",
    }[rulers[0].source]
    dropped = sum(ruler.dropped for ruler in rulers)
    console.print(
        f"Measured by {source}, a time is good to {worst:.3f} ms, {dropped} packets not captured.",
        soft_wrap=True,
    )


def _print_failures(console: Console, calls: Sequence[LiveCall]) -> None:
    _print_texts(console, [text for call in calls for text in call.failures])


def _print_texts(console: Console, failures: Sequence[str]) -> None:
    for text in failures[:_FAILURES_SHOWN]:
        console.print(Text(text), soft_wrap=True)
    if len(failures) > _FAILURES_SHOWN:
        console.print(f"... and {len(failures) - _FAILURES_SHOWN} more")


def _print_verdict(console: Console, verdict: str) -> None:
    style = {"PASS": Verdict.PASS, "INCONCLUSIVE": Verdict.INCONCLUSIVE}.get(verdict, Verdict.WRONG)
    console.print(Text(verdict, style=verdict_style(style)))


def _shown(path: Path) -> str:
    """A path as the user would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def _progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
