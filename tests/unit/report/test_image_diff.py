"""What images do not have in common: a sentence for each thing, and none for the same image."""

from pathlib import Path

from built_plans import make_plan, text_file
from onejob.model.image import Content, Image, Kernel, Manifest, Verity
from onejob.model.plan import KernelOption, Plan
from onejob.model.plan_policy import CallDecision
from onejob.model.profile import Package
from onejob.report.image_diff import diff_images


def image(plan: Plan, *, openssl: str = "3.0.18", kernel: Kernel | None = None) -> Image:
    manifest = Manifest(
        name=plan.name, onejob="0.1", contents=(Content(name="root.img", size=8, sha256="0" * 64),),
        verity=Verity(data_blocks=1, hash_start=1, root_hash="1" * 64, salt=""), kernel=kernel,
        packages=(Package(name="openssl", version=openssl, paths=1),),
    )  # fmt: skip
    return Image(folder=Path("/x"), manifest=manifest, plan=plan)


def sentences(before: Image, after: Image) -> list[str]:
    return [difference.sentence for difference in diff_images(before, after)]


def test_the_same_image_has_no_difference() -> None:
    assert sentences(image(make_plan()), image(make_plan())) == []


def test_each_difference_is_a_sentence() -> None:
    old = make_plan(
        files=(text_file("/etc/passwd"),),
        kernel_options=(KernelOption(name="AIO", value="y", reason="io_setup"),),
    )
    call = CallDecision(name="io_setup", number=206, reason="made once by truth")
    new = make_plan(calls=(*old.calls, call))
    assert sentences(image(old), image(new, openssl="3.0.19")) == [
        "package openssl was 3.0.18, is 3.0.19",
        "file /etc/passwd is gone (file 0644 0:0 5 characters 14f3cba70f4d)",
        "kernel option AIO is gone (y)",
        "system call io_setup is new: made once by truth",
    ]


def test_a_kernel_is_compared_by_its_source() -> None:
    kernel = Kernel(
        source="linux 6.12.1", compiler="gcc 12", config_sha256="2" * 64, system_calls=9
    )
    assert sentences(image(make_plan()), image(make_plan(), kernel=kernel)) == [
        "part kernel's compiler was none, is gcc 12",
        "part kernel's source was none, is linux 6.12.1",
    ]
