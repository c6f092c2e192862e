# SPDX-License-Identifier: GPL-2.0
"""Fixtures that several test files use."""

import os
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from common import repository

SCRIPTS = Path(__file__).resolve().parents[1]
for room in ("lib", "mutants", "bench"):
    sys.path.insert(0, str(SCRIPTS / room))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Hide the variables that the user, or the verb that runs the tests, has set."""
    for name in set(os.environ) - {"PATH", "HOME", "TMPDIR", "PYTEST_CURRENT_TEST", "LANG", "TZ"}:
        monkeypatch.delenv(name)


@pytest.fixture
def program(capsys, monkeypatch):
    """Run a Python program of the harness in this process, which is faster than a new one.
    The program works on the repository in TOP."""
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


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    top = tmp_path_factory.mktemp("repository")
    repository(top)
    return top


@pytest.fixture
def small_repository(template, tmp_path):
    """A copy of common.repository(), which is made once."""
    return shutil.copytree(template, tmp_path / "top", symlinks=True)
