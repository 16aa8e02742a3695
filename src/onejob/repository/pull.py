"""Repository -> image, profile or kernel here: verified piece by piece, then put in its place."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import Metadata, TargetFile, Targets

from onejob.base.files import open_regular, write_atomically
from onejob.base.placement import (
    check_destination,
    check_space,
    put_in_place,
    set_rights,
    workshop,
)
from onejob.base.progress import Progress
from onejob.base.verity import check_root
from onejob.model.errors import InputError
from onejob.model.image import MANIFEST, PROFILE, Content, open_image
from onejob.model.jsonfile import load_json, parse_json
from onejob.model.noun import read_text
from onejob.model.profile_xml import load_profile
from onejob.model.release import ABOUT, SUFFIXES, History, KernelAbout, Kind, Release
from onejob.repository.trust import Client

MOST_OF_A_HISTORY = 5_000_000


@dataclass(frozen=True)
class Pulled:
    """What came, and where it is now; `fetched` of its bytes were not there before."""

    target: str
    release: Release
    path: Path
    fetched: int


def list_histories(client: Client) -> list[History]:
    """Everything that the repository holds, by name."""
    return [read_history(client, name) for name in target_names(client)]


def list_kernels(client: Client) -> list[History]:
    """The prepared kernels that the repository holds, by name."""
    end = SUFFIXES["kernel"]
    return [read_history(client, name) for name in target_names(client) if name.endswith(end)]


def target_names(client: Client) -> list[str]:
    """The names of all that the repository holds."""
    targets = Metadata[Targets].from_file(str(client.folder / "targets.json"))
    return sorted(targets.signed.targets)


def find_history(client: Client, name: str) -> History:
    """What is named so; its suffix may be left out where there is only one of that name."""
    names = [name, *(name + suffix for suffix in SUFFIXES.values())]
    found = [each for each in names if client.updater.get_targetinfo(each)]
    if not found:
        raise InputError(
            f"nothing is named {name!r} in this repository",
            "see what it holds: onejob pull --from REPOSITORY",
        )
    if len(found) > 1:
        raise InputError(f"{name!r} can be {' or '.join(found)}", "give the name with its end")
    return read_history(client, found[0])


def read_history(client: Client, target: str) -> History:
    """The releases of `target`, a name that the repository has."""
    info = client.updater.get_targetinfo(target)
    if info is None or info.length > MOST_OF_A_HISTORY:
        raise InputError(f"{target}: not there, or its history is too long")
    with tempfile.TemporaryDirectory(prefix="onejob-") as folder:
        path = Path(folder) / "history"
        client.updater.download_target(info, str(path))
        history = parse_json(read_text(path, "history"), History, f"history of {target}")
    if history.target != target:
        raise InputError(f"the history of {target} is one of {history.target}")
    return history


def pull(
    client: Client, history: History, release: Release, output: Path, progress: Progress
) -> Pulled:
    """Bring `release` of `history` to `output`, which is replaced when all of it is verified.

    InputError where a part is not what was signed, or together they are not what they should be;
    LacksError where there is no room. Nothing is at `output` then that was not there before.
    """
    output = output.absolute()
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is no directory", "make it, or choose another -o")
    check_space(output, release.bytes)
    fetched = _BRINGS[history.kind](client, history, release, output, progress)
    return Pulled(history.target, release, output, fetched)


def _bring_image(
    client: Client, history: History, release: Release, output: Path, progress: Progress
) -> int:
    check_destination(output)
    with workshop(output) as shop:
        folder = shop / "image"
        folder.mkdir()
        fetched = 0
        for part in release.parts:
            progress.stage(part.name)
            fetched += bring_part(client, part, folder / part.name, output / part.name)
        progress.stage("checking")
        _check_image(folder, history, release)
        set_rights(folder)
        put_in_place(folder, output)
    return fetched


def _check_image(folder: Path, history: History, release: Release) -> None:
    """The parts are an image, this one, and all of it."""
    image = open_image(folder)
    wanted = {MANIFEST, *(content.name for content in image.manifest.contents)}
    if image.manifest.name != history.name or wanted != {part.name for part in release.parts}:
        raise InputError(f"{history.target}: its parts are not the image {history.name}")
    check_root(image.root, image.manifest.verity)


def _bring_profile(
    client: Client, history: History, release: Release, output: Path, progress: Progress
) -> int:
    with tempfile.TemporaryDirectory(prefix="onejob-") as folder:
        path = Path(folder) / PROFILE
        progress.stage(PROFILE)
        fetched = bring_part(client, release.parts[0], path, output)
        name = load_profile(path).name
        if name != history.name:
            raise InputError(f"{history.target} is a profile of {name!r}")
        with path.open("rb") as file:
            write_atomically(output, file)
    return fetched


def _bring_kernel(
    client: Client, history: History, release: Release, output: Path, progress: Progress
) -> int:
    """A new folder with the kernel, its configuration, and what is known of it."""
    if os.path.lexists(output):
        raise InputError(f"{output} exists already", "choose another -o, or move it away")
    with workshop(output) as shop:
        folder = shop / "kernel"
        folder.mkdir()
        for part in release.parts:
            progress.stage(part.name)
            bring_part(client, part, folder / part.name)
        load_json(folder / ABOUT, KernelAbout, f"{history.target}: {ABOUT}")
        set_rights(folder)
        folder.rename(output)
    return release.bytes


def bring_part(client: Client, part: Content, path: Path, known: Path | None = None) -> int:
    """Make `path` be `part`, from `known` if that is the same; how many bytes were fetched."""
    info = TargetFile(part.size, {"sha256": part.sha256}, part.name)
    if known:
        with suppress(OSError), open_regular(known) as old, path.open("wb") as new:
            shutil.copyfileobj(old, new)
    if client.updater.find_cached_target(info, str(path)):
        return 0
    client.updater.download_target(info, str(path))
    return part.size


_Bring = Callable[[Client, History, Release, Path, Progress], int]
_BRINGS: Mapping[Kind, _Bring] = {
    "image": _bring_image,
    "profile": _bring_profile,
    "kernel": _bring_kernel,
}
