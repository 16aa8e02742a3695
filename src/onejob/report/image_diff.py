"""What two images do not have in common, in words: parts, files, kernel options, calls, sizes."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from onejob.model.image import Image
from onejob.model.noun import Noun
from onejob.model.plan import Plan, PlannedFile


class ImageDifference(Noun):
    """One thing that only one of the images has, or that differs; `reason` is the later one's."""

    kind: str
    name: str
    what: Literal["added", "removed", "changed"]
    before: str = ""
    after: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        """In words."""
        subject, why = f"{self.kind} {self.name}", f": {self.reason}" if self.reason else ""
        if self.what == "added":
            return f"{subject} is new{_so(self.after)}{why}"
        if self.what == "removed":
            return f"{subject} is gone{_so(self.before)}"
        return f"{subject} was {self.before}, is {self.after}{why}"


class _Thing(NamedTuple):
    value: str
    reason: str = ""


def _so(value: str) -> str:
    return f" ({value})" if value else ""


def diff_images(before: Image, after: Image) -> tuple[ImageDifference, ...]:
    """Every difference, by kind and name; none for images that are the same."""
    old, new = _things(before), _things(after)
    return tuple(
        difference for kind in new for difference in _differences(kind, old[kind], new[kind])
    )


def _differences(
    kind: str, old: Mapping[str, _Thing], new: Mapping[str, _Thing]
) -> Iterator[ImageDifference]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            yield ImageDifference(
                kind=kind, name=name, what="added", after=after.value, reason=after.reason
            )
        elif after is None and before is not None:
            yield ImageDifference(kind=kind, name=name, what="removed", before=before.value)
        elif before and after and before.value != after.value:
            yield ImageDifference(
                kind=kind, name=name, what="changed", before=before.value, after=after.value,
                reason=after.reason,
            )  # fmt: skip


def _things(image: Image) -> dict[str, dict[str, _Thing]]:
    """What an image has, by kind and name."""
    plan, manifest = image.plan, image.manifest
    kernel = manifest.kernel
    parts = {each.name: _Thing(f"{each.size} bytes") for each in manifest.contents}
    parts["kernel's source"] = _Thing(kernel.source if kernel else "none")
    parts["kernel's compiler"] = _Thing(kernel.compiler if kernel else "none")
    parts["onejob"] = _Thing(manifest.onejob)
    root = f"{plan.root.filesystem}, {plan.root.compression}, {manifest.verity.root_hash[:12]}"
    parts["root"] = _Thing(root)
    return {
        "part": parts,
        "package": {each.name: _Thing(each.version) for each in manifest.packages},
        "file": {file.path: _file(file) for file in plan.files},
        "component": dict(_component(text) for text in plan.components),
        **_kernel(plan),
        **_service(plan),
    }


def _file(file: PlannedFile) -> _Thing:
    """Its kind, owner, rights, and content."""
    content = file.sha256[:12] or file.target or file.native
    if file.origin == "text":
        content = f"{len(file.text)} characters {_digits(file.text)}"
    words = [file.kind, f"{file.mode:04o}", f"{file.uid}:{file.gid}", content]
    return _Thing(" ".join(word for word in words if word), "; ".join(file.reasons))


def _digits(text: str) -> str:
    """A few digits that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _component(text: str) -> tuple[str, _Thing]:
    name, _, reason = text.partition(": ")
    return name, _Thing("", reason)


def _kernel(plan: Plan) -> dict[str, dict[str, _Thing]]:
    return {
        "kernel option": {o.name: _Thing(o.value, o.reason) for o in plan.kernel_options},
        "kernel argument": {a.value: _Thing("", a.reason) for a in plan.kernel_arguments},
        "setting": {s.name: _Thing(s.value, s.reason) for s in plan.settings},
    }


def _service(plan: Plan) -> dict[str, dict[str, _Thing]]:
    ports = plan.network.ports if plan.network else ()
    return {
        "system call": {call.name: _Thing("", call.reason) for call in plan.calls},
        "capability": {each.name: _Thing("", each.reason) for each in plan.capabilities},
        "mount": {each.path: _Thing(each.kind, each.reason) for each in plan.mounts},
        "port": {f"{port.use} {port.port}": _Thing("", port.reason) for port in ports},
        "dimension": {
            f"{each.kind} {each.name}": _Thing(f"{each.value} {each.unit}".strip(), each.reason)
            for each in plan.dimensions
        },
        "grant": {
            f"of {each.program} to {each.path}": _Thing(", ".join(each.rights), each.reason)
            for each in plan.grants
        },
        "array": {
            f"of {each.program}, {each.block_size} bytes": _Thing(f"{each.blocks} blocks")
            for each in plan.memory
        },
        "service": {
            "command": _Thing(" ".join(plan.service.command)),
            "user": _Thing(f"{plan.service.user}:{plan.service.group}"),
            "hardware": _Thing(plan.machine.hardware),
        },
    }
