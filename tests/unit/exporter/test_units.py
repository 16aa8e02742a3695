"""The systemd unit of a plan: each directive from the plan, nothing that breaks out of a line."""

import subprocess
from pathlib import Path

from built_plans import make_plan
from onejob.exporter.systemd import kept_folders
from onejob.exporter.unit import quoted, unit_text
from onejob.model.plan import Dimension, Mount, Restart
from onejob.model.plan_policy import ArgumentCheck, Network, TcpPort


def directives(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def protection(*values: int) -> tuple[ArgumentCheck, ...]:
    rows = tuple((value,) for value in values)
    return tuple(
        ArgumentCheck(call=call, arguments=(2,), masks=(6,), values=rows, reason="code")
        for call in ("mmap", "mprotect")
    )


def test_a_unit_has_what_the_plan_has() -> None:
    ports = (TcpPort(use="listen", port=80, reason="bound"),)
    plan = make_plan(network=Network(restricted=("listen",), ports=ports))
    found = directives(unit_text(plan, ("/var/log/truth",)))
    assert found["ExecStart"] == '"/usr/bin/true" "--now"'
    assert found["KillSignal"] == "SIGQUIT"
    assert found["TimeoutStopSec"] == "10000ms"
    assert (found["User"], found["Group"]) == ("33", "33")
    assert found["BindPaths"] == "/var/lib/onejob/truth/var/log/truth:/var/log/truth"
    assert found["SystemCallFilter"].split() == sorted({call.name for call in plan.calls})
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == "CAP_CHOWN"
    assert found["SocketBindAllow"] == "tcp:80"
    assert (found["LimitNOFILE"], found["MemoryMax"], found["TasksMax"]) == ("1024", "32768K", "16")


def test_a_service_that_fails_is_started_again_as_often_as_the_plan_says() -> None:
    restart = Restart(attempts=6, first_ms=1000, longest_ms=60000, steady_ms=9000, reason="usual")
    found = directives(unit_text(make_plan(restart=restart), ()))
    assert (found["Restart"], found["RestartSec"]) == ("on-failure", "1000ms")
    assert (found["StartLimitBurst"], found["StartLimitIntervalSec"]) == ("7", "70000ms")
    assert "Restart" not in directives(unit_text(make_plan(restart=None), ()))


def test_memory_that_is_never_written_and_executed_stays_so() -> None:
    def denied(*values: int) -> str:
        unit = unit_text(make_plan(argument_checks=protection(*values)), ())
        return directives(unit)["MemoryDenyWriteExecute"]

    assert denied(0, 2) == "yes"
    assert denied(0, 4) == "no"
    assert denied(0, 6) == "no"
    assert directives(unit_text(make_plan(), ()))["MemoryDenyWriteExecute"] == "no"


def test_a_schedule_is_in_the_unit() -> None:
    sizes = [("policy", "fifo 7"), ("affinity", "0-2"), ("nice", "5")]
    dimensions = tuple(
        Dimension(kind="schedule", name=name, value=value, source="s", reason="r")
        for name, value in sizes
    )
    plan = make_plan()
    found = directives(
        unit_text(plan.model_copy(update={"dimensions": (*plan.dimensions, *dimensions)}), ())
    )
    assert found["CPUSchedulingPolicy"] == "fifo"
    assert found["CPUSchedulingPriority"] == "7"
    assert found["CPUAffinity"] == "0 1 2"
    assert found["RestrictRealtime"] == "no"


def test_words_with_everything_in_them_stay_one_word(tmp_path: Path) -> None:
    assert quoted('a "b" $HOME 50% \\ x') == '"a \\"b\\" $$HOME 50%% \\\\ x"'


def test_folders_in_memory_with_content_are_kept_as_data_is() -> None:
    mounts = (
        Mount(path="/run/full", kind="tmpfs", reason="seeded"),
        Mount(path="/run/empty", kind="tmpfs", reason="not"),
        Mount(path="/var/lib/x", kind="data", reason="written"),
    )
    from onejob.base.root_files import file_entry, folder_entry

    entries = [
        file_entry("/run/full/seed", b"1"), folder_entry("/run/full"), folder_entry("/run/empty")
    ]  # fmt: skip
    assert kept_folders(make_plan(mounts=mounts), entries) == ("/run/full", "/var/lib/x")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "truth.service"
    unit.write_text(unit_text(make_plan(), ("/var/log/truth",)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "truth.service" in line] == []
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=40", unit],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
