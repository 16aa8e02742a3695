"""What runc is told."""

from pathlib import Path
from typing import Any

import pytest

from built_plans import MOUNTS, make_plan
from onejob.model.container import init_path
from onejob.model.errors import InputError
from onejob.model.plan import Mount, Plan, PlannedFile
from onejob.model.plan_policy import Capability
from onejob.system.bundle import bundle_config

INIT = PlannedFile(
    path="/.onejob/init", kind="file", origin="native", native="onejob-init", mode=0o755,
    reasons=("process 1",),
)  # fmt: skip


def config_of(
    plan: Plan, network: Path | None = Path("/net"), limits: bool = True
) -> dict[str, Any]:
    return bundle_config(plan, Path("/root"), Path("/data"), network, "/onejob-x", limits)


def test_process_one_is_where_the_plan_put_it() -> None:
    config = config_of(make_plan(files=(INIT,)))
    assert config["process"]["args"] == ["/.onejob/init"]
    assert config["process"]["env"] == [
        "container=onejob",
        "ONEJOB_CONTROL=fd:3",
        "ONEJOB_DATA=dir",
    ]
    assert config["root"] == {"path": "/root", "readonly": True}
    with pytest.raises(InputError, match="has no process 1"):
        init_path(make_plan())


def test_only_pseudo_file_systems_and_data_are_mounted_from_outside() -> None:
    mounts = config_of(make_plan(files=(INIT,)))["mounts"]
    assert [(m["destination"], m["type"]) for m in mounts] == [
        ("/proc", "proc"),
        ("/.onejob/data", "bind"),
    ]
    kept_nothing = make_plan(files=(INIT,), mounts=MOUNTS[:1])
    assert "ONEJOB_DATA=dir" not in config_of(kept_nothing)["process"]["env"]
    assert [m["destination"] for m in config_of(kept_nothing)["mounts"]] == ["/proc"]


def test_a_devtmpfs_would_be_the_hosts() -> None:
    plan = make_plan(files=(INIT,), mounts=(Mount(path="/dev", kind="devtmpfs", reason="x"),))
    assert config_of(plan)["mounts"][0]["type"] == "tmpfs"


def test_capabilities_are_process_ones_and_the_plans() -> None:
    raw = Capability(name="CAP_NET_RAW", number=13, reason="x")
    names = config_of(make_plan(files=(INIT,)))["process"]["capabilities"]["bounding"]
    more = config_of(make_plan(files=(INIT,), capabilities=(raw,)))["process"]["capabilities"]
    assert set(more["bounding"]) - set(names) <= {"CAP_NET_RAW"}
    assert not {"CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_SYS_TIME"} & set(names)


def test_limits_come_from_the_plan() -> None:
    plan = make_plan(files=(INIT,))
    resources = config_of(plan)["linux"]["resources"]
    assert resources["memory"] == {"limit": 32768 * 1024}
    assert resources["pids"]["limit"] == 16 + 16  # and process 1 and runc beside it
    assert set(config_of(plan, limits=False)["linux"]["resources"]) == {"devices"}


def test_the_hosts_network_is_no_namespace() -> None:
    plan = make_plan(files=(INIT,))
    kinds = {n["type"] for n in config_of(plan)["linux"]["namespaces"]}
    assert kinds == {"pid", "mount", "ipc", "uts", "network"}
    without = {n["type"] for n in config_of(plan, network=None)["linux"]["namespaces"]}
    assert without == kinds - {"network"}
