"""The other nouns: hardware, image, plan, the table of system calls."""

import json
from pathlib import Path
from typing import Any

import pytest

import small_world
from onejob.model.component import load_components
from onejob.model.errors import InputError
from onejob.model.hardware import Hardware, load_hardware
from onejob.model.image import MANIFEST, open_image
from onejob.model.jsonfile import load_json, to_json
from onejob.model.noun import place_text
from onejob.model.plan import Plan
from onejob.model.syscalls import call_name, call_number, known_calls
from onejob.planner.plan import make_plan


def small_plan() -> Plan:
    return make_plan(small_world.profile(), small_world.hardware(), small_world.components())


def test_hardware_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text(to_json(small_world.hardware()))
    assert load_hardware(path) == small_world.hardware()


def test_hardware_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text(to_json(small_world.hardware(architecture="riscv64")))
    with pytest.raises(InputError, match=r"h\.json: architecture 'riscv64'") as caught:
        load_hardware(path)
    assert "x86_64" in caught.value.hint


WRONG_HARDWARE: dict[str, tuple[dict[str, Any], str]] = {
    "no processor": ({"processors": {"count": 0, "model": ""}}, "processors.count"),
    "memory as text": ({"memory_kib": "1024"}, "memory_kib"),
    "unknown key": ({"gpu": 1}, "gpu: unknown key"),
    "deep unknown key": (
        {"disks": [{"name": "a", "size_bytes": 1, "s": 1}]},
        "disks[0].s: unknown",
    ),
    "negative disk": ({"disks": [{"name": "a", "size_bytes": -1}]}, "disks[0].size_bytes"),
    "other format": ({"format": 2}, "format"),
    "other machine": ({"how": "cloud"}, "how"),
}


@pytest.mark.parametrize("name", WRONG_HARDWARE)
def test_wrong_hardware_is_refused_with_the_place(name: str, tmp_path: Path) -> None:
    changes, words = WRONG_HARDWARE[name]
    path = tmp_path / "h.json"
    path.write_text(json.dumps(json.loads(to_json(small_world.hardware())) | changes))
    with pytest.raises(InputError, match=r"hardware file .*h\.json: ") as caught:
        load_hardware(path)
    assert words in caught.value.what


def test_modaliases_are_sorted_and_distinct() -> None:
    device = small_world.hardware().devices[0]
    other = device.model_copy(update={"modalias": "pci:a"})
    none = device.model_copy(update={"modalias": ""})
    hardware = small_world.hardware(devices=(device, other, device, none))
    assert hardware.modaliases() == ("pci:a", "virtio:d00000002v554D4551")


@pytest.mark.parametrize("name", ["qemu-microvm", "qemu-q35"])
def test_ready_hardware_files_are_readable(name: str) -> None:
    path = Path(__file__).resolve().parents[3] / "hardware" / f"{name}.json"
    assert load_hardware(path).how == name


def test_plan_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(to_json(small_plan()))
    read = load_json(path, Plan, "plan")
    assert read == small_plan()
    assert to_json(read) == path.read_text()


def test_missing_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_json(tmp_path / "none.json", Hardware, "hardware file")
    with pytest.raises(InputError, match="Is a directory"):
        load_json(tmp_path, Hardware, "hardware file")


def test_place_text() -> None:
    assert place_text(("drill", 2, "run", 0, "command")) == "drill[2].run[0].command"


# --- images --------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image folder whose root is four bytes."""
    return small_world.make_image(tmp_path / "keeper.onejob", small_plan())


def test_an_image_is_opened(image: Path) -> None:
    opened = open_image(image)
    assert opened.plan == small_plan()
    assert opened.root == image / "root.img"
    with pytest.raises(InputError, match="has no kernel") as caught:
        _ = opened.kernel
    assert "onejob build" in caught.value.hint


def _shorten(image: Path) -> None:
    (image / "root.img").write_bytes(b"abc")


def _remove(image: Path) -> None:
    (image / "root.img").unlink()


def _link(image: Path) -> None:
    (image / "root.img").unlink()
    (image / "root.img").symlink_to("/etc/passwd")


@pytest.mark.parametrize("spoil", [_shorten, _remove, _link])
def test_content_that_is_missing_or_short_is_named(spoil: Any, image: Path) -> None:
    spoil(image)
    with pytest.raises(InputError, match=r"root\.img is missing or not whole"):
        open_image(image)


def _change_manifest(image: Path, **changes: Any) -> None:
    path = image / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_manifest_cannot_reach_outside(image: Path) -> None:
    _change_manifest(image, contents=[{"name": "../x", "size": 1, "sha256": "0" * 64}])
    with pytest.raises(InputError, match=r"contents\[0\]\.name"):
        open_image(image)


def test_parts_of_different_images_do_not_fit(image: Path) -> None:
    _change_manifest(image, name="other")
    with pytest.raises(InputError, match="plan of 'keeper', manifest of 'other'"):
        open_image(image)


def test_a_manifest_without_a_root_is_no_image(image: Path) -> None:
    _change_manifest(image, contents=[])
    with pytest.raises(InputError, match=r"root\.img"):
        open_image(image)


def test_what_is_no_image_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an image") as caught:
        open_image(tmp_path)
    assert "onejob build" in caught.value.hint


# --- system calls --------------------------------------------------------------------------------


def test_call_numbers_and_names_agree() -> None:
    calls = known_calls()
    assert len(calls) == len(set(calls)) > 350
    assert all(call_name(number) == name for name in calls if (number := call_number(name)) or True)
    assert [call_number(name) for name in ("read", "execve", "openat2")] == [0, 59, 437]


@pytest.mark.parametrize(
    ("name", "number"),
    [("fopen", None), ("call_999", 999), ("call_0", None), ("call_²", None), ("call_-1", None),
     ("call_" + "9" * 5000, None), ("call_0999", None), ("", None), ("READ", None)],
)  # fmt: skip
def test_numbers_of_calls_that_the_table_lacks(name: str, number: int | None) -> None:
    assert call_number(name) == number


def test_a_newer_call_has_a_name_that_leads_back() -> None:
    assert call_number(call_name(987)) == 987


# --- components ----------------------------------------------------------------------------------


def test_a_component_is_named_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "b"\nsummary = "b"\n')
    with pytest.raises(InputError, match=r"a\.toml: named 'b'"):
        load_components(tmp_path)


def test_an_option_without_a_reason_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'name = "a"\nsummary = "a"\n[[option]]\nname = "X"\nwhy = "yes"\n[[option]]\nname = "Y"\n'
    )
    with pytest.raises(InputError, match=r"a\.toml:6: option\[1\]\.why"):
        load_components(tmp_path)


def test_no_components_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no components in"):
        load_components(tmp_path)
