"""Time the pages of a run over twelve crises: two processes against one, and our table.

Each build is a program of its own, turn by turn; the memory is the largest sum over all
of its processes, shared pages counted once. Without a run folder, one of random walks
from 1996 to 2023 is made. Linux only.
    python -m tests.bench.report_speed [run folder]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes_run import write_fake_run
from trm_bt.report.crisis_windows import windows_of
from trm_bt.report.models import read_models
from trm_bt.report.pages import crisis_frame
from trm_bt.report.run_sheets import run_sheets
from trm_bt.report.tearsheets import render_sheet
from trm_bt.runfolder.store import read_run

BUILD = """
import sys
from trm_bt.report import build
if __name__ == "__main__":
    build(sys.argv[1], executor=int(sys.argv[2]))
"""
N_TURNS = 2


def build_in_a_program(run_dir: Path, work: Path, jobs: int) -> tuple[float, float]:
    """Return the wall seconds of a build, and its largest memory in MiB."""
    script = work / "build.py"
    script.write_text(BUILD)
    begun, largest = time.perf_counter(), 0.0
    command = [sys.executable, "-W", "ignore", script, run_dir, str(jobs)]
    with subprocess.Popen(command, start_new_session=True) as program:
        while program.poll() is None:
            largest = max(largest, memory_of_session(program.pid))
            time.sleep(0.2)
    if program.returncode:
        raise SystemExit("the build failed")
    return time.perf_counter() - begun, largest


def memory_of_session(session: int) -> float:
    """Return the proportional memory of all processes of a session, in MiB."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(told[3]) == session:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += sum(int(x.split()[1]) for x in lines if x.startswith("Pss:"))
        except OSError:
            continue  # It has ended meanwhile.
    return total / 1024


def own_table(run_dir: Path) -> tuple[float, float]:
    """Return CPU seconds of our summary of one crisis and of one QuantStats page."""
    folder = read_run(run_dir)
    models = read_models(run_dir)
    begun = time.process_time()
    windows = windows_of(folder, models)
    crisis_frame(windows)
    ours = (time.process_time() - begun) / sum(not window.reason for window in windows)
    sheets = dict(run_sheets(folder, windows))
    render_sheet(sheets["tearsheets/flash_crash.html"])  # imports QuantStats
    begun = time.process_time()
    render_sheet(sheets["tearsheets/financial_crisis.html"])
    return ours, time.process_time() - begun


def main() -> None:
    """Print the three comparisons."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else work
        run_dir = given
        if not (given / "run.json").is_file():
            run_dir = work / "run"
            write_fake_run(run_dir, start="1996-01-02", end="2023-12-29")
        turns = {jobs: [] for jobs in (1, 2)}
        for _ in range(N_TURNS):
            for jobs, measured in turns.items():
                measured.append(build_in_a_program(run_dir, work, jobs))
        ours, page = own_table(run_dir)
    seconds = {jobs: min(s for s, _ in measured) for jobs, measured in turns.items()}
    memory = {jobs: max(m for _, m in measured) for jobs, measured in turns.items()}
    for jobs in turns:
        print(f"{jobs} job(s) {seconds[jobs]:8.1f} s {memory[jobs]:8.0f} MiB")
    print(f"ratio    {seconds[2] / seconds[1]:8.2f}")
    print(f"ours     {ours * 1e3:8.1f} ms a crisis, QuantStats {page * 1e3:.0f} ms")
    print(f"ratio    {ours / page:8.3f}")


if __name__ == "__main__":
    main()
