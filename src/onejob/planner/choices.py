"""What whoever plans decides himself; neither profile nor hardware say it."""

from dataclasses import dataclass
from typing import Literal

from onejob.model.plan import Administrator, Plan, Trust
from onejob.model.plan_policy import Denied, Landlock

# What the plan of an image without the memory manager gives as reason.
NO_MEMORY_MANAGER = "switched off (--memory none)"


@dataclass(frozen=True)
class Choices:
    """`accept_lost`: plan although events were lost; `trust`: what is taken besides the observed;
    `memory`: who serves malloc; `unsafe_free`: wrong frees pass; `landlock`: whether a kernel
    without it is good enough; `denied`: what becomes of a denied call; `administrator`: who may
    shut the system down; `core_dumps`: how many core files may be kept.
    """

    accept_lost: bool = False
    trust: Trust = "known"
    memory: Literal["static", "none"] = "static"
    unsafe_free: bool = False
    landlock: Landlock = "required"
    denied: Denied = "eperm"
    administrator: Administrator | None = None
    core_dumps: int = 0


USUAL = Choices()


def choices_of(plan: Plan) -> Choices:
    """What `plan` was made with, to plan the same service again.

    Lost events are accepted: whoever made `plan` decided that.
    """
    manager = plan.memory_manager
    return Choices(
        accept_lost=True,
        trust=plan.trust,
        memory="none" if manager.reason == NO_MEMORY_MANAGER else "static",
        unsafe_free=manager.unsafe_free,
        landlock=plan.landlock,
        denied=plan.denied,
        administrator=plan.administrator,
        core_dumps=plan.core_files.most if plan.core_files else 0,
    )
