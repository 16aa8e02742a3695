"""The text for process 1: exactly the contract's form."""

import json
from pathlib import Path

from built_plans import make_plan
from onejob.builder.instance import instance_text
from onejob.model.plan import Mount
from onejob.model.plan_policy import MatrixRow, Network, TcpPort

GOLDEN = Path(__file__).resolve().parents[2] / "golden/builder/instance.json"


def test_the_whole_text_is_as_agreed_with_process_1() -> None:
    assert instance_text(make_plan(), (0, 5), {}) == GOLDEN.read_text()


def test_only_a_tmpfs_has_size_and_mode() -> None:
    mounts = json.loads(instance_text(make_plan(), (0, 5), {}))["mounts"]
    assert [sorted(mount) for mount in mounts] == [
        ["kind", "path"],
        ["kind", "mode", "path", "size_kib"],
        ["kind", "path"],
    ]


def test_mounts_are_closed_where_the_plan_says_so() -> None:
    dev = Mount(path="/dev", kind="devtmpfs", reason="x", read_only=True, devices=("/dev/null",))
    (mount,) = json.loads(instance_text(make_plan(mounts=(dev,)), (0, 5), {}))["mounts"]
    assert mount == {
        "path": "/dev", "kind": "devtmpfs", "read_only": True, "devices": ["/dev/null"],
    }  # fmt: skip


def test_ports_are_handed_over() -> None:
    port = TcpPort(use="connect", port=53, reason="x")
    network = Network(restricted=("connect",), ports=(port,))
    text = instance_text(make_plan(network=network), (0, 5), {})
    assert json.loads(text)["network"] == {
        "restricted": ["connect"], "ports": [{"use": "connect", "port": 53}],
    }  # fmt: skip


def test_text_beyond_ascii_survives() -> None:
    service = make_plan().service.model_copy(update={"environment": ('WORD=ä"\n\\',)})
    text = instance_text(make_plan(service=service), (0, 5), {})
    assert json.loads(text)["environment"] == ['WORD=ä"\n\\']
    assert "ä" in text


def test_a_row_says_where_its_filters_lie() -> None:
    rows = (
        MatrixRow(program="/a", boot=("read",), serve=()),
        MatrixRow(program="/a", role="worker", boot=("read",), serve=("write",)),
    )
    text = instance_text(
        make_plan(matrix=rows), (0, 5), {(("read",), ()): (0, 9), (("write",), ()): (9, 7)}
    )
    assert json.loads(text)["rows"] == [
        {"program": "/a", "role": "main", "boot": [0, 9]},
        {"program": "/a", "role": "worker", "boot": [0, 9], "serve": [9, 7]},
    ]
