"""What of a profile is the operating system's, and may be newer; what is the service."""

from pathlib import Path

import small_world
from onejob.model.component import load_components
from onejob.model.profile import FileUse
from onejob.planner.system_files import service_packages, system_files
from small_world import seen

LIB = "/usr/lib/x86_64-linux-gnu"
COMPONENTS = load_components(Path(__file__).resolve().parents[3] / "components")


def lib(name: str, package: str, **changes: object) -> FileUse:
    fields = {"path": f"{LIB}/{name}", "kind": "file", "sha256": "ab" * 32, "package": package}
    return FileUse(**{**fields, **changes})  # type: ignore[arg-type]


PROGRAM = seen("/usr/sbin/keeper", "executed", package="keeper=1.0", needed=(f"{LIB}/libz.so.1",),
               interpreter=f"{LIB}/ld.so.2")  # fmt: skip
OWN_LIBRARY = lib("libkeep.so.1", "keeper=1.0")
PLUGIN = lib("keeper/plug.so", "keeper-plug=3.0")
LINK = lib("libz.so.1", "zlib=2.0", kind="symlink", target="libz.so.1.2", sha256="")
LIBRARY = lib("libz.so.1.2", "zlib=2.0", needed=(f"{LIB}/libkeep.so.1",))
LOADER = seen(f"{LIB}/ld.so.2", "executed", package="libc=2.36")
MODULE = lib("ossl/legacy.so", "zlib=2.0")
LOADED = lib("libdeep.so.4", "libdeep=1")
UNPACKAGED = lib("libhome.so.1", "")
CONFIGURATION = seen("/etc/z.conf", "read", package="zlib=2.0")
ZONE = seen("/usr/share/zoneinfo/UTC", "read", package="tzdata=1")
AUTHORITY = seen("/etc/ssl/certs/all.crt", "read")
INCLUDED = seen("/usr/share/zoneinfo/Mine", package="tzdata=1", origin="user")
FILES = (PROGRAM, OWN_LIBRARY, PLUGIN, LINK, LIBRARY, LOADER, MODULE, LOADED, UNPACKAGED,
         CONFIGURATION, ZONE, AUTHORITY, INCLUDED)  # fmt: skip


def test_libraries_of_other_packages_and_data_by_place_are_the_systems() -> None:
    found = system_files(small_world.profile(files=FILES), COMPONENTS)
    assert set(found) == {
        file.path for file in (LINK, LIBRARY, LOADER, MODULE, LOADED, ZONE, AUTHORITY)
    }
    assert found[LIBRARY.path] == "library of zlib, needed by /usr/sbin/keeper"
    assert found[MODULE.path] == f"of zlib, as {LINK.path}"
    assert "time zones" in found[ZONE.path]


def test_a_program_that_was_executed_makes_its_package_the_service() -> None:
    profile = small_world.profile(files=FILES)
    assert service_packages(profile) == {"keeper"}, "the loader is no program of its own"
    helper = seen("/usr/bin/zcat", "executed", package="zlib=2.0")
    found = system_files(small_world.profile(files=(*FILES, helper)), COMPONENTS)
    assert LIBRARY.path not in found
    assert LOADED.path in found


def test_nothing_is_the_systems_without_a_rule() -> None:
    found = system_files(small_world.profile(files=(PROGRAM, ZONE, AUTHORITY)), ())
    assert found == {}
