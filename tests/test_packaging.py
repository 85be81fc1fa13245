"""A built wheel holds the package and nothing that would shadow a user's folders."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    pytest.importorskip("setuptools", reason="the wheel is built with setuptools")
    out = tmp_path_factory.mktemp("wheel")
    copy = tmp_path_factory.mktemp("source") / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.split("\0")[:-1]:
        source = ROOT / name
        if source.is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, copy],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_nothing_but_the_package_lies_on_top(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trm_bt"}


def test_every_module_and_data_file_is_there(wheel):
    names = set(wheel.namelist())
    for package, folder in (
        ("trm_bt", "trm_bt"),
        ("trm_bt/feeds", "feeds"),
        ("trm_bt/strategies", "strategies"),
        ("trm_bt/analyzers", "analyzers"),
    ):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".parquet", ".typed"} or path.parent.name in {
                "templates",
                "assets",
            }:
                assert (
                    f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names
                )


def test_metadata_names_licence_floor_and_command(wheel):
    (metadata,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    assert "License-Expression: GPL-3.0-or-later" in text
    assert "Requires-Dist: torch>=2.10" in text
    assert "Requires-Python: >=3.11" in text
    (points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "trm-bt = trm_bt.cli:main" in wheel.read(points).decode()
