"""The one exception root: what failed, on which object, and what to do about it.

Library code raises these; only ``onejob.cli`` prints them and exits. The exit codes are part of
the command line's contract (docs/exit-codes.md).
"""


class OnejobError(Exception):
    """Something the user can understand and act upon."""

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class LacksError(OnejobError):
    """This machine lacks something: rights, a tool, a kernel facility, space."""

    exit_code = 3


class InputError(OnejobError):
    """A file or argument given by the user is not usable."""

    exit_code = 4


class ServiceError(OnejobError):
    """The service or one of its drills failed."""

    exit_code = 5


class RehearsalError(OnejobError):
    """The image ran, but not as the profile says it must."""

    exit_code = 6


class BuildError(OnejobError):
    """The image could not be built."""

    exit_code = 7
