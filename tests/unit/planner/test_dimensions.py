"""Everything that has a size: from which fact, with which head-room, and for which kernel."""

from typing import Any

import pytest

import small_world
from onejob.model.hardware import Disk, Processors
from onejob.model.plan import Dimension, Plan
from onejob.model.profile import Scheduling
from onejob.planner.plan import make_plan
from small_world import argument, call, component

TWO = {"processors": Processors(count=2, model="")}
FOUR = {"processors": Processors(count=4, model="")}
INTERNET = argument("socket", 2, 1, 0)


def plan(machine: dict[str, Any] | None = None, **changes: Any) -> Plan:
    return make_plan(
        small_world.profile(**changes),
        small_world.hardware(**machine or {}),
        small_world.components(),
    )


def sizes(machine: dict[str, Any] | None = None, **changes: Any) -> dict[str, Dimension]:
    made = plan(machine, **changes).dimensions
    found = {each.name: each for each in made}
    assert len(found) == len(made)
    return found


@pytest.mark.parametrize(
    ("descriptors", "limit"),
    [(0, 1024), (256, 1024), (257, 2048), (300, 2048), (512, 2048), (2**62, 1 << 20)],
)
def test_descriptors_have_head_room(descriptors: int, limit: int) -> None:
    found = sizes(number_of_descriptors=descriptors)
    assert found["nofile"].value == found["fs.nr_open"].value == str(limit)


@pytest.mark.parametrize(
    ("processes", "threads", "tasks"),
    [(0, 0, 4), (1, 1, 4), (3, 5, 32), (9, 2, 64), (2**40, 0, 1 << 22)],
)
def test_tasks_have_head_room(processes: int, threads: int, tasks: int) -> None:
    found = sizes(number_of_processes=processes, number_of_threads=threads)
    assert found["tasks"].value == str(tasks)
    assert found["kernel.threads-max"].value == str(min(tasks + 64 + 16, 1 << 22))
    assert ("kernel.pid_max" in found) == (tasks > 1 << 15)


def test_all_processes_together_may_open_what_each_of_them_may() -> None:
    found = sizes(number_of_processes=3, number_of_descriptors=10)
    assert found["fs.file-max"].value == str(16 * 1024)
    assert sizes(number_of_processes=2**62)["fs.file-max"].value == str(1 << 40)


def test_the_machine_is_what_the_hardware_has_and_the_service_held() -> None:
    found = sizes(FOUR, resident_kib=50_000)
    assert found["processors"].value == "4"
    assert (found["memory"].value, found["memory"].unit) == ("88064", "KiB")
    assert found["least memory"].value == "50000"


def test_the_listen_queue_is_as_long_as_was_asked_for() -> None:
    def queues(*backlogs: int) -> tuple[str, str]:
        found = sizes(arguments=(INTERNET, *(argument("listen", b) for b in backlogs)))
        names = ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog")
        return found[names[0]].value, found[names[1]].value

    assert queues(128, 511, 2**32 - 1) == ("511", "512")
    assert queues(5) == ("5", "128")
    for backlogs in ((), (0,), (2**32 - 1,)):
        assert "net.core.somaxconn" not in sizes(
            arguments=[argument("listen", b) for b in backlogs]
        )
    assert "net.ipv4.tcp_max_syn_backlog" not in sizes(arguments=(argument("listen", 5),))


def test_connections_share_a_quarter_of_the_memory() -> None:
    small = sizes(arguments=(INTERNET,), number_of_sockets=1000)
    assert small["net.ipv4.tcp_mem"].value == "1024 1536 2048"  # of 32 MiB, in pages
    assert small["net.ipv4.tcp_wmem"].value == "4096 16384 262144"
    large = sizes({"memory_kib": 4 << 20}, arguments=(INTERNET,), number_of_sockets=100)
    assert large["net.ipv4.tcp_rmem"].value == "4096 131072 6291456"
    assert "net.ipv4.tcp_mem" not in sizes(arguments=())


def test_pipes_are_as_large_as_they_were_made() -> None:
    assert "fs.pipe-max-size" not in sizes(number_of_pipes=0)
    piped = sizes(calls=(call("pipe2"),), number_of_pipes=100)
    assert piped["fs.pipe-max-size"].value == "65536"
    assert piped["fs.pipe-user-pages-soft"].value == str(512 * 16)
    larger = sizes(number_of_pipes=1, arguments=(argument("fcntl", 1031),))
    assert larger["fs.pipe-max-size"].value == "1048576"


def test_watches_and_queues_are_there_where_they_are_used() -> None:
    names = ("fs.epoll.max_user_watches", "fs.inotify.max_user_watches", "fs.mqueue.queues_max")
    assert not set(names) & sizes().keys()
    made = (call("epoll_ctl"), call("inotify_add_watch"), call("mq_open"))
    found = sizes(calls=made, number_of_processes=3, number_of_descriptors=500)
    assert [found[name].value for name in names] == ["8192", "64", "16"]


def test_the_kernel_has_room_for_the_processors_that_there_are() -> None:
    def options(machine: dict[str, Any]) -> dict[str, str]:
        return {option.name: option.value for option in plan(machine).kernel_options}

    assert options(FOUR)["NR_CPUS"] == "4"
    assert "NR_CPUS" not in options({})


def test_options_of_the_kernel_say_what_size_they_make_and_the_wanted_one_wins() -> None:
    texts = {
        "usual": ('asked_by = { always = true }', "n", "none"),
        "realtime": ('asked_by = { policies = ["fifo"] }', "y", "full"),
    }  # fmt: skip
    parts = [
        component(name, f'{asked}\n[[option]]\nname = "PREEMPT"\nvalue = "{value}"\nwhy = "yes"\n'
                  f'dimension = {{ name = "preemption", value = "{size}" }}')
        for name, (asked, value, size) in texts.items()
    ]  # fmt: skip

    def preemption(policy: str) -> tuple[str, str]:
        row = Scheduling(program=small_world.PROGRAM, policy=policy, priority=1)
        made = make_plan(
            small_world.profile(scheduling=(row,)), small_world.hardware(), parts[::-1]
        )
        (size,) = [each for each in made.dimensions if each.name == "preemption"]
        return size.value, made.kernel_options[0].value

    assert preemption("other") == ("none", "n")
    assert preemption("fifo") == ("full", "y")


def scheduled(*rows: tuple[str, int, int, str], calls: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "scheduling": tuple(
            Scheduling(program=small_world.PROGRAM, policy=p, priority=q, nice=n, processors=c)
            for p, q, n, c in rows
        ),
        "calls": tuple(call(name) for name in calls),
    }


def schedule(machine: dict[str, Any], facts: dict[str, Any]) -> dict[str, str]:
    return plan(machine, **facts).sizes("schedule")


def test_what_the_service_was_given_it_is_given_again() -> None:
    facts = scheduled(("rr", 7, -5, "0-1,3"))
    assert schedule(FOUR, facts) == {"policy": "rr 7", "nice": "-5", "affinity": "0-1,3"}
    assert [a.value for a in plan(FOUR, **facts).kernel_arguments][-1] == "irqaffinity=2"


def test_what_the_service_sets_itself_is_left_to_it() -> None:
    calls = ("sched_setscheduler", "setpriority", "sched_setaffinity")
    facts = scheduled(("rr", 7, -5, "0"), calls=calls)
    assert schedule(FOUR, facts) == {}
    assert not [a for a in plan(FOUR, **facts).kernel_arguments if "irq" in a.value]


def test_threads_that_differ_were_not_given_it() -> None:
    assert schedule(FOUR, scheduled(("rr", 7, 0, ""), ("other", 0, 0, ""))) == {}


@pytest.mark.parametrize("processors", ["", "0-1", "0-63", "5", "nonsense"])
def test_processors_that_are_not_there_or_all_bind_nobody(processors: str) -> None:
    assert schedule(TWO, scheduled(("other", 0, 0, processors))) == {}


def test_a_disk_that_rotates_gets_its_scheduler() -> None:
    part = component("disks", "asked_by = { rotating_disks = true }\n")
    disks = (Disk(name="sda", size_bytes=1, rotational=True),)

    def asked(**machine: Any) -> tuple[str, ...]:
        hardware = small_world.hardware(disks=disks, **machine)
        return make_plan(small_world.profile(), hardware, [part]).components

    assert asked(how="metal") == ("disks: the hardware's disk sda rotates",)
    assert asked(how="metal", hypervisor="kvm") == asked(how="qemu-q35") == ()
