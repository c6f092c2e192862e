# SPDX-License-Identifier: GPL-2.0
"""kunit.py and verdict.py: each test of the series must run, and rustc must reject each program."""

import pytest
from common import CONSOLE, OOPS, commit, git, write

SOURCE = """\
/// ```
/// one();
/// ```
/// ```
/// two();
/// ```
/// ```text
/// no code
/// ```
fn new() {}

#[cfg(CONFIG_RUST_QUEUE_KUNIT_TEST)]
#[macros::kunit_tests(rust_queue)]
mod tests {
    fn helper() {}
    #[test]
    fn waits() -> Result {
"""
# The last doctest documents an argument of a macro.
IN_MACRO = SOURCE.replace("/// ```\n/// two", "flags!(\n/// ```\n/// two").replace("fn new", ");\nfn new")
SAYS = """\
[    0.400000] KTAP version 1
[    0.400001] 1..2
[    0.400002]     KTAP version 1
[    0.400003]     # Subtest: rust_queue
[    0.400004]     1..1
[    0.400005]     ok 1 waits
[    0.400006] ok 1 rust_queue
[    0.400007]     KTAP version 1
[    0.400008]     # Subtest: rust_doctests_kernel
[    0.400009]     1..3
[    0.400010]     # rust_doctest_kernel_a_rs_0.location: rust/kernel/a.rs:1
[    0.400011]     ok 1 rust_doctest_kernel_a_rs_0
[    0.400012]     # rust_doctest_kernel_a_rs_1.location: rust/kernel/a.rs:4
[    0.400013] workqueue: something else is said
[    0.400014]     ok 2 rust_doctest_kernel_a_rs_1
[    0.400015]     ok 3 rust_doctest_kernel_b_rs_0 # SKIP no such machine
[    0.400016] # rust_doctests_kernel: pass:2 fail:0 skip:1 total:3
[    0.400017] ok 2 rust_doctests_kernel
"""
WRONG = "fn f() {\n    // error: E0597 `queue`\n    register(&queue);\n}\n"
ERROR = """\
/x/compile-fail/wrong.rs:3:5: error[E0597]: `queue` does not live long enough: x
error: aborting due to 1 previous error
"""
# This error has no code.
LIFETIME = {"error": "/x/compile-fail/wrong.rs:3:5: error: lifetime may not live long enough\n",
            "wrong": WRONG.replace("E0597 `queue`", "lifetime may not")}


@pytest.fixture(scope="session", name="tree")
def small_tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("kunit")
    git(tree, "init", "-q")
    commit(tree, "Linux 0.0", **{"rust/kernel/a.rs": "", "rust/kernel/untouched.rs": SOURCE})
    git(tree, "tag", "base")
    return tree


@pytest.fixture(name="judge")
def judge_fixture(program, tree, tmp_path):
    def judge(says=SAYS, error=ERROR, objects=("right",), source=SOURCE, wrong=WRONG):
        write(tree / "rust/kernel/a.rs", source)
        for name, text in (("programs/right.rs", "fn f() {}\n"), ("programs/wrong.rs", wrong),
                           ("run/negative.log", error), ("run/status", "0\n"),
                           ("run/end", "ended\ntcg\n9.0\n"),
                           ("run/console.log", CONSOLE.replace("<14>", says + "<14>")),
                           *((f"run/negative/{name}.o", "") for name in objects)):
            write(tmp_path / name, text)
        assert not program("lib/kunit.py", "--tree", tree, "--programs", tmp_path / "programs", "--dir",
                           tmp_path / "run").code
        return program("lib/verdict.py", "kunit", "--dir", tmp_path / "run", "--vm-end", 0, "--results",
                       tmp_path / "results")
    return judge


@pytest.mark.parametrize("code, said, what", [
    (0, "", {}),
    (1, "FAILED: rust_queue/waits", {"says": SAYS.replace("ok 1 waits", "not ok 1 waits")}),
    (1, "FAILED: rust_doctests_kernel/rust/kernel/a.rs:4",
     {"says": SAYS.replace("ok 2 rust_d", "not ok 2 rust_d", 1)}),
    # The result line of a suite counts.
    (1, "FAILED: rust_queue ", {"says": SAYS.replace("] ok 1", "] not ok 1")}),
    (8, "did not run: rust_doctests_kernel/rust/kernel/a.rs:4",
     {"says": SAYS.replace("1..3", "1..2").replace("    ok 2", "    2")}),
    (8, "did not run: rust_queue/waits", {"says": SAYS.replace("1 waits", "1 other")}),
    (10, "SKIPPED: rust_queue/waits", {"says": SAYS.replace("1 waits", "1 waits # SKIP lazy")}),
    (7, "none of our tests in the kernel", {"source": ""}),
    (7, "none of our tests in the kernel", {"says": SAYS[:SAYS.index("[    0.400002]")]}),
    (7, "none of our tests in the kernel", {"says": ""}),
    # The kernel stops between two tests.
    (8, "2 of 3", {"says": SAYS[:SAYS.index("[    0.400015]")]}),
    (3, "NULL pointer", {"says": SAYS + OOPS}),
    # For an argument of a macro, rustdoc prints the number of the line before it.
    (0, "", {"source": IN_MACRO}),
    (8, "a.rs:5", {"source": IN_MACRO.replace("flags!(", "fn x() {}")}),
    # Only a doctest that the kernel cannot run may be left out.
    (0, "", {"source": SOURCE.replace("```text", "```ignore,compile_fail")}),
    (8, "a.rs:7", {"source": SOURCE.replace("```text", "```ignore")})])
def test_tests_in_the_kernel(judge, code, said, what):
    done = judge(**what)
    assert done.code == code and said in done.err, done.err
    assert what or done.out == "5 passed, 0 failed, 1 skipped\n"


@pytest.mark.parametrize("code, said, what", [
    (1, "it builds", {"error": "", "objects": ("right", "wrong")}),
    (1, "FAILED: negative/right", {"objects": ()}),
    # The program fails with another error.
    (1, "unexpected: ", {"error": ERROR.replace("E0597", "E0599")}),
    (1, "unexpected: ", {"error": ERROR.replace(":3:", ":4:")}),
    (1, "unexpected: ", {"error": ERROR.replace("`queue`", "`guard`")}),
    (1, "E0514", {"error": ERROR + "error[E0514]: incompatible version of rustc\n"}),
    (1, "E0433", {"error": ERROR + "/x/other/wrong.rs:3:4: error[E0433]: failed to resolve\n"}),
    (1, "line 3 should give E0597 `queue`", {"error": ""}),
    (1, "FAILED: negative/right", {"error": ERROR.replace("/wrong.rs", "/right.rs")}),
    (0, "", LIFETIME),
    (1, "unexpected: ", {**LIFETIME, "error": LIFETIME["error"].replace("lifetime", "type")})])
def test_builds(judge, code, said, what):
    done = judge(**what)
    assert done.code == code and said in done.err, done.err
