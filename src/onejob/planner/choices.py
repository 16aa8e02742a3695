"""What whoever plans decides himself; neither profile nor hardware say it."""

from dataclasses import dataclass
from typing import Literal

from onejob.model.plan import Administrator, Denied, Landlock, Trust


@dataclass(frozen=True)
class Choices:
    """`accept_lost`: plan although events were lost; `trust`: what is taken besides the observed;
    `memory`: who serves malloc; `unsafe_free`: wrong frees pass; `landlock`: whether a kernel
    without it is good enough; `denied`: what becomes of a denied call; `administrator`: who may
    shut the system down.
    """

    accept_lost: bool = False
    trust: Trust = "known"
    memory: Literal["static", "none"] = "static"
    unsafe_free: bool = False
    landlock: Landlock = "required"
    denied: Denied = "eperm"
    administrator: Administrator | None = None


USUAL = Choices()
