"""The filter around a whole container: what process 1 calls, by its own code; nothing refused."""

import hashlib

from built_plans import make_plan
from onejob.base.natives import native_path
from onejob.exporter.process_one import PROCESS_ONE_CALLS
from onejob.exporter.seccomp_profile import seccomp_profile
from onejob.model.plan_policy import AnsweredCall
from onejob.model.syscalls import call_name
from onejob.profiler.static.summary import examine

# For the power button, and to keep programs in memory: not in a container.
IN_MACHINES = {"epoll_create1", "epoll_ctl", "mincore", "mlock", "mlockall"}


def test_the_calls_of_process_1_are_those_in_its_code() -> None:
    init = native_path("onejob-init")
    found = examine(str(init), hashlib.sha256(init.read_bytes()).hexdigest())
    assert found.unknown == 0
    in_code = {call_name(call.number) for call in found.calls}
    assert in_code - set(PROCESS_ONE_CALLS) == IN_MACHINES
    assert set(PROCESS_ONE_CALLS) <= in_code


def test_all_that_the_plan_allows_or_answers_passes() -> None:
    answered = AnsweredCall(name="clone3", number=435, errno="ENOSYS", reason="checked by clone")
    plan = make_plan(answered_calls=(answered,))
    profile = seccomp_profile(plan)
    (rule,) = profile["syscalls"]
    assert rule["action"] == "SCMP_ACT_ALLOW"
    assert {call.name for call in plan.calls} | {"clone3"} <= set(rule["names"])
    assert "io_uring_setup" not in rule["names"]
    assert profile["defaultAction"] == "SCMP_ACT_TRACE"  # comes after a notification (seccomp(2))
