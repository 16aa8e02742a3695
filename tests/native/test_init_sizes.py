"""Sizes at boot: a machine that is too small, a size that the kernel does not hold, scheduling."""

from __future__ import annotations

import os
from typing import Any

import pytest
from init_container import Container

pytestmark = [pytest.mark.root, pytest.mark.runc]

NICE, POLICY = 16, 38  # of /proc/PID/stat, counted from the state (proc(5), fields 19 and 41)
MOST = 1 << 40
PROCESSORS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": {"processors": 4096, "memory_kib": 1}},
         f"processors: the plan needs 4096, this machine has {PROCESSORS}. Hint: "),
        ({"machine": {"processors": 1, "memory_kib": MOST}},
         f"memory: the plan needs {MOST} KiB, this machine has "),
        ({"sizes": [{"name": "net.core.somaxconn", "value": str(MOST)}]},
         f"net.core.somaxconn: the plan needs {MOST}, this kernel has "),
        ({"sizes": [{"name": "net.ipv4.tcp_rmem", "value": f"1 1 {MOST}"}]},
         f"net.ipv4.tcp_rmem: the plan needs 1 1 {MOST}, this kernel has 4096 "),
    ],
)  # fmt: skip
def test_what_is_too_small_stops_the_boot(
    container: Container, change: dict[str, Any], words: str
) -> None:
    container.plan |= change
    container.environment[1] = "ONEJOB_DATA=dir"
    container.start("status")
    assert container.status() == 1
    assert f"onejob: {words}" in container.console
    assert "ready" not in container.console


def test_data_in_memory_has_to_fit_beside_the_service(container: Container) -> None:
    container.plan["machine"] = {"processors": 1, "memory_kib": 23}
    container.environment[1] = f"ONEJOB_DATA=tmpfs:{MOST}"
    container.start("status")
    assert container.status() == 1
    words = f"memory, with the data in it: the plan needs {MOST + 23} KiB, this machine has "
    assert f"onejob: {words}" in container.console
    assert "ready" not in container.console


def test_a_limit_above_what_process_1_may_give_stops_the_boot(container: Container) -> None:
    container.plan["limits"] += [{"resource": "nofile", "soft": 64, "hard": MOST}]
    container.start("status")
    assert container.status() == 127
    assert f"onejob: nofile: the plan needs {MOST}, process 1 may give " in container.console
    assert "ready" not in container.console


def test_sizes_that_the_host_has_or_nobody_sees_are_no_hindrance(container: Container) -> None:
    sizes = {"net.core.somaxconn": "23", "fs.nr_open": "64", "net.nothing.like_it": "9"}
    container.plan["sizes"] = [{"name": name, "value": value} for name, value in sizes.items()]
    container.start("status")
    container.await_text("ready")


def test_the_service_is_scheduled_as_planned(container: Container) -> None:
    container.plan["schedule"] = {"policy": 3, "nice": 7, "processors": [0]}
    container.start("status")
    container.await_text("ready")
    pid = container.event("started")["pid"]
    fields = container.text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
    assert (fields[NICE], fields[POLICY]) == ("7", "3")
    assert "Cpus_allowed_list:\t0\n" in container.text_of(f"/proc/{pid}/status")
    # Process 1 itself goes on as before.
    assert container.text_of("/proc/1/stat").rpartition(")")[2].split()[NICE] == "0"


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        ({"processors": [0, 1000]}, "the kernel holds another value than was set"),
        ({"processors": [5000]}, "the kernel holds another value than was set"),
        ({"nice": -5}, "Permission denied"),
        ({"policy": 1, "priority": 5}, "Operation not permitted"),
        ({"policy": 77}, "Invalid argument"),
    ],
)
def test_a_schedule_that_the_kernel_refuses_stops_the_boot(
    container: Container, schedule: dict[str, Any], error: str
) -> None:
    container.plan["schedule"] = schedule
    container.start("status")
    assert container.status() == 127
    assert "onejob: cannot schedule the service as the plan says" in container.console
    assert error in container.console
