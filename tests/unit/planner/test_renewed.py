"""An image with newer libraries than its profile is planned again as it is, for any hardware."""

import small_world
from onejob.model.plan import Plan, RenewedFile
from onejob.model.profile import Profile
from onejob.planner.plan import make_plan
from onejob.planner.renewed import as_renewed
from small_world import PROGRAM, seen

OLD, NEW, LINK, DEEP = (
    f"/usr/lib/{name}" for name in ("libk.so.1", "libk.so.1.1", "libk.so", "libdeep.so.2")
)


def planned(profile: Profile) -> Plan:
    return make_plan(profile, small_world.hardware(), small_world.components())


def renewed_world() -> Profile:
    """The library has another name and needs another one."""
    kept = tuple(file for file in small_world.FILES if file.path not in (OLD, LINK))
    more = (
        seen(LINK, "looked-up", kind="symlink", target="libk.so.1.1", mode=0o777),
        seen(NEW, "mapped", size=9100, sha256="7" * 64, package="libk1=1.1", needed=(DEEP,)),
        seen(DEEP, size=50, sha256="8" * 64, package="libdeep=2", origin="static"),
    )
    return small_world.profile(files=(*kept, *more))


def test_the_files_are_those_of_the_image() -> None:
    rows = tuple(RenewedFile(path=path, reason="a library") for path in (OLD, NEW, LINK, DEEP))
    before = planned(renewed_world()).model_copy(update={"renewed": rows})
    again = planned(as_renewed(small_world.profile(), before))
    assert [(f.path, f.sha256, f.target, f.package, f.mode) for f in again.files] == [
        (f.path, f.sha256, f.target, f.package, f.mode) for f in before.files
    ]
    reasons = {file.path: file.reasons for file in again.files}
    assert reasons[DEEP] == (f"needed by {NEW}",)
    assert OLD not in reasons


def test_without_anything_newer_the_profile_is_what_it_was() -> None:
    profile = small_world.profile()
    assert as_renewed(profile, planned(profile)) is profile
    assert PROGRAM in {file.path for file in profile.files}
