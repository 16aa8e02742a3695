"""What a job's plan has that a service's has not: its end, and what is granted by rule."""

import pytest

from onejob.base.natives import data_path
from onejob.builder.instance import instance_text
from onejob.model.component import load_components
from onejob.model.errors import InputError
from onejob.model.hardware import load_hardware
from onejob.model.plan import Mount, Plan
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.planner.choices import USUAL
from onejob.planner.job import widen_memory
from onejob.planner.plan import make_plan
from small_world import hardware, profile

JOB = """\
name = "keeper"
command = ["keeper", "-f"]
environment = { MODE = "small" }
[job]
after = "power-off"
[job.rules]
%s
[[job.drill]]
name = "serve"
"""
PC = load_hardware(data_path("hardware") / "pc.json")
LIBRARY = load_components(data_path("components"))


def plan_of(*rules: str, machine: bool = False) -> Plan:
    lines = "\n".join(f'{rule} = "because of {rule}"' for rule in rules)
    made = profile(workload=JOB % lines)
    return make_plan(made, PC if machine else hardware(), LIBRARY, USUAL)


def names(plan: Plan) -> set[str]:
    return {line.partition(":")[0] for line in plan.components}


def test_rules_bring_their_components_and_nothing_else_does() -> None:
    plain, ruled = plan_of(machine=True), plan_of("console-input", "media", machine=True)
    more = {"keyboard", "usb-keyboard", "media", "iso9660", "vfat", "cd-rom"}
    assert names(ruled) - names(plain) == more - names(plain)
    assert not {"keyboard", "usb-keyboard", "media", "iso9660", "vfat"} & names(plain)
    reasons = [line for line in ruled.components if line.startswith("media:")]
    assert reasons == ["media: the workload's rule media: because of media"]


def test_block_devices_are_granted_by_rule_with_the_reason() -> None:
    for rules, granted in (((), False), (("block-devices",), True)):
        (dev,) = [mount for mount in plan_of(*rules).mounts if mount.kind == "devtmpfs"]
        assert dev.block_devices is granted
        assert ("because of block-devices" in dev.reason) is granted


def test_a_job_says_how_the_machine_ends_and_is_not_started_again() -> None:
    plan = plan_of("console-input")
    assert plan.job is not None
    assert (plan.job.after, plan.job.input) == ("power-off", True)
    assert plan.job.input_reason == "because of console-input"
    assert plan.restart is None
    assert '"job":{"after":"power-off","input":true}' in instance_text(plan, (0, 5), {})


def test_an_image_for_several_machines_starts_on_the_smallest() -> None:
    machine = plan_of(machine=True).machine
    assert (machine.processors, machine.least, machine.consoles) == (64, 1, ("tty0", "ttyS0"))
    assert plan_of(machine=True).sizes("machine")["processors"] == "1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\ncommand = ["a"]\n', "a job has"),
        (JOB % "" + '[ready]\nlog = "x"\n', "a job has"),
        ("ports = [1]\n" + JOB % "", "a job has no ports"),
        (JOB % 'shell = "me"', "shell"),
        (JOB % "" + '[[job.drill]]\nname = "serve"\n', "two drills of the job"),
    ],
)
def test_a_workload_is_a_service_or_a_job(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_toml(text, Workload, "workload.toml")


def test_what_a_job_works_on_has_no_planned_size() -> None:
    run = Mount(path="/run", kind="tmpfs", reason="/run/x created", size_kib=16384)
    job = parse_toml(JOB % "", Workload, "workload")
    assert [mount.size_kib for mount in widen_memory((run,), job)] == [0]
    service = job.model_copy(update={"job": None})
    assert widen_memory((run,), service) == (run,)
