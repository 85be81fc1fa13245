"""Imports run one way: floors, borders of the frameworks, and a light package."""

import ast
import subprocess
import sys
import tokenize
from graphlib import TopologicalSorter
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "trm_bt": ROOT / "trm_bt",
    "trm_bt.feeds": ROOT / "feeds",
    "trm_bt.strategies": ROOT / "strategies",
    "trm_bt.analyzers": ROOT / "analyzers",
}
FLOORS = {
    "trm_bt.errors": 1,
    "trm_bt.config": 1,
    "trm_bt.fields": 1,
    "trm_bt.files": 1,
    "trm_bt.manifest": 1,
    "trm_bt.parquet": 1,
    "trm_bt.reading": 1,
    "trm_bt.figures": 1,
    "trm_bt.setting_notes": 1,
    "trm_bt.text": 1,
    "trm_bt.processes": 1,
    "trm_bt.keys": 1,
    "trm_bt.tasks": 1,
    "trm_bt.executors": 1,
    "trm_bt.market": 2,
    "trm_bt.quality": 2,
    "trm_bt.learning": 3,
    "trm_bt.indicators": 4,
    "trm_bt.feeds": 4,
    "trm_bt.analyzers": 4,
    "trm_bt.strategies": 4,
    "trm_bt.backtest": 5,
    "trm_bt.evaluation": 6,
    "trm_bt.audit": 6,
    "trm_bt.report": 7,
    "trm_bt.runfolder": 7,
    "trm_bt.runs": 8,
    "trm_bt.cli": 8,
}
BORDERS = {
    "backtrader": {4, 5},
    "torch": {3},
    "safetensors": {3},
    "quantstats": {7},
    "matplotlib": {7},
    "optuna": {8},
    "cyclopts": {8},
    "rich": {8},
    "yfinance": {4},
    "exchange_calendars": {4},
    "arch": {6},
    "dask": {1},
    "distributed": {1},
    "filelock": {1, 4, 6},
    "hmmlearn": {4},
    "jumpmodels": {4},
    "lightgbm": {4},
    "sklearn": {4},
    "statsmodels": {6},
    "tenacity": {4},
}


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts]).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def floor(name: str) -> int:
    room = name
    while room:
        if room in FLOORS:
            return FLOORS[room]
        room = room.rpartition(".")[0]
    raise AssertionError(f"{name} stands on no floor: give it one")


def imports(path: Path, *, is_late: bool) -> set[str]:
    """Return what a module imports, on its top level or later, inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    checking = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names = set()
    for node in ast.walk(tree):
        if (id(node) in late) != is_late or id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {
                f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in MODULES
                else str(node.module)
                for alias in node.names
            }
    return names


@pytest.mark.parametrize("name", [name for name in MODULES if name != "trm_bt"])
def test_imports_go_down(name):
    own = floor(name)
    for is_late in (False, True):
        for imported in imports(MODULES[name], is_late=is_late):
            if not imported.startswith("trm_bt"):
                continue
            below = floor(imported)
            assert below <= own, f"{name} (floor {own}) imports {imported} ({below})"
            if own == 4 and below == 3:
                assert is_late, f"{name} must import {imported} late"
            if own == 7:
                assert below in {1, 2, 6, 7}, f"{name} must not import {imported}"


def test_no_two_modules_import_each_other():
    graph = {
        name: imports(path, is_late=False) & set(MODULES)
        for name, path in MODULES.items()
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", [name for name in MODULES if name != "trm_bt"])
def test_frameworks_stay_on_their_floors(name):
    used = imports(MODULES[name], is_late=False) | imports(MODULES[name], is_late=True)
    for framework in {module.partition(".")[0] for module in used}:
        assert floor(name) in BORDERS.get(framework, {floor(name)}), (
            f"{name} must not import {framework}"
        )


def lines_of_code(source: str) -> set[int]:
    """Return the numbers of the lines that hold more than a comment."""
    empty = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    return {
        line
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if tokenize.tok_name[token.type] not in empty
        for line in range(token.start[0], token.end[0] + 1)
    }


@pytest.mark.parametrize("name", list(MODULES))
def test_modules_and_functions_stay_small(name):
    source = MODULES[name].read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400
    code = lines_of_code(source)
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            held = code & {*range(function.lineno, function.end_lineno + 1)}
            if ast.get_docstring(function) is not None:
                doc = function.body[0]
                held -= {*range(doc.lineno, doc.end_lineno + 1)}
            assert len(held) <= 40, f"{name}.{function.name} has {len(held)} lines"


@pytest.mark.parametrize("name", list(MODULES))
def test_only_the_command_line_prints(name):
    calls = [
        node
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not calls or name.startswith("trm_bt.cli")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import trm_bt", "torch backtrader quantstats yfinance pandas"),
        ("from trm_bt import load_bars", "torch backtrader quantstats yfinance"),
        ("from trm_bt import TRMAllocator", "torch quantstats yfinance matplotlib"),
        ("import trm_bt.cli", "torch backtrader quantstats yfinance matplotlib"),
        ("import trm_bt.evaluation.leads", "arch statsmodels torch"),
    ],
)
def test_importing_stays_light(statement, absent):
    code = (
        f"import sys; {statement}; print(*set('{absent}'.split()) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
