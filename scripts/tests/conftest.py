# SPDX-License-Identifier: GPL-2.0
"""Where the tests find what they test, and how they run it."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from common import repository

SCRIPTS = Path(__file__).resolve().parents[1]
for room in ("lib", "mutants", "bench"):
    sys.path.insert(0, str(SCRIPTS / room))

VARIABLES = ("BASE", "BUILD", "CONFIG", "EACH", "EXITHAND_LOCKED", "KDIR", "M", "MUTANT", "OTHER", "PATCH",
             "PYTHONPATH", "V")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """What the user, or the verb that runs the tests, has set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def program(capsys, monkeypatch):
    """Run one of the harness's Python programs, which is much faster in this process. With
    TOP, the repository that it works on is there."""
    import harness

    def run(name, *args, top=None):
        file = SCRIPTS / name
        monkeypatch.setattr(sys, "argv", [str(file), *map(str, args)])
        monkeypatch.setattr(harness, "TOP", top or SCRIPTS.parent)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(file), run_name="__main__")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=out, err=err)
    return run


@pytest.fixture
def verb():
    """Run a script of a copy of the harness."""
    def run(top, name, *args, **env):
        done = subprocess.run([top / "scripts" / name, *args], text=True, capture_output=True, check=False,
                              cwd=top, env=os.environ | {"EXITHAND_CACHE": str(top / "cache"), **env})
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)
    return run


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    top = tmp_path_factory.mktemp("repository")
    repository(top)
    return top


@pytest.fixture
def small_repository(template, tmp_path):
    """A copy of common.repository(), made only once."""
    return shutil.copytree(template, tmp_path / "top", symlinks=True)
