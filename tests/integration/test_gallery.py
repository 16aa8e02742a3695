"""Every service of the gallery is profiled for real; its profile has what only that one does.

The slow part builds the image of each and rehearses it, on this host and in QEMU.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from onejob.base.natives import data_path
from onejob.model.component import load_components
from onejob.model.errors import LacksError
from onejob.model.hardware import load_hardware
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile, write_profile
from onejob.model.workload import load_workload
from onejob.planner.plan import make_plan
from onejob.profiler.packages import need_packages
from onejob.profiler.unrecorded import STATIC
from running import ROOT, must, run_onejob

GALLERY = sorted(path.parent.name for path in (ROOT / "services").glob("*/workload.toml"))
PROFILE_LIMIT_S = 300
BUILD_LIMIT_S = 1700
REHEARSAL_LIMIT_S = 1200
STABLE = ("redis", "static-rust")  # profiled until two rounds bring nothing new; the others once


def workload_path(name: str) -> Path:
    """The workload file of a service of the gallery."""
    return ROOT / "services" / name / "workload.toml"


@pytest.fixture(scope="module", params=GALLERY)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The profile of one service after the other, taken by the command line."""
    name = str(request.param)
    if name == "nginx":
        return load_profile(request.getfixturevalue("nginx_profile"))
    try:
        need_packages(load_workload(workload_path(name)).packages, name)
    except LacksError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error.what}: {error.hint}")
    path = tmp_path_factory.mktemp(name) / "profile.xml"
    options = ("--until-stable", "2") if name in STABLE else ()
    words = ("profile", "--workload", workload_path(name), "-o", path, *options)
    must(run_onejob(*words, timeout=PROFILE_LIMIT_S))
    return load_profile(path)


@pytest.fixture(scope="module")
def image(
    service: Profile, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The image of `service`, with a kernel for the default hardware."""
    if service.name == "nginx":
        return Path(request.getfixturevalue("nginx_image"))
    folder = tmp_path_factory.mktemp(service.name)
    profile, image = folder / "profile.xml", folder / "service.onejob"
    profile.write_text(write_profile(service))
    must(run_onejob("build", profile, "-o", image, timeout=BUILD_LIMIT_S))
    return image


@pytest.mark.parametrize("name", GALLERY)
def test_make_installs_what_a_workload_names(name: str) -> None:
    listed = re.findall(r"(?m)^[a-z][^ ]*", (ROOT / "scripts/packages.txt").read_text())
    assert set(load_workload(workload_path(name)).packages) <= set(listed)


@pytest.mark.root
@pytest.mark.ebpf
def test_the_profile_is_whole_and_the_services_own(service: Profile) -> None:
    drills = [drill.name for drill in load_workload(workload_path(service.name)).drills()]
    assert [run.name for run in service.drills] == drills
    assert service.events_lost == 0
    programs = {use.program for use in service.calls}
    assert service.program in programs or _interpreter(service.program) in programs
    used = [file.path for file in service.files if file.uses]
    assert not [path for path in used if ".venv" in path or "/run/onejob-" in path]
    assert not [path for path in programs if "setpriv" in path or "onejob" in Path(path).name]
    FACTS[service.name](service)


@pytest.mark.root
@pytest.mark.ebpf
def test_the_profile_is_stable_where_drills_were_repeated(service: Profile) -> None:
    _, *repeated, _ = service.drills
    assert service.provenance is not None
    assert service.provenance.partial == ""
    for run in repeated:
        assert (run.rounds >= 3 and run.quiet_rounds >= 2) == (service.name in STABLE), run
    assert service.program_peaks
    assert all(peak.resident_kib for peak in service.program_peaks)


# Of what an attacker could use, and of what only the loader calls, nothing is left once it serves.
NEVER_IN_SERVE = {
    "execve", "execveat", "ptrace", "mount", "init_module", "bpf", "unshare", "setns", "chmod",
    "arch_prctl", "set_tid_address",
}  # fmt: skip
# apache2 gives files their rights anew when it restarts.
STILL_IN_SERVE = {("apache2", "main"): {"chmod"}}


@pytest.mark.root
@pytest.mark.ebpf
def test_the_rows_of_those_that_serve_are_narrow(service: Profile) -> None:
    hardware = load_hardware(data_path("hardware") / "qemu-microvm.json")
    plan = make_plan(service, hardware, load_components(data_path("components")))
    assert plan.matrix
    if not plan.service.no_new_privileges:
        return  # it runs set-user-id programs, so its rows are not enforced
    for row in plan.matrix:
        left = NEVER_IN_SERVE & set(row.serve)
        assert left <= STILL_IN_SERVE.get((service.name, row.role), set()), row
        protections = {c.call: c.values for c in row.serve_arguments}.get("mprotect", ())
        assert ((6,) in protections) == (service.name == "node"), row
    if service.name == "nginx":
        sizes = {row.role: (len(row.boot), len(row.serve)) for row in plan.matrix}
        assert sizes["main"][0] <= 70
        assert sizes["main"][1] <= 60
        assert sizes["worker"][1] <= 35


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.runc
@pytest.mark.qemu
@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("place", ["host", "qemu"])
def test_its_image_passes_its_rehearsal(image: Path, place: str) -> None:
    must(run_onejob("rehearse", image, "--on", place, timeout=REHEARSAL_LIMIT_S))


def _interpreter(program: str) -> str:
    """What the first line of a script names, links followed; the program itself otherwise."""
    first = Path(program).read_bytes().partition(b"\n")[0]
    words = first[2:].decode().split() if first.startswith(b"#!") else [program]
    return os.path.realpath(words[0])


def called(profile: Profile, name: str, drill: str = "") -> int:
    """How often a call succeeded, in one drill or in all of them."""
    uses = [use for use in profile.calls if use.call_name == name and drill in ("", use.drill)]
    return sum(use.count - use.failed for use in uses)


def ways(profile: Profile, path: str) -> set[tuple[str, str]]:
    """In which drills a file was used how."""
    file = profile.file(path)
    return {(use.drill, use.how) for use in file.uses} if file else set()


def became(profile: Profile, call: str) -> set[int]:
    """The ids that were asked for with `call`."""
    rows = [row for row in profile.arguments if row.call_name == call and row.count > row.failed]
    return {value for row in rows for value in row.values}


def account(profile: Profile, name: str) -> int:
    """The number of an account in the profile."""
    return next(account.uid for account in profile.accounts if account.name == name)


def forks(profile: Profile, drill: str = "") -> int:
    """How many processes were started; threads count as well."""
    return sum(called(profile, name, drill) for name in ("fork", "vfork", "clone", "clone3"))


def _nginx(profile: Profile) -> None:
    assert called(profile, "chown", "rotate-logs") + called(profile, "fchown", "rotate-logs") > 0
    assert became(profile, "setuid") == {account(profile, "www-data")}


def _nginx_tuned(profile: Profile) -> None:
    """Files stay open, and go out by sendfile; nobody logs who asked."""
    _nginx(profile)
    assert called(profile, "sendfile", "serve") > 100 * called(profile, "openat", "serve")
    assert not ways(profile, "/var/log/nginx/access.log")


def _apache2(profile: Profile) -> None:
    """Workers are threads of children; graceful and restart make new ones as www-data."""
    for drill in ("start", "graceful", "restart", "rotate-logs"):
        assert forks(profile, drill) > 0
    assert became(profile, "setuid") == {account(profile, "www-data")}
    assert profile.number_of_threads > 50  # two children of 25 and their listeners
    assert profile.number_of_sockets > 64  # of 300 connections, as many as it gets round to
    assert {("rotate-logs", "created"), ("rotate-logs", "appended")} <= ways(
        profile, "/var/log/apache2/access.log"
    )


def _redis(profile: Profile) -> None:
    """Children write snapshots and the append-only file; the log is opened anew for each line."""
    for drill in ("snapshot", "rewrite-append-only", "append-only"):
        assert forks(profile, drill) > 0
    assert called(profile, "fdatasync") + called(profile, "fsync") > 0
    assert became(profile, "setuid") == set()  # it is redis from the start
    assert account(profile, "redis") > 0
    assert ("rotate-logs", "created") in ways(profile, "/var/log/redis/redis-server.log")
    assert {row.block_size for row in profile.allocations}  # through jemalloc


def _postgresql(profile: Profile) -> None:
    """One process for each connection, all of them the user's own; what is kept is synced."""
    assert called(profile, "fdatasync", "serve") > 100
    assert called(profile, "fsync", "checkpoint-and-vacuum") > 0
    assert called(profile, "mremap") > 0  # a large value outgrows its buffer
    assert profile.number_of_processes > 100  # max_connections
    assert forks(profile, "overload") > 90
    assert called(profile, "kill", "reload-by-signal") > 0  # the main process tells the others
    assert became(profile, "setuid") == set()
    assert account(profile, "postgres") > 0
    assert "ssl-cert" in {group.name for group in profile.groups}  # its TLS key is that group's
    hows = {how for _, how in ways(profile, "/var/lib/postgresql/15/main/postgresql.auto.conf")}
    assert {"read", "renamed-to"} <= hows


def _gunicorn_flask(profile: Profile) -> None:
    """The imports are there, the application's own too; HUP imports it anew."""
    app = str(ROOT / "services/gunicorn-flask/app.py")
    assert {("start", "read"), ("reload", "read")} <= ways(profile, app)
    read = {file.path for file in profile.files if any(use.how == "read" for use in file.uses)}
    modules = "/usr/lib/python3/dist-packages"
    for name in ("flask/__pycache__/app.", "gunicorn/__pycache__/arbiter.", "jinja2/__pycache__/"):
        assert [path for path in read if path.startswith(f"{modules}/{name}")], name
    assert forks(profile, "reload") >= 2
    assert ("rotate-logs", "created") in ways(profile, "/var/log/gunicorn/access.log")
    small = [row for row in profile.allocations if row.block_size < 512]
    assert sum(row.peak for row in small) > 10_000  # objects, not Python's arenas


def _exim4(profile: Profile) -> None:
    """Each delivery is by children that become the receiver, through the set-user-id program."""
    assert {account(profile, name) for name in ("www-data", "games")} <= became(profile, "setuid")
    program = profile.file("/usr/sbin/exim4")
    assert program is not None and program.mode & 0o4000
    assert called(profile, "execve", "serve") > 0
    assert called(profile, "execve", "reload") > 0  # the main process executes itself anew
    assert called(profile, "fsync") + called(profile, "fdatasync") > 0
    assert ("serve", "appended") in ways(profile, "/var/mail/games")
    assert ("rotate-logs", "created") in ways(profile, "/var/log/exim4/mainlog")
    assert profile.number_of_processes >= 21  # smtp_accept_max and the main process


def _node(profile: Profile) -> None:
    """One process of many threads; the script is read, and no more than 100 connections held."""
    script = str(ROOT / "services/node/server.js")
    assert {("start", "read"), ("serve", "read")} <= ways(profile, script)
    assert profile.number_of_processes == 1
    assert profile.number_of_threads > 5
    assert 32 < profile.number_of_sockets < 160  # of 150 connections
    assert called(profile, "epoll_wait") + called(profile, "epoll_pwait") > 100


def _static_rust(profile: Profile) -> None:
    """No loader and no library: the program is all of it, and no malloc could be interposed."""
    program = profile.file(str(ROOT / "services/static-rust/static-server"))
    assert program is not None and (program.interpreter, program.needed) == ("", ())
    executed = [f.path for f in profile.files if any(u.how == "executed" for u in f.uses)]
    assert executed == [program.path]
    assert not [file.path for file in profile.files if ".so" in file.path]
    assert profile.allocations == profile.memory_allocations == ()
    (unrecorded,) = profile.unrecorded_memory
    assert (unrecorded.program, unrecorded.reason) == (program.path, STATIC)
    # 64 connections, the listener, and one that is told that it is busy. A thread for each; those
    # that are about to end come on top, so that threads have no such bound.
    assert 32 < profile.number_of_sockets <= 66
    assert profile.number_of_threads > 32
    assert ("rotate-logs", "created") in ways(profile, "/var/log/static-server/access.log")


FACTS: dict[str, Callable[[Profile], None]] = {
    "nginx": _nginx,
    "nginx-tuned": _nginx_tuned,
    "apache2": _apache2,
    "redis": _redis,
    "postgresql": _postgresql,
    "gunicorn-flask": _gunicorn_flask,
    "exim4": _exim4,
    "node": _node,
    "static-rust": _static_rust,
}
