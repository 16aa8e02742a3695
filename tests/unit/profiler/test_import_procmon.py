"""Logs of Process Monitor: one story of a Windows service, in both forms, with known counts."""

from pathlib import Path

import pytest
from procmon_files import COLUMNS, Story
from test_import_strace import partial, uses

from onejob.model.errors import InputError
from onejob.model.profile import Profile
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.profile_xml import parse_profile, write_profile
from onejob.profiler.imports.importing import import_profile

TIMES = 23
NGINX, CONF = "C:\\nginx\\nginx.exe", "C:\\nginx\\conf\\nginx.conf"
ERROR_LOG, NEW = "C:\\nginx\\logs\\error.log", "C:\\nginx\\logs\\nginx.pid"
MASTER, WORKER, SERVICES, NOTEPAD = 4100, 4104, 700, 900
HERE, THERE, THERE6 = ("10.0.0.2", 80), "10.0.0.9", "fe80::1"
KEY = "HKLM\\SOFTWARE\\nginx"
TCP = {"Send": 2, "Receive": 3, "Accept": 4, "Connect": 5, "Disconnect": 6}


def story(*, wide: bool = True) -> Story:
    """nginx with one worker, started while the log ran; beside it a notepad."""
    told = Story(wide=wide)
    told.process(SERVICES, 4, "C:\\Windows\\System32\\services.exe", user="NT AUTHORITY\\SYSTEM")
    told.process(
        MASTER, SERVICES, NGINX, "C:\\Windows\\System32\\ntdll.dll", user="NT AUTHORITY\\x"
    )
    told.process(WORKER, MASTER, "c:\\NGINX\\nginx.exe", user="NT AUTHORITY\\x")
    told.process(NOTEPAD, 1, "C:\\Windows\\notepad.exe")
    told.start(SERVICES, MASTER)
    told.load(MASTER, NGINX)
    told.load(MASTER, "C:\\Windows\\System32\\ntdll.dll")
    _tell_files(told)
    _tell_registry(told)
    told.start(MASTER, WORKER)
    for number in range(2):
        told.thread(WORKER, 5000 + number)
    _tell_network(told)
    told.end_thread(WORKER, 5000)
    told.exit(WORKER, 8 * 2**20)
    for _ in range(7):
        told.create(NOTEPAD, "C:\\x.txt")
    return told


def _tell_files(told: Story) -> None:
    told.other_file(MASTER, 6, "QueryOpen", CONF, "FAST IO DISALLOWED")
    told.create(MASTER, CONF)
    for number in range(TIMES):
        told.transfer(MASTER, CONF, 100, 100 * number)
    told.transfer(MASTER, CONF, 50, 7)  # a jump
    told.transfer(MASTER, CONF, 512, 57, result="END OF FILE")
    told.create(MASTER, "C:\\nginx\\conf\\extra.conf", result="NAME NOT FOUND")
    told.create(MASTER, "C:\\none\\x", result="PATH NOT FOUND")
    append = "Append Data/Add Subdirectory/Create Pipe Instance"
    told.create(MASTER, ERROR_LOG, append, "OpenIf")
    told.create(MASTER, NEW, "Generic Write", "OverwriteIf", opened="Created")
    told.transfer(MASTER, NEW, 1350, 0, write=True)
    told.other_file(MASTER, 38, "CloseFile", NEW)
    told.delete(MASTER, NEW)
    told.create(MASTER, "C:\\nginx\\LOGS", "Read Data/List Directory", options="Directory")
    told.listed(MASTER, "C:\\nginx\\logs", "*.log")
    told.listed(MASTER, "C:\\nginx\\logs", "gone.txt", "NO SUCH FILE")
    told.other_file(MASTER, 19, "CreateFileMapping", "C:\\nginx\\map.dat")
    told.other_file(MASTER, 41, "SetSecurityFile", ERROR_LOG)
    told.create(MASTER, "C:\\secret", result="ACCESS DENIED")


def _tell_registry(told: Story) -> None:
    told.registry(MASTER, 0, "RegOpenKey", KEY, 6)
    for _ in range(TIMES):
        told.registry(MASTER, 5, "RegQueryValue", f"{KEY}\\Threads", 10)
    told.registry(MASTER, 4, "RegSetValue", f"{KEY}\\Started", 14)
    told.registry(MASTER, 0, "RegOpenKey", f"{KEY}\\None", 6, "NAME NOT FOUND")
    told.registry(MASTER, 2, "RegCloseKey", KEY, 0)


def _tell_network(told: Story) -> None:
    for number in range(TIMES):
        told.network(WORKER, 4, "TCP Accept", HERE, (THERE, 6000 + number))
        told.network(WORKER, 3, "TCP Receive", HERE, (THERE, 6000 + number), 300)
        told.network(WORKER, 2, "TCP Send", HERE, (THERE, 6000 + number), 1350)
        if number >= 3:  # so that no more than four are alive at once
            told.network(WORKER, 6, "TCP Disconnect", HERE, (THERE, 6000 + number - 3))
    told.network(WORKER, 2, "UDP Send", ("10.0.0.2", 5353), ("10.0.0.1", 53), 40)
    told.network(WORKER, 3, "UDP Receive", ("10.0.0.2", 5353), ("10.0.0.1", 53), 80)
    told.network(WORKER, 5, "TCP Connect", (THERE6, 6000), (THERE6, 443))


def profile_of(folder: Path, data: bytes, program: str = NGINX) -> Profile:
    path = folder / "procmon.log"
    path.write_bytes(data)
    return import_profile([path], program)


@pytest.fixture(params=["csv", "utf-16", "pml", "pml of 32 bits"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Profile:
    if request.param == "csv":
        return profile_of(tmp_path, story().csv())
    if request.param == "utf-16":
        return profile_of(tmp_path, story().csv(encoding="utf-16"))
    return profile_of(tmp_path, story(wide=request.param == "pml").pml())


def test_files_have_their_uses(told: Profile) -> None:
    assert told.events_lost == 0
    assert uses(told, CONF) == {"read": 1}
    assert uses(told, ERROR_LOG) == {"appended": 1, "changed": 1}
    assert uses(told, NEW) == {"created": 1, "written": 1, "removed": 1}
    assert uses(told, "C:\\nginx\\LOGS") == {"looked-up": 1, "listed": 1}
    assert uses(told, "C:\\nginx\\map.dat") == {"mapped": 1}
    assert uses(told, "C:\\Windows\\System32\\ntdll.dll") == {"mapped": 1}
    assert uses(told, NGINX) == {"executed": 2}  # by services.exe, which is left out, and nginx
    missing = {file.path for file in told.files if uses(told, file.path) == {"missing": 1}}
    names = ("conf\\extra.conf", "logs\\gone.txt")
    assert missing == {"C:\\none\\x", *(f"C:\\nginx\\{name}" for name in names)}
    assert told.file("C:\\x.txt") is None  # notepad's
    assert told.file("C:\\secret") is None


def test_what_was_there_is_known_from_how_it_was_used(told: Profile) -> None:
    kinds = {file.path: (file.kind, file.existed) for file in told.files}
    assert kinds[CONF] == ("file", True)
    assert kinds[NEW] == ("missing", False)
    assert kinds["C:\\nginx\\LOGS"] == ("directory", True)
    assert kinds["C:\\none\\x"] == ("missing", False)


def test_traffic_has_operations_bytes_and_jumps(told: Profile) -> None:
    rows = {(row.object, row.call_name): row for row in told.traffic}
    read = rows[CONF, "ReadFile"]
    assert (read.count, read.bytes, read.jumps) == (TIMES + 2, TIMES * 100 + 50, 1)
    assert rows[NEW, "WriteFile"].bytes == 1350
    received = rows["socket:inet/stream", "TCP Receive"]
    assert (received.count, received.bytes) == (TIMES, TIMES * 300)
    assert rows["socket:inet/stream", "TCP Send"].bytes == TIMES * 1350
    assert rows["socket:inet/dgram", "UDP Receive"].bytes == 80
    assert rows["socket:inet6/stream", "TCP Connect"].count == 1


def test_listeners_peaks_and_starts(told: Profile) -> None:
    (listener,) = told.listeners
    assert (listener.family, listener.kind, listener.address, listener.port) == (
        "inet", "stream", "10.0.0.2", 80,
    )  # fmt: skip
    assert (listener.accepted, listener.program) == (TIMES, NGINX)
    # Of the 23 three are still open; before the last of them was accepted, four were.
    assert told.number_of_sockets == 1 + 3 + 1 + 1
    assert (told.number_of_processes, told.number_of_threads) == (2, 4)
    (peak,) = told.program_peaks
    assert (peak.program, peak.processes, peak.threads) == (NGINX, 2, 4)
    assert (peak.resident_kib, peak.descriptors) == (8192, 3)
    assert told.number_of_descriptors == 3
    starts = {(start.child, start.how): start.count for start in told.starts}
    assert starts == {("c:\\NGINX\\nginx.exe", "exec"): 1, (NGINX, "thread"): 2}


def test_registry_keys_are_kept_and_what_is_not_is_said(told: Profile) -> None:
    keys = {row.name: row.count for row in told.kernel_interfaces if row.kind == "registry"}
    assert keys == {KEY: 1, f"{KEY}\\Threads": TIMES, f"{KEY}\\Started": 1}
    words = partial(told)
    assert "registry: 1 keys and values that were looked for in vain are not kept" in words
    assert "registry: 1 keys and values were changed, which ones is not kept" in words
    assert "it ran as NT AUTHORITY\\x" in words
    assert "8 events of other programs are left out" in words  # notepad's, and one of services
    assert "1 operations that failed, and are not kept (CreateFile: ACCESS DENIED)" in words


def test_operations_are_no_system_calls(told: Profile) -> None:
    assert (told.calls, told.system_calls) == ((), ())
    assert "it names operations, not system calls" in partial(told)
    assert told.of_windows
    assert {row.program for row in told.unrecorded_memory} == {NGINX}


def test_it_is_read_again_and_merged(told: Profile) -> None:
    assert parse_profile(write_profile(told)) == told
    merged = merge_profiles([Labelled("a", told), Labelled("b", told)])
    assert merged.of_windows
    assert uses(merged, CONF) == {"read": 2}


def test_both_forms_give_the_same_facts(tmp_path: Path) -> None:
    csv, pml = profile_of(tmp_path, story().csv()), profile_of(tmp_path, story().pml())
    assert csv.provenance is not None
    assert pml.provenance is not None
    assert (csv.provenance.kernel, csv.provenance.machine) == ("Windows", "")
    assert (pml.provenance.kernel, pml.provenance.machine) == ("Windows 10.0.19045", "x86_64")
    assert csv.model_copy(update={"provenance": None}) == pml.model_copy(
        update={"provenance": None}
    )


def test_columns_stand_in_any_order_and_most_may_lack(tmp_path: Path) -> None:
    whole = profile_of(tmp_path, story().csv())
    least = profile_of(
        tmp_path, story().csv(["PID", "Detail", *sorted(set(COLUMNS) - {"PID"})[1:]])
    )
    assert least.files == whole.files
    assert least.listeners == whole.listeners
    assert least.program == NGINX  # known from its creation, and from --program


def test_a_program_is_named_by_its_file_name_too(tmp_path: Path) -> None:
    assert profile_of(tmp_path, story().csv(), "NGINX.EXE").program == NGINX
    with pytest.raises(InputError, match=r"no process of C:\\other\\nginx.exe"):
        profile_of(tmp_path, story().csv(), "C:\\other\\nginx.exe")
    with pytest.raises(InputError, match="is no absolute Windows path"):
        profile_of(tmp_path, story().csv(), "/usr/sbin/nginx")


def test_without_a_name_it_is_the_program_that_started_all_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"several programs: .*nginx.exe \(170 events\), C:"):
        profile_of(tmp_path, story().csv(), "")
    alone = Story()
    alone.process(MASTER, 1, NGINX)
    alone.process(WORKER, MASTER, "C:\\php\\php.exe")
    alone.create(MASTER, CONF)
    alone.create(WORKER, CONF)
    for data in (alone.csv(), alone.pml()):
        profile = profile_of(tmp_path, data, "")
        assert profile.program == NGINX
        assert {peak.program for peak in profile.program_peaks} == {NGINX, "C:\\php\\php.exe"}


def test_what_lived_before_the_log_counts_from_its_beginning(tmp_path: Path) -> None:
    told = Story()
    told.process(MASTER, 1, NGINX, "C:\\nginx\\zlib.dll")
    told.process(WORKER, MASTER, NGINX)
    told.create(MASTER, CONF)
    told.thread(MASTER, 77)
    told.transfer(WORKER, ERROR_LOG, 5, 0, write=True)
    for thread in (WORKER + 1, 88, 89):
        told.end_thread(WORKER, thread)
    profile = profile_of(tmp_path, told.pml())
    assert (profile.number_of_processes, profile.number_of_threads) == (2, 1 + 1 + 3)
    assert uses(profile, "C:\\nginx\\zlib.dll") == {"mapped": 1}
    assert uses(profile, ERROR_LOG) == {"written": 1}  # it was open
    assert uses(profile, NGINX) == {"executed": 1}


def test_one_pid_may_be_of_several_processes(tmp_path: Path) -> None:
    told = Story()
    told.process(MASTER, 1, NGINX)
    told.process(WORKER, MASTER, "C:\\nginx\\cgi.exe")
    for _ in range(TIMES):
        told.start(MASTER, WORKER)
        told.create(WORKER, CONF)
        told.exit(WORKER, 2**20)
    profile = profile_of(tmp_path, told.csv())
    assert profile.number_of_processes == 2
    assert uses(profile, "C:\\nginx\\cgi.exe") == {"executed": TIMES}
    assert [(start.child, start.count) for start in profile.starts] == [
        ("C:\\nginx\\cgi.exe", TIMES)
    ]


def row(operation: str, path: str, detail: str, result: str = "SUCCESS") -> str:
    cells = ["1:00 AM", "nginx.exe", "7", operation, path, result, detail]
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n"


HEAD = ",".join(f'"{name}"' for name in COLUMNS) + "\r\n"


def test_renames_links_and_deletions_by_flags_of_a_csv(tmp_path: Path) -> None:
    rows = [
        row("SetRenameInformationFile", "C:\\a", "ReplaceIfExists: True, FileName: C:\\b, c"),
        row("SetRenameInformationEx", "C:\\d", "Flags: FILE_RENAME_X, FileName: C:\\e"),
        row("SetLinkInformationFile", "C:\\f", "ReplaceIfExists: False, FileName: C:\\g"),
        row("SetDispositionInformationEx", "C:\\h", "Flags: FILE_DISPOSITION_DELETE, FILE_X"),
        row("SetDispositionInformationFile", "C:\\i", "Delete: False"),
    ]
    profile = profile_of(tmp_path, (HEAD + "".join(rows)).encode(), "")
    assert {file.path: uses(profile, file.path) for file in profile.files} == {
        "C:\\a": {"renamed-from": 1}, "C:\\b, c": {"renamed-to": 1}, "C:\\d": {"renamed-from": 1},
        "C:\\e": {"renamed-to": 1}, "C:\\f": {"linked": 1}, "C:\\g": {"created": 1},
        "C:\\h": {"removed": 1},
    }  # fmt: skip


def test_a_new_name_that_a_pml_does_not_tell_is_said(tmp_path: Path) -> None:
    told = Story()
    told.process(MASTER, 1, NGINX)
    told.other_file(MASTER, 26, "SetRenameInformationFile", CONF, sub=10)
    profile = profile_of(tmp_path, told.pml())
    assert uses(profile, CONF) == {"renamed-from": 1}
    assert "1 renames and links whose new name the log does not say" in partial(profile)


def test_names_instead_of_addresses(tmp_path: Path) -> None:
    path = "host.local:http -> client.example:50000"
    rows = row("TCP Accept", path, "Length: 0") + row("TCP Accept", "h:no such -> b:1", "Length: 0")
    profile = profile_of(tmp_path, (HEAD + rows).encode(), "")
    assert [(row.family, row.address, row.port) for row in profile.listeners] == [
        ("unspec", "h", 0), ("unspec", "host.local", 80),
    ]  # fmt: skip
    assert "2 sockets whose addresses are host names" in partial(profile)
    assert "1 listeners whose port is a name that is not known here (h:no such" in partial(profile)


def test_named_pipes_are_pipes(tmp_path: Path) -> None:
    rows = row("CreatePipe", "\\Device\\NamedPipe\\x", "Desired Access: Generic Read/Write")
    (file,) = profile_of(tmp_path, (HEAD + rows).encode(), "").files
    assert (file.kind, file.existed) == ("missing", False)
    assert {use.how for use in file.uses} == {"created", "read", "written"}
