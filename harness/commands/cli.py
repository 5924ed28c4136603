"""The command line: ``harness run``, ``harness list``, ``harness lab check``, ..."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.bench import LiveCall
from harness.commands.demo import PHRASES, speak
from harness.commands.doctor import examine
from harness.commands.judge import (
    Again,
    FoundCall,
    counted_result,
    fails_as_known,
    judge_again,
    saved_calls,
)
from harness.commands.lab import check as lab_check
from harness.commands.lab import print_lines
from harness.commands.measure import Memory, Plan, measure, measure_memory
from harness.commands.report import regenerate
from harness.commands.run import RunOptions, plan_run, run, what_runs
from harness.errors import InputFault, ProductFault, as_fault
from harness.install.build import Build, load_build
from harness.install.build import build as build_asterisk
from harness.install.container_image import FLAVOURS, build_image, check_options
from harness.judge.call import account_failures, call_result, worst
from harness.judge.judge import CallVerdict, Verdict
from harness.protocol import Format
from harness.record.run_folder import new_folder, new_run_folder
from harness.record.verdict_files import shown
from harness.report.demo_picture import PicturedCall, draw_picture
from harness.report.dispositions_table import (
    TABLE_WIDTH,
    dispositions_markdown,
    dispositions_notes,
    dispositions_table,
)
from harness.report.html import REPORT_FILE
from harness.report.mark_table import (
    LEGEND,
    compact_table,
    marks_table,
    summary_line,
    verdict_style,
)
from harness.report.run_table import (
    RUN_LEGEND,
    outcome_line,
    run_progress,
    run_table,
    scenario_list,
)
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import Outcome, RunSummary, ScenarioResult
from harness.scenarios.schema import GROUPS, Group
from harness.targets.lab_file import load_lab
from harness.targets.names import CONTAINERS, NATIVE, TargetName

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_ENVIRONMENT = range(5)
"""all passed; the product did wrong; the command was wrong; nothing could be said; the harness or
the machine did not get it done"""
EXIT_INTERRUPTED = 130

_EXIT_CODES = {
    "PASS": EXIT_PASS,
    "FAIL": EXIT_FAIL,
    "INCONCLUSIVE": EXIT_INCONCLUSIVE,
    "ERROR": EXIT_ENVIRONMENT,
    "SKIP": EXIT_USAGE,
}
_FAILURES_SHOWN = 10
_ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code says what came of it, see EXIT_*."""
    options = _parser().parse_args(arguments)
    console = Console()
    # In the background of a script Ctrl-C is ignored; SIGTERM goes its way all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end_like_ctrl_c)
    try:
        command: Callable[[argparse.Namespace, Console], int] = options.command
        return command(options, console)
    except Exception as problem:
        fault = as_fault(problem)
        Console(stderr=True).print(Text(str(fault), style="red"), soft_wrap=True)
        if isinstance(fault, ProductFault):
            return EXIT_FAIL
        return EXIT_USAGE if isinstance(fault, InputFault) else EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; everything that was started is stopped")
        return EXIT_INTERRUPTED


def _end_like_ctrl_c(number: int, frame: FrameType | None) -> None:
    # Not KeyboardInterrupt raised here: asyncio makes an orderly cancellation of a Ctrl-C.
    signal.raise_signal(signal.SIGINT)


_EPILOG = """\
exit codes: 0 passed; 1 the driver did wrong, or Asterisk crashed or hangs; 2 the command or a file
is wrong; 3 inconclusive, the ruler was bent; 4 the harness or the machine did not get it done; 130
interrupted.

to begin with:
  harness doctor                            what this machine has, and has not
  harness run                               the smoke group on the patched module, a minute
  harness run --target stock                the same on the stock module: it fails as it is known to
  harness run --group full --keep-going     everything
  harness run mine.yaml                     a scenario of your own, see docs/scenarios.md
  harness lab check lab.yaml                a PBX of yours, see docs/lab.md
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Proves when Asterisk has played what was sent over its WebSocket channel.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run scenarios and judge them",
        description="Runs scenarios: real calls, every mark and account of which is judged. The "
        "results are in out/latest: report.html, junit.xml, summary.json, a folder a call.",
    )
    _add_choice(run)
    run.add_argument(
        "-j", "--parallel", type=_positive, metavar="N", help="at once (default: one a processor)"
    )
    run.add_argument("--repeat", type=_positive, default=1, metavar="N", help="with N seeds")
    run.add_argument("--seed", type=int, default=1, help="of all that is chosen by chance")
    run.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    run.add_argument("--hold", action="store_true", help="keep the PBX of a failure alive")
    run.set_defaults(command=_run)

    listing = commands.add_parser(
        "list",
        help="what scenarios there are, and which a target can run",
        description="Lists scenarios, what each proves, and whether the target can run it.",
    )
    _add_choice(listing)
    listing.set_defaults(command=_list)

    again = commands.add_parser(
        "judge",
        help="judge saved calls again",
        description="Judges saved calls anew from their captures, and says whether the verdict is "
        "the one that was saved, byte for byte; if it is not, the command fails (1). A run's "
        "folder stands for all of its calls: what fails as the run's summary says it is known to "
        "does not fail the command, and attempts that were given up do not count.",
    )
    again.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a call or a run")
    again.set_defaults(command=_judge)

    report = commands.add_parser(
        "report",
        help="write the reports of a run again",
        description="Writes report.html and junit.xml anew from a run's folder; judges nothing.",
    )
    report.add_argument("folder", type=Path, metavar="FOLDER", help="of a run, such as out/latest")
    report.set_defaults(command=_report)

    lab = commands.add_parser("lab", help="a PBX that is not the harness's own")
    lab_commands = lab.add_subparsers(required=True, metavar="COMMAND")
    check = lab_commands.add_parser(
        "check",
        help="try each step towards it, one after the other",
        description="Tries what a run will need of the PBX, step by step, and says at the first "
        "that fails what to do. Nothing is changed on the PBX.",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="target file, see docs/lab.md")
    check.set_defaults(command=_lab_check)
    lines = lab_commands.add_parser("lines", help="print the lines to add to its configuration")
    lines.add_argument("file", type=Path, metavar="FILE", help="target file, see docs/lab.md")
    lines.set_defaults(command=_lab_lines)

    doctor = commands.add_parser("doctor", help="what this machine has, and has not")
    doctor.set_defaults(command=_doctor)

    build = commands.add_parser(
        "build",
        help="build Asterisk, or containers of it",
        description="Builds Asterisk with both variants of the module into build/, as make build "
        "does; with --container a container image of each flavour named.",
    )
    build.add_argument("--source", type=Path, metavar="PATH", help="directory or tarball to use")
    build.add_argument("--release", metavar="VERSION", help="official release to insist on")
    build.add_argument(
        "--container",
        nargs="+",
        choices=FLAVOURS,
        metavar="FLAVOUR",
        help="source: built from patched source; packaged: a distribution's with our module",
    )
    build.add_argument(
        "--fresh", action="store_true", help="a container from nothing, with today's packages"
    )
    build.set_defaults(command=_build)

    demo = commands.add_parser("demo", help="speech with marks, patched beside stock")
    demo.set_defaults(command=_demo)

    defaults = Plan()
    numbers = commands.add_parser("measure", help="many marks behind pieces of random size")
    numbers.add_argument("--module", choices=("patched", "stock"), default=defaults.module)
    numbers.add_argument("--marks", type=_positive, default=defaults.marks, help="in all calls")
    numbers.add_argument("--calls", type=_positive, default=defaults.calls, help="at once")
    numbers.add_argument("--seed", type=int, default=defaults.seed, help="of the first call")
    numbers.add_argument("--json", action="store_true", help="commands and events in JSON")
    numbers.add_argument("--memory", action="store_true", help="what a pending mark takes, instead")
    numbers.set_defaults(command=_measure)
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="SCENARIO",
        help="a name, with parameters if need be (matrix[codec=ulaw]), or a file; default: all",
    )
    groups = "; ".join(f"{name}: {what}" for name, what in GROUPS.items())
    parser.add_argument(
        "--group",
        type=_groups,
        default=[],
        metavar="GROUP[,GROUP]",
        help=groups,
    )
    parser.add_argument(
        "--target",
        type=_targets,
        default=[TargetName("patched")],
        metavar="TARGET[,TARGET]",
        help=f"{', '.join((*NATIVE, *CONTAINERS))} or lab:FILE (default: patched)",
    )


def _groups(text: str) -> list[Group]:
    names = text.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(GROUPS)}")
    return [group for group in GROUPS if group in names]


def _targets(text: str) -> list[TargetName]:
    try:
        return [TargetName(name) for name in text.split(",")]
    except InputFault as fault:
        raise argparse.ArgumentTypeError(f"{fault.what}. {fault.remedy}") from fault


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of 1 or more")
    return int(text)


# ---- scenarios -----------------------------------------------------------------------------------


def _run(options: argparse.Namespace, console: Console) -> int:
    folder = _ROOT / "out"
    chosen = RunOptions(
        names=options.names,
        # The smoke group if the user says nothing.
        groups=options.group or ([] if options.names else ["smoke"]),
        targets=options.target,
        parallel=options.parallel,
        repeat=options.repeat,
        seed=options.seed,
        keep_going=options.keep_going,
        hold=options.hold,
    )
    # Before the folder is made: what cannot be run leaves nothing behind.
    plan_run(chosen, _ROOT, folder)
    folder = new_run_folder(folder)
    plan = plan_run(chosen, _ROOT, folder)
    command = shlex.join(["harness", *sys.argv[1:]])
    with run_progress(console, len(plan.jobs), _wait_for_user) as progress:
        summary = run(plan, progress, command)
    console.print()
    if "dispositions" in chosen.groups:
        _print_dispositions(console, summary, folder)
    else:
        console.print(run_table(summary))
        console.print(RUN_LEGEND, style="dim")
    _print_texts(console, [text for one in summary.results for text in one.failures])
    console.print(f"Report: {shown(folder / REPORT_FILE)}", soft_wrap=True)
    console.print(outcome_line(summary))
    return _EXIT_CODES[summary.outcome.value]


async def _wait_for_user(result: ScenarioResult, where: str) -> None:
    print(f"{result.name} failed; its Asterisk is alive. Console:\n    {where}")
    loop = asyncio.get_running_loop()
    entered = asyncio.Event()
    try:
        # Not input() in a thread: that would have to end before a Ctrl-C could.
        loop.add_reader(sys.stdin, entered.set)
    except (OSError, ValueError):
        print("Nobody is there to press Enter (standard input is no terminal): it is let go.")
        return
    print("Enter lets it go: ", end="", flush=True)
    try:
        await entered.wait()
        sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)


def _print_dispositions(console: Console, summary: RunSummary, folder: Path) -> None:
    # A narrow terminal breaks its lines, which is better than numbers cut off.
    wide = Console(width=max(console.width, TABLE_WIDTH))
    wide.print(dispositions_table(summary, "What became of the marks"))
    notes = dispositions_notes(summary)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    (folder / "dispositions.md").write_text(dispositions_markdown(summary, notes))


def _list(options: argparse.Namespace, console: Console) -> int:
    scenarios = choose_scenarios(options.names, options.group)
    for target in options.target:
        with TemporaryDirectory(prefix="harness-list-") as folder:
            capabilities, listed = what_runs(scenarios, target, _ROOT, Path(folder))
        marks = "MARK" if capabilities.playback_marks else "MARK_MEDIA"
        running = sum(not why_not for _, why_not in listed)
        console.print(scenario_list(listed))
        console.print(
            f"{target.text}: Asterisk {capabilities.version}, judged by {marks}; "
            f"{running} of {len(listed)} runs can be done here."
        )
    return EXIT_PASS


def _report(options: argparse.Namespace, console: Console) -> int:
    for path in regenerate(options.folder):
        console.print(str(shown(path)), soft_wrap=True)
    return EXIT_PASS


def _lab_check(options: argparse.Namespace, console: Console) -> int:
    # Before the folder is made: what cannot be checked leaves nothing behind.
    lab = load_lab(options.file)
    return lab_check(lab, new_folder(_ROOT / "out"), console)


def _lab_lines(options: argparse.Namespace, console: Console) -> int:
    return print_lines(options.file, console)


def _doctor(options: argparse.Namespace, console: Console) -> int:
    broken = False
    for finding in examine(_ROOT):
        broken = broken or (finding.needed and not finding.good)
        word, style = ("ok", "green") if finding.good else ("missing", "yellow")
        if finding.needed and not finding.good:
            style = "bold red"
        line = Text(f"{word:<8} ", style=style)
        line.append(f"{finding.what}: {finding.found}", style="none")
        console.print(line, soft_wrap=True)
        if not finding.good:
            console.print(Text(f"         {finding.remedy}"), soft_wrap=True)
    return EXIT_ENVIRONMENT if broken else EXIT_PASS


def _build(options: argparse.Namespace, console: Console) -> int:
    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    if options.fresh and not options.container:
        raise InputFault("--fresh is for containers only", "Add --container, or run: make clean")
    # All of them before minutes are spent on the first.
    for flavour in options.container or ():
        check_options(flavour, options.source, options.release)
    for flavour in options.container or ():
        image = build_image(
            flavour,
            _ROOT,
            source=options.source,
            release=options.release,
            fresh=options.fresh,
            say=say,
        )
        say(f"{image.name}: Asterisk {image.version}, patches {image.patches}")
    if not options.container:
        build_asterisk(_ROOT, options.source, options.release, say)
    return EXIT_PASS


def _judge(options: argparse.Namespace, console: Console) -> int:
    calls = [call for folder in options.folders for call in saved_calls(folder)]
    console.print(LEGEND)
    counted = []
    for call in calls:
        console.print()
        if call.standing == "no scenario's":
            console.print(f"{shown(call.folder)}: no scenario's call, not judged", soft_wrap=True)
            continue
        again = judge_again(call.folder)
        _print_again(console, call, again)
        if call.standing == "counts":
            counted.append((call, again))
    if not counted:
        raise InputFault(
            "none of these calls is in the summary of its run",
            "Give the folder of one of them: then it is judged by itself.",
        )
    console.print()
    _print_ruler(console, [again.accounts.call for _, again in counted])
    known = sum(fails_as_known(call, again) for call, again in counted)
    if known:
        console.print(f"{known} of {len(counted)} calls fail just as they are known to (XFAIL).")
    changed = [str(shown(call.folder)) for call, again in counted if again.same is False]
    if changed:
        console.print(
            f"{len(changed)} of {len(counted)} verdicts are NOT the ones that were saved, which "
            "fails: the judge or the calls' files have changed since.",
            soft_wrap=True,
        )
        _print_texts(console, changed)
    result = worst(counted_result(call, again) for call, again in counted)
    _print_verdict(console, result)
    return _EXIT_CODES[result]


def _print_again(console: Console, call: FoundCall, again: Again) -> None:
    console.print(marks_table(again.accounts.call, str(shown(call.folder))))
    console.print(summary_line([again.accounts.call]), soft_wrap=True)
    for text in (*account_failures(again.accounts), *(again.unexpected or ())):
        console.print(Text(text), soft_wrap=True)
    for note in again.accounts.call.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"The verdict is {again.compared}", soft_wrap=True)
    if call.standing == "given up":
        console.print(
            "It does not count: an attempt that was given up, the run's summary does not have it",
            soft_wrap=True,
        )
    elif fails_as_known(call, again) and call.result:
        console.print(Text(f"It fails as it is known to: {call.result.reason}"), soft_wrap=True)
    elif call.result and call.result.outcome is Outcome.XPASS:
        console.print(Text(f"It did not fail as known: {call.result.reason}"), soft_wrap=True)


# ---- demonstration and measurement ---------------------------------------------------------------


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
    console.print(f"Picture: {shown(picture)}", soft_wrap=True)
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
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
    if options.memory:
        return _measure_memory(build, folder, console)
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
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    _print_failures(console, calls)
    verdict = worst(call_result(call.accounts) for call in calls)
    _print_verdict(console, verdict)
    return _EXIT_CODES[verdict]


def _measure_memory(build: Build, folder: Path, console: Console) -> int:
    memory: Memory = measure_memory(build, folder)
    console.print(
        f"A pending mark with an id of {memory.id_bytes} bytes takes {memory.bytes_a_mark:.0f} "
        f"bytes: growth of Asterisk's resident memory by {memory.marks} marks.",
        soft_wrap=True,
    )
    return EXIT_PASS


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
    error_ms = max(ruler.error_ns for ruler in rulers) / 1e6
    source = {
        "capture": "one packet capture of both legs",
        "socket": "socket time stamps (packets cannot be captured here: run as root for that)",
    }[rulers[0].source]
    dropped = sum(ruler.dropped for ruler in rulers)
    console.print(
        f"Measured by {source}, a time is good to {error_ms:.3f} ms, "
        f"{dropped} packets not captured.",
        soft_wrap=True,
    )


def _print_failures(console: Console, calls: Sequence[LiveCall]) -> None:
    _print_texts(
        console,
        [text for call in calls for text in (*call.failures, *account_failures(call.accounts))],
    )


def _print_texts(console: Console, failures: Sequence[str]) -> None:
    for text in failures[:_FAILURES_SHOWN]:
        console.print(Text(text), soft_wrap=True)
    if len(failures) > _FAILURES_SHOWN:
        console.print(f"... and {len(failures) - _FAILURES_SHOWN} more")


def _print_verdict(console: Console, verdict: str) -> None:
    style = {"PASS": Verdict.PASS, "INCONCLUSIVE": Verdict.INCONCLUSIVE}.get(verdict, Verdict.WRONG)
    console.print(Text(verdict, style=verdict_style(style)))


@contextmanager
def _progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
