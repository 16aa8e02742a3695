"""Kernels pushed by themselves, pulled, and an image made anew from another's root."""

import hashlib
from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.builder.from_image import KernelFiles, rebuild_image
from onejob.builder.image import build_image
from onejob.model.errors import InputError
from onejob.model.image import KERNEL, KERNEL_CONFIG, Image
from onejob.model.jsonfile import load_json
from onejob.model.plan import PlannedFile
from onejob.model.release import KernelAbout
from running import must, run_onejob
from some_kits import build_for, profile_for, ready_hardware
from some_repositories import content

from .small_image import compile_service

pytestmark = [pytest.mark.root]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("small")
    profile = profile_for(compile_service(folder))
    return build_for(profile, ready_hardware("qemu-microvm"), folder / "small.onejob")


def test_a_kernel_is_pushed_by_itself_and_pulled(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ONEJOB_CACHE", str(tmp_path / "cache"))
    there = ("--to", tmp_path / "srv", "--keys", tmp_path / "keys")
    must(run_onejob("push", image.folder, *there, "--create"))
    pushed = run_onejob("push", image.folder, "--kernel", *there)
    must(pushed)
    name = f"linux-6.12.1-{hashlib.sha256(b'a kernel').hexdigest()[:12]}.kernel"
    assert f"{name} version 1 pushed" in pushed.stdout
    assert "no catalogue of drivers with it" in pushed.stderr
    again = run_onejob("push", image.folder, "--kernel", *there)
    assert f"{name} version 1 is the newest already" in again.stdout

    trust = ("--from", tmp_path / "srv", "--trust", tmp_path / "keys/root.json")
    must(run_onejob("pull", name, *trust, "-o", tmp_path / "got"))
    assert content(tmp_path / "got").keys() == {KERNEL, KERNEL_CONFIG, "about.json"}
    assert (tmp_path / "got" / KERNEL).read_bytes() == b"a kernel"
    about = load_json(tmp_path / "got/about.json", KernelAbout, "about")
    assert about.kernel == image.manifest.kernel
    assert about.options == image.plan.kernel_options
    refused = run_onejob("pull", name, *trust, "-o", tmp_path / "got")
    assert refused.returncode == 4
    assert "exists already" in refused.stderr


def test_of_no_image_there_is_no_kernel_to_push(tmp_path: Path) -> None:
    done = run_onejob("push", "--kernel", "--to", tmp_path, "--keys", tmp_path / "keys")
    assert (done.returncode, "--kernel of which image?" in done.stderr) == (4, True)


def test_an_image_is_made_anew_from_its_own_root_to_the_same_bytes(
    image: Image, tmp_path: Path
) -> None:
    kernel = image.manifest.kernel
    assert kernel is not None
    files = KernelFiles(image.kernel, image.folder / KERNEL_CONFIG, kernel)
    xml = image.profile.read_text()
    made = rebuild_image(image, image.plan, xml, files, tmp_path / "made", Quiet())
    assert content(made.folder) == content(image.folder)


def test_what_a_plan_added_to_a_file_is_not_added_twice(tmp_path: Path) -> None:
    program = compile_service(tmp_path)
    (tmp_path / "note").write_text("of the host\n")
    small = build_for(profile_for(program), ready_hardware("qemu-microvm"), tmp_path / "a.onejob")
    digest = hashlib.sha256(b"of the host\n").hexdigest()
    note = PlannedFile(
        path=str(tmp_path / "note"), kind="file", origin="host", reasons=("read",), mode=0o644,
        size=12, sha256=digest, text="and of the plan\n",
    )  # fmt: skip
    plan = small.plan.model_copy(update={"files": (*small.plan.files, note)})
    xml = small.profile.read_text()
    whole = build_image(
        plan, xml, tmp_path / "b.onejob",
        with_kernel=False, cache=tmp_path / "cache", progress=Quiet(),
    )  # fmt: skip
    (tmp_path / "note").unlink()
    made = rebuild_image(whole, plan, xml, None, tmp_path / "made", Quiet())
    assert content(made.folder) == content(whole.folder)


def test_a_profile_of_another_binary_is_refused(image: Image, tmp_path: Path) -> None:
    program = next(file for file in image.plan.files if file.origin == "host")
    other = program.model_copy(update={"sha256": hashlib.sha256(b"other").hexdigest()})
    files = tuple(other if file is program else file for file in image.plan.files)
    plan = image.plan.model_copy(update={"files": files})
    with pytest.raises(InputError, match=f"saw another {program.path} than the image has"):
        rebuild_image(image, plan, image.profile.read_text(), None, tmp_path / "made", Quiet())
    assert not list(tmp_path.iterdir())
