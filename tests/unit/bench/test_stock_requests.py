"""The same load on image and stock: which one, how it is metered, what is made of it."""

import os
import shutil
import time
from pathlib import Path

import pytest

import small_world
from onejob.bench.meter import Cost, cpu_seconds
from onejob.bench.promises import STOCK_GUEST, STOCK_HOST
from onejob.bench.stock_requests import (
    Side,
    check_answers,
    cost_of,
    judge_costs,
    load_of,
    process_seconds,
)
from onejob.bench.stock_service import folders_text, install_service, quoted, unit_text
from onejob.bench.watched import unwatched
from onejob.drive.ready import wait_ready
from onejob.drive.web import Answer
from onejob.model.errors import InputError
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload, load_workload
from running import ROOT


def gallery(name: str) -> Workload:
    return load_workload(ROOT / "services" / name / "workload.toml")


def test_the_load_is_the_first_generator_of_the_drills() -> None:
    assert load_of(gallery("nginx")).command[0] == "wrk"
    assert load_of(gallery("redis")).command[:1] == ("redis-benchmark",)
    with pytest.raises(InputError, match="no drill of keeper puts it under load"):
        load_of(parse_toml(small_world.WORKLOAD, Workload, "w"))


def test_the_clock_of_a_process_goes_with_its_work() -> None:
    before, begun = process_seconds(os.getpid()), time.process_time()
    while time.process_time() - begun < 0.2:
        pass
    assert 0.1 <= process_seconds(os.getpid()) - before <= 5


@pytest.mark.root
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_load_costs_what_its_requests_cost() -> None:
    workload = gallery("redis")
    words = "redis-benchmark -u redis://{address:6379} -n 2000 -P 16 -t set"
    load = load_of(workload).model_copy(update={"command": tuple(words.split())})
    with unwatched(workload) as service:
        wait_ready(service, workload, time.monotonic())
        side = Side(service, lambda: cpu_seconds(service.processes()))
        assert cost_of(side, workload, load).requests == 2000


def test_different_pages_are_not_compared() -> None:
    """nginx's `/` was 10,701 bytes of another package in the image, and 615 in the stock guest."""
    check_answers("http://x/", {"ours": Answer(200, 615), "stock": Answer(200, 615)})
    with pytest.raises(InputError, match=r"ours 10701 bytes \(200\), stock 615 bytes"):
        check_answers("http://x/", {"ours": Answer(200, 10701), "stock": Answer(200, 615)})


def test_both_promises_are_ratios_of_what_was_measured_side_by_side() -> None:
    guest = {"ours": [Cost(1, 1000), Cost(2, 1000)], "stock": [Cost(2, 1000), Cost(4, 1000)]}
    host = {"ours": [Cost(1.2, 1000)], "stock": [Cost(1, 1000)]}
    found = [judge_costs(STOCK_GUEST, guest), judge_costs(STOCK_HOST, host)]
    assert [(r.promise, r.measured, r.passed) for r in found] == [
        (STOCK_GUEST.text, 0.5, True), (STOCK_HOST.text, 1.2, False),
    ]  # fmt: skip
    assert "requests per CPU second, of stock 2x" in map(str, found[0].values)


def test_a_unit_starts_the_service_as_the_workload_does() -> None:
    lines = unit_text(gallery("redis")).splitlines()
    assert 'ExecStart="redis-server" "/etc/redis/redis.conf" "--daemonize" "no"' in lines[3]
    assert {"User=redis", "KillSignal=SIGTERM", "WantedBy=multi-user.target"} <= set(lines)
    assert folders_text(gallery("redis")) == "d /run/redis 2755 redis redis\n"
    assert quoted('a "b" $c 100%\\n') == '"a \\"b\\" $$c 100%%\\\\n"'
    assert quoted("$c", dollars=False) == '"$c"'


def test_nothing_else_is_started_and_the_hosts_files_come_along(tmp_path: Path) -> None:
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for name in ("nginx.service", "systemd-networkd.service"):
        (wants / name).symlink_to("/nowhere")
    workload = gallery("nginx-tuned")
    install_service(tmp_path, workload)
    left = sorted(link.name for link in wants.iterdir())
    assert left == ["systemd-networkd.service", "workload.service"]
    configuration = workload.command[2]
    carried = tmp_path / configuration[1:]
    assert carried.read_text() == Path(configuration).read_text()
