"""``build_kernel`` with a small source of our own and a make that only pretends to compile."""

import io
import os
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onejob.base.linux import mount, unmount
from onejob.builder.kernel import KernelBuild, build_kernel, configure_kernel
from onejob.builder.kernel_cache import KINDS, LINES_OF_A_KIND
from onejob.model.errors import BuildError, LacksError
from onejob.model.plan import KernelOption

TOOLS = ("gcc", "ld", "flex", "bison", "bc", "perl")

KCONFIG = """\
mainmenu "small"
config MODULES
\tbool "modules"
\tmodules
config NET
\tbool "network"
config INET
\tbool "internet"
\tdepends on NET
config FORCED
\tbool "forced"
config FORCING
\tbool "forcing"
\tselect FORCED
config TINY
\tbool "tiny"
config SECRET
\tbool
config NAME
\tstring "name"
"""

SOURCE = {
    "Makefile": "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 23\n",
    "Kconfig": KCONFIG,
    "kernel/configs/tiny.config": "CONFIG_TINY=y\n",
    "arch/x86/entry/syscalls/syscall_64.tbl": (
        "# comment\n0\tcommon\tread\tsys_read\n1\t64\twrite\tsys_write\n"
        "174\t64\tcreate_module\n512\tx32\trt_sigaction\tcompat_sys_rt_sigaction\n"
    ),
}

# Understands what kernel_make asks: `allnoconfig` from a seed, and `bzImage`.
MAKE = """\
#!{python}
import os, sys, time
objects = [w[2:] for w in sys.argv if w.startswith("O=")][0]
calls = open({calls!r}, "a")
print(sys.argv[-1], file=calls, flush=True)
config = os.path.join(objects, ".config")
if sys.argv[-1] == "allnoconfig":
    seed = open(os.environ["KCONFIG_ALLCONFIG"])
    values = dict(line.strip().split("=", 1) for line in seed if "=" in line)
    if "CONFIG_NET" not in values:
        values.pop("CONFIG_INET", None)
    if "CONFIG_FORCING" in values:
        values["CONFIG_FORCED"] = "y"
    for gone in ("CONFIG_SECRET", "CONFIG_MISSPELT"):
        values.pop(gone, None)
    with open(config, "w") as file:
        file.writelines(f"{{k}}={{v}}\\n" for k, v in sorted(values.items()) if v != "n")
    sys.exit()
text = open(config).read()
open(os.path.join(objects, "make.pid"), "w").write(str(os.getpid()))
for number in range(4):
    print(f"  CC      net/part{{number}}.o", flush=True)
if "slow" in text:
    time.sleep(60)
if "broken" in text:
    print("net/core.c:7:3: error: 'sk' undeclared (first use in this function)")
    print("make[2]: *** [scripts/Makefile.build:229: net/core.o] Error 1")
    sys.exit(2)
image = os.path.join(objects, "arch/x86/boot/bzImage")
os.makedirs(os.path.dirname(image), exist_ok=True)
open(image, "w").write("kernel of\\n" + text + os.environ["KBUILD_BUILD_TIMESTAMP"])
"""


class Shop:
    """A machine with a kernel source, tools that pretend, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "src"
        self.cache = folder / "cache"
        self.log = folder / "kernel.log"
        self.calls_file = folder / "calls"
        self.said: list[tuple[str, float]] = []

    def build(self, *options: str) -> KernelBuild:
        return build_kernel(wanted(*options), self.cache, self.log, self.hear, self.sources)

    def hear(self, what: str, fraction: float) -> None:
        self.said.append((what, fraction))

    def made(self) -> list[str]:
        return self.calls_file.read_text().split() if self.calls_file.exists() else []

    def kernels(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "kernel/kernels").iterdir())


def wanted(*options: str) -> list[KernelOption]:
    """Options from ``NAME=value`` words."""
    pairs = (option.partition("=") for option in options)
    return [KernelOption(name=n, value=v, reason=f"{n} is wanted") for n, _, v in pairs]


def write_source(folder: Path, name: str) -> None:
    """A tarball as the distribution's, one folder at its top."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as archive:
        for path, text in SOURCE.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


def write_tool(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        write_tool(tools / name, f"#!/bin/sh\necho {name} 12.2\n")
    make = MAKE.format(python=sys.executable, calls=str(tmp_path / "calls"))
    write_tool(tools / "make", make)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    write_source(tmp_path / "src", "linux-source-6.1")
    return Shop(tmp_path)


def test_builds_what_the_options_say(shop: Shop) -> None:
    built = shop.build("NET=y", "INET=y")
    assert built.config.read_text() == "CONFIG_INET=y\nCONFIG_NET=y\nCONFIG_TINY=y\n"
    assert built.image.read_text() == f"kernel of\n{built.config.read_text()}@0"
    assert (built.release, built.calls, built.cached) == ("6.1.23", 2, False)
    assert built.compiler == "gcc 12.2"


def test_progress_rises_to_one_and_names_what_is_compiled(shop: Shop) -> None:
    shop.build("NET=y")
    fractions = [fraction for _, fraction in shop.said]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert "kernel: CC net/part3.o" in [what for what, _ in shop.said]


def test_the_same_request_is_answered_without_make(shop: Shop) -> None:
    first = shop.build("NET=y", "INET=y")
    again = shop.build("INET=y", "NET=y")
    assert again.cached and again.image == first.image
    assert shop.made() == ["allnoconfig", "bzImage"]


def test_requests_that_configure_alike_share_a_kernel(shop: Shop) -> None:
    first = shop.build("NET=y")
    second = shop.build("NET=y", "INET=n")
    assert second.cached and second.image == first.image
    assert shop.made() == ["allnoconfig", "bzImage", "allnoconfig"]


def test_an_option_wins_over_the_tiny_seed(shop: Shop) -> None:
    assert "TINY" not in shop.build("TINY=n").config.read_text()


def test_a_text_value_is_quoted(shop: Shop) -> None:
    assert 'CONFIG_NAME="landlock,yama"' in shop.build("NAME=landlock,yama").config.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("INET=y",), "INET=y (INET is wanted): unmet dependency: NET(=n)"),
        (("MISSPELT=y",), "MISSPELT=y (MISSPELT is wanted): Linux 6.1.23 has no such option"),
        (("FORCING=y", "FORCED=n"), "FORCED=n (FORCED is wanted): still on, selected by FORCING"),
        (("SECRET=y",), "SECRET=y (SECRET is wanted): it can't be set, only selected"),
    ],
)
def test_an_option_not_honoured_is_an_error(
    shop: Shop, options: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BuildError) as error:
        shop.build(*options)
    assert words in error.value.what
    assert shop.made() == ["allnoconfig"] and shop.kernels() == []


def test_two_values_for_one_option_are_an_error(shop: Shop) -> None:
    with pytest.raises(BuildError, match=r"NET is asked for as y .* and as n"):
        shop.build("NET=y", "NET=n")


def test_a_compile_error_shows_the_compilers_line_and_keeps_the_log(shop: Shop) -> None:
    with pytest.raises(BuildError) as error:
        shop.build("NAME=broken")
    assert "net/core.c:7:3: error: 'sk' undeclared" in error.value.what
    assert str(shop.log) in error.value.hint
    assert "net/part3.o" in shop.log.read_text()
    assert shop.kernels() == []


class Stopping(Shop):
    """Its user presses Ctrl-C when the last part is compiled."""

    def hear(self, what: str, fraction: float) -> None:
        if "part3" in what:
            raise KeyboardInterrupt


def test_ctrl_c_ends_make_and_leaves_nothing_half(shop: Shop) -> None:
    with pytest.raises(KeyboardInterrupt):
        Stopping(shop.folder).build("NAME=slow")
    (pid,) = (shop.cache / "kernel/objects").glob("*/make.pid")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert shop.kernels() == []
    assert not shop.build("NET=y").cached


def test_a_changed_byte_in_the_cache_is_found_and_built_anew(shop: Shop) -> None:
    first = shop.build("NET=y")
    good = first.image.read_bytes()
    first.image.write_bytes(good[:-1] + b"!")
    assert not shop.build("NET=y").cached
    assert first.image.read_bytes() == good


def test_leftovers_of_a_killed_builder_go(shop: Shop) -> None:
    shop.build("NET=y")
    (objects,) = (shop.cache / "kernel/objects").iterdir()
    (objects / "onejob-in-use").touch()
    (objects / "half.o").touch()
    (shop.cache / "kernel/kernels/.partial-x").mkdir()
    shop.build("NET=y", "INET=y")
    assert not (objects / "half.o").exists()
    assert [name for name in shop.kernels() if name.startswith(".")] == []


def test_concurrent_equal_requests_build_once(shop: Shop) -> None:
    built: list[KernelBuild] = []
    threads = [threading.Thread(target=lambda: built.append(shop.build("NET=y"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({build.image for build in built}) == 1
    assert shop.made() == ["allnoconfig", "bzImage"]


def test_configuring_builds_nothing(shop: Shop) -> None:
    config = configure_kernel(wanted("NET=y"), shop.cache, shop.log, shop.hear, shop.sources)
    assert config.values == {"NET": "y", "TINY": "y"}
    assert shop.made() == ["allnoconfig"]


def test_configuring_makes_no_object_older(shop: Shop) -> None:
    shop.build("NET=y")
    (objects,) = (shop.cache / "kernel/objects").iterdir()
    before = (objects / ".config").stat()
    configure_kernel(wanted("NET=n"), shop.cache, shop.log, shop.hear, shop.sources)
    shop.build("NET=y", "INET=n")  # the same kernel by another request
    assert (objects / ".config").stat() == before


def test_kernels_of_a_kind_share_objects(shop: Shop) -> None:
    folders = []
    for kind in range(KINDS + 1):
        lines = [f"KIND{kind}_{number}=y" for number in range(LINES_OF_A_KIND)]
        shop.build(*lines)
        shop.build(*lines, "NET=y")
        folders.append(sorted(path.name for path in (shop.cache / "kernel/objects").iterdir()))
    assert [len(names) for names in folders] == [1, 2, 3, 3]
    configs = [path.read_text() for path in (shop.cache / "kernel/objects").glob("*/.config")]
    assert all("CONFIG_NET=y" in config for config in configs)


def test_the_newest_source_is_taken(shop: Shop) -> None:
    write_source(shop.sources, "linux-source-6.12")
    assert shop.build("NET=y").package.startswith("linux-source-6.12")


def test_a_new_source_package_means_a_new_kernel(shop: Shop) -> None:
    shop.build("NET=y")
    os.utime(shop.sources / "linux-source-6.1.tar.xz", (0, 0))
    assert not shop.build("NET=y").cached


def test_without_a_source_the_package_is_named(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(LacksError) as error:
        build_kernel(wanted("NET=y"), shop.cache, shop.log, shop.hear, tmp_path / "none")
    assert "apt-get install linux-source-6" in error.value.hint


def test_a_truncated_source_is_an_error_and_leaves_no_tree(shop: Shop) -> None:
    tarball = shop.sources / "linux-source-6.1.tar.xz"
    tarball.write_bytes(tarball.read_bytes()[:200])
    with pytest.raises(BuildError, match=r"cannot unpack .*linux-source-6\.1\.tar\.xz"):
        shop.build("NET=y")
    assert list((shop.cache / "kernel/sources").iterdir()) == []


def test_all_lacking_tools_are_named_at_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flex", "bison"):
        (tmp_path / "tools" / name).unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    with pytest.raises(LacksError, match="not installed: flex, bison"):
        shop.build("NET=y")


@pytest.fixture
def full_disk(shop: Shop) -> Iterator[Shop]:
    shop.cache.mkdir()
    mount("tmpfs", shop.cache, "tmpfs", data="size=8m")
    yield shop
    unmount(shop.cache)


@pytest.mark.root
def test_too_little_room_is_said_before_the_work(full_disk: Shop) -> None:
    with pytest.raises(LacksError, match="8 MiB free, a kernel build needs 3072 MiB"):
        full_disk.build("NET=y")
