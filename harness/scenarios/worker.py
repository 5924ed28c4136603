"""A process that has one target of its own and runs scenarios on it, one after the other.

It is told what to run by lines of JSON on its standard input, and says what became of it by lines
of JSON on its standard output: `run_many` is the other end. So several can run beside each other,
and one that breaks takes nothing along. Its own console output goes to its standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.bench import open_bench
from harness.errors import Fault
from harness.scenarios.result import Outcome
from harness.scenarios.run_one import Setting, run_scenario
from harness.scenarios.schema import Scenario, load_scenarios
from harness.targets.capabilities import Capabilities
from harness.targets.names import TargetName

_END_S = 5.0
"""for Asterisk to have ended, and a container's engine to have said so, behind its connections"""


def main() -> int:
    """``python -m harness.scenarios.worker <JSON object>``, as `run_many` starts it."""
    # Results have the standard output to themselves, whatever a library prints.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # asyncio makes an orderly cancellation of a Ctrl-C; who started us may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    given = json.loads(sys.argv[1])
    target = TargetName(given["target"])
    run_folder = Path(given["run_folder"])
    setting = Setting(
        target.text, target.stock, target.patched, given["command"], given["max_inconclusive"]
    )

    def tell(**message: Any) -> None:
        results.write(json.dumps(message) + "\n")
        results.flush()

    loaded: dict[str, list[Scenario]] = {}
    try:
        with open_bench(target, Path(given["root"]), Path(given["folder"])) as bench:
            tell(ready=as_plain(bench.capabilities))
            for line in sys.stdin:
                job = json.loads(line)
                if "hold" in job:
                    tell(held=bench.attach_command)
                    continue
                file = job["file"]
                if file not in loaded:
                    loaded[file] = load_scenarios(Path(file))
                [scenario] = [one for one in loaded[file] if one.full_name == job["name"]]
                result = run_scenario(bench, scenario, job["seed"], setting, run_folder)
                if result.outcome is Outcome.ERROR:
                    # What went wrong may have been Asterisk's end, or that it stands still.
                    bench.check_alive(_END_S)
                    bench.check_answers()
                bench.check_alive()
                tell(result=asdict(result))
    except Fault as fault:
        tell(fault=fault.kind, what=fault.what, remedy=fault.remedy)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def as_plain(capabilities: Capabilities) -> dict[str, Any]:
    """Capabilities as JSON can have them."""
    return {
        key: sorted(value) if isinstance(value, frozenset) else value
        for key, value in asdict(capabilities).items()
    }


if __name__ == "__main__":
    sys.exit(main())
