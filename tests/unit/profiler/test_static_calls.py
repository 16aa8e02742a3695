"""Static completion: the calls that small programs of known content can reach; broken files."""

import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from onejob.model.profile import FileUse, Unfollowed, Use
from onejob.model.syscalls import call_name
from onejob.profiler.static import names
from onejob.profiler.static.reach import reachable_calls, unfollowed_code
from onejob.profiler.static.summary import ObjectSummary, examine, summarize

DEEP = "1 tables lie behind 3 others: what comes after is left"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
BRANCH = """
int main(int n, char **v) {
    long r = 0;
    if (n > 9) __asm__ volatile ("syscall" : "=a"(r) : "0"(n > 12 ? 177 : 169L)
                                 : "rcx", "r11", "memory");
    return (int)r;
}"""
GENERIC = """
#include <unistd.h>
#include <sys/syscall.h>
int main(int n, char **v) { return n > 9 ? syscall(SYS_pivot_root, "a", "b") : 0; }"""
COMPUTED = GENERIC.replace("SYS_pivot_root", "n")
IMPORTS = """
#include <sys/mount.h>
int main(int n, char **v) { return n > 9 ? mount("a", "b", "c", 0, 0) : 0; }"""
LOADS = """
#include <dlfcn.h>
int main(void) { return dlopen("libz.so.1", RTLD_NOW) == 0; }"""


def compiled(folder: Path, text: str, *options: str) -> ObjectSummary:
    source, program = folder / "x.c", folder / "x"
    source.write_text(text)
    subprocess.run(["cc", "-O1", *options, "-o", program, source], check=True, timeout=60)
    return examine(str(program), hash_of(program))


def hash_of(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def own_calls(summary: ObjectSummary) -> set[str]:
    return {call_name(call.number) for call in summary.calls}


@pytest.mark.parametrize("options", [(), ("-s",)])
def test_a_call_behind_a_branch_never_taken_is_found(tmp_path: Path, options: tuple[str]) -> None:
    summary = compiled(tmp_path, BRANCH.replace("n > 12 ? 177 : 169L", "169L"), *options)
    assert (own_calls(summary), summary.unknown) == ({"reboot"}, 0)
    assert summary.calls[0].how == "syscall instruction at"


def test_a_constant_given_to_syscall_3_is_found(tmp_path: Path) -> None:
    summary = compiled(tmp_path, GENERIC)
    assert (own_calls(summary), summary.unknown) == ({"pivot_root"}, 0)
    assert summary.calls[0].how == "syscall(3) called at"


def test_a_computed_number_is_counted_and_not_guessed(tmp_path: Path) -> None:
    summary = compiled(tmp_path, COMPUTED)
    assert (own_calls(summary), summary.unknown) == (set(), 1)


def test_an_import_leads_through_the_c_library(tmp_path: Path) -> None:
    program = compiled(tmp_path, IMPORTS)
    libc = examine(LIBC, hash_of(LIBC))
    rows = {r.call_name: r for r in reachable_calls({"/x": program, LIBC: libc})}
    assert rows["mount"].object == "/x"
    assert rows["mount"].reason == "imports mount -> libc.so.6 mount"
    assert "exit_group" in rows
    assert not {"umount2", "init_module", "ptrace"} & rows.keys()


def test_a_static_program_has_what_is_linked_into_it(tmp_path: Path) -> None:
    summary = compiled(tmp_path, IMPORTS, "-static")
    assert {"mount", "exit_group", "write"} <= own_calls(summary)
    assert not {"umount2", "init_module", "pivot_root"} & own_calls(summary)


def test_names_of_libraries_are_found_where_they_can_be_loaded(tmp_path: Path) -> None:
    assert "libz.so.1" in compiled(tmp_path, LOADS).libraries
    unable = compiled(tmp_path, 'const char *const a = "libz.so.1"; int main(void) { return 0; }')
    assert unable.libraries == ()


def test_a_broken_file_is_noted_and_never_more(tmp_path: Path) -> None:
    compiled(tmp_path, IMPORTS)
    whole = (tmp_path / "x").read_bytes()
    chance = random.Random(23)
    broken = tmp_path / "broken"
    for _ in range(150):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(1, 40)):
            # The header and the section headers are where a reader believes what it is told.
            place = chance.choice([chance.randrange(64), -chance.randrange(1, 2048)])
            if -len(data) <= place < len(data):
                data[place] = chance.randrange(256)
        broken.write_bytes(data)
        assert examine(str(broken), hash_of(broken)).sha256 == hash_of(broken)


def test_what_is_kept_is_checked_when_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_CACHE", str(tmp_path / "cache"))
    summary = compiled(tmp_path, GENERIC)
    program = str(tmp_path / "x")
    assert summarize(program, summary.sha256) == summary
    (kept,) = (tmp_path / "cache/static").iterdir()
    for text in ("{", kept.read_text().replace(summary.sha256, "0" * 64)):
        kept.write_text(text)
        assert summarize(program, summary.sha256) == summary


def test_what_is_left_of_an_object_is_said(tmp_path: Path) -> None:
    text = BRANCH.replace("n > 12 ? 177 : 169L", "169L")
    long = text.replace(
        "return (int)r;", '__asm__ volatile (".fill 300000, 1, 0x90"); return (int)r;'
    )
    summary = compiled(tmp_path, long)
    (cut,) = summary.cuts
    assert cut == "1 functions are longer than 262144 bytes: what comes after is left"
    assert compiled(tmp_path, text).cuts == ()
    notes = unfollowed_code({"/x": summary})
    assert [(note.object, note.reason) for note in notes] == [("/x", cut)]


def table_chain(tables: int) -> str:
    """A C library's stand-in, which reaches getppid(2) (110) through so many tables."""
    last = 'static int end(int n) { __asm__ volatile ("syscall" :: "a"(110L)); return n; }\n'
    rows = [f"static const void *const t{tables}[] = {{end, end}};"]
    for number in range(tables - 1, 0, -1):
        rows.append(f"static const void *const t{number}[] = {{t{number + 1}, t{number + 1}}};")
    # Names say where one table ends and the next one begins.
    ends = range(1, tables + 1)
    rows += [f'extern const void *const e{n}[] __attribute__((alias("t{n}")));' for n in ends]
    body = 'long syscall(long n, ...) { __asm__ volatile ("" :: "r"(t1)); return n; }'
    return last + "\n".join([*rows, body])


@pytest.mark.parametrize(("tables", "cut"), [(3, ()), (4, (DEEP,))])
def test_a_chain_of_tables_that_is_cut_is_said(
    tmp_path: Path, tables: int, cut: tuple[str, ...]
) -> None:
    summary = compiled(tmp_path, table_chain(tables), "-shared", "-fPIC", "-nostdlib")
    (start,) = summary.exports["syscall"]
    reached = [summary.functions[number].calls for number in summary.functions[start].edges]
    assert reached == ([] if cut else [(110,)])
    assert summary.cuts == cut


def test_no_name_of_a_library_is_left(tmp_path: Path) -> None:
    names = ", ".join(f'"libx{number}.so"' for number in range(200))
    loads = f"#include <dlfcn.h>\nconst char *const a[] = {{{names}}};"
    summary = compiled(tmp_path, loads + "int main(int n, char **v) { return !dlopen(a[n], 1); }")
    assert len(summary.libraries) >= 200


def test_every_path_of_a_text_is_looked_at_and_what_is_too_long_is_said(tmp_path: Path) -> None:
    from onejob.profiler.static.texts import named_in_texts

    etc = "/etc/hosts"
    many = tmp_path / "many.conf"
    many.write_text("".join(f"/none/{number}\n" for number in range(500)) + f"{etc}\n")
    use = Use(program="/x", drill="start", how="read", count=1)
    file = FileUse(path=str(many), kind="file", uses=(use,), package="own=1", size=9000)
    long = file.model_copy(update={"path": f"{many}.long", "size": 2**20 + 1})
    view = names.View({f.path: f for f in (file, long)}, {}, {}, "/x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onejob.profiler.static.texts.owner_of", lambda _path: "own=1")
        found = list(named_in_texts(view))
    assert names.Named(etc, f"{many}: {etc}") in found
    assert Unfollowed(object=f"{many}.long", reason=names.TOO_LONG) in found


def test_interpreters_and_paths_in_texts_are_named(tmp_path: Path) -> None:
    from onejob.profiler.static.texts import _expand, _interpreter

    script = tmp_path / "s"
    script.write_text("#!/usr/bin/env sh\n")
    assert [named.path for named in _interpreter(str(script))] == ["/usr/bin/env", "/usr/bin/sh"]
    assert list(_expand("/etc/x", "/etc/hos?s")) == [
        names.Named("/etc/hosts", "/etc/x: /etc/hos?s")
    ]
    assert list(_expand("/etc/x", "/var/log/x")) == []
    assert FileUse(path="/x", kind="file").named_by == ()


# Without names or an unwind table; long enough that beginnings of functions are guessed from what
# looks like a branch. `middle` is none: one is in the bytes of a number (movabs), others are jumps.
GUESSED = """
__asm__ (
    ".globl _start\\n_start: mov $23, %edi\\n"
    ".byte 0x48, 0xb9, 0xe8\\n.long middle - (. + 4)\\n.byte 0, 0, 0\\n"
    "JUMP"
    "mov $177, %eax\\n"
    "middle: mov %rdi, %rsi\\nsyscall\\nhlt\\n"
    ".fill 9000, 1, 0x90\\n"
);"""
JUMP = r"mov $169, %eax\ntest %edi, %edi\n.byte 0x0f, 0x85\n.long middle - (. + 4)\n"


@pytest.mark.parametrize(
    ("jump", "found"),
    [("", {"get_kernel_syms"}), (JUMP, {"get_kernel_syms", "reboot"})],
    ids=["bytes", "jump"],
)
def test_what_leads_on_into_a_guessed_function_is_followed(
    tmp_path: Path, jump: str, found: set[str]
) -> None:
    text = GUESSED.replace("JUMP", jump)
    summary = compiled(tmp_path, text, "-nostdlib", "-static", "-s")
    assert (own_calls(summary), summary.unknown) == (found, 0)
