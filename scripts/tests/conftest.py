# SPDX-License-Identifier: GPL-2.0
"""Fixtures that several test files use."""

import json
import os
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from common import CONSOLE, KTAP, repository, write

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
    """Run a Python program of the harness, on the repository TOP, in this process, which is faster."""
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
def judge(program, tmp_path):
    """Run verdict.py on the files of a guest in tmp_path/run: every test has passed, but for CHANGE.
    None removes a file. prepare() runs before verdict.py."""
    def verdict(kind="test", vm_end=0, top=None, prepare=lambda: None, results=None, **change):
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        for name, text in {"console.log": CONSOLE, "test.ktap": KTAP, "end": "ended", "status": "0",
                           **change}.items():
            if text is not None:
                write(run / name, text)
        prepare()
        results = results or run / "results"
        write(results / "test.ktap", "of an earlier run\n")
        done = program("lib/verdict.py", kind, "--dir", run, "--vm-end", vm_end, "--results", results,
                       top=top)
        assert json.loads((results / "summary.json").read_text())["exit"] == done.code, done.err
        assert (results / "test.ktap").exists() == (run / "test.ktap").exists()
        return done
    return verdict


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def small_repository(template, tmp_path):
    """A copy of common.repository(), which is made once."""
    return shutil.copytree(template, tmp_path / "top", symlinks=True)
