"""A program without an allocation recording is named, with the reason that its file gives."""

from onejob.model.profile import FileUse, UnrecordedMemory
from onejob.profiler.unrecorded import ABSENT, SET_ID, STATIC, unrecorded_memory

LOADER = "/lib64/ld-linux-x86-64.so.2"
FILES = (
    FileUse(path="/static", kind="file"),
    FileUse(path="/setuid", kind="file", mode=0o4755, interpreter=LOADER),
    FileUse(path="/plain", kind="file", mode=0o755, interpreter=LOADER),
    FileUse(path="/recorded", kind="file", mode=0o755, interpreter=LOADER),
)


def test_each_is_named_with_its_reason_and_the_recorded_ones_are_not() -> None:
    ran = {"/static", "/setuid", "/plain", "/recorded", "/gone"}
    found = unrecorded_memory(ran, {"/recorded", "/another"}, FILES)
    reasons = {"/gone": ABSENT, "/plain": ABSENT, "/setuid": SET_ID, "/static": STATIC}
    assert found == tuple(
        UnrecordedMemory(program=program, reason=reason) for program, reason in reasons.items()
    )
