"""The kit: what a repository has of a service and its kernels, brought here and verified."""

from dataclasses import dataclass
from pathlib import Path

from onejob.base.progress import Progress
from onejob.builder.from_image import KernelFiles
from onejob.builder.prepared import PreparedKernel
from onejob.model.catalogue import Catalogue
from onejob.model.errors import InputError
from onejob.model.image import KERNEL, KERNEL_CONFIG, Content, Image, open_image
from onejob.model.jsonfile import load_json
from onejob.model.plan import KernelOption
from onejob.model.release import ABOUT, CATALOGUE, SUFFIXES, History, KernelAbout
from onejob.repository.pull import bring_part, list_histories, list_kernels, pull, read_history
from onejob.repository.trust import Client


def services(client: Client) -> list[History]:
    """The images that the repository holds, by name."""
    return [each for each in list_histories(client) if each.kind == "image"]


def bring_image(
    client: Client, service: str, version: int | None, folder: Path, progress: Progress
) -> Image:
    """The image of `service`, its newest version or another, in `folder`."""
    target = service.removesuffix(SUFFIXES["image"]) + SUFFIXES["image"]
    if client.updater.get_targetinfo(target) is None:
        held = ", ".join(each.name for each in services(client)) or "none"
        raise InputError(f"no image of {service!r} in this repository", f"it has {held}")
    history = read_history(client, target)
    place = folder / target
    pull(client, history, history.release(version), place, progress)
    return open_image(place)


@dataclass(frozen=True)
class KernelsAtHand:
    """The prepared kernels of a repository; only their configurations were brought yet."""

    client: Client
    folder: Path
    histories: dict[str, History]

    def prepared(self) -> list[PreparedKernel]:
        """What there is to choose from."""
        return [self._prepared(history) for history in self.histories.values()]

    def _prepared(self, history: History) -> PreparedKernel:
        config = self._bring(history, KERNEL_CONFIG)
        return PreparedKernel(
            name=history.name,
            size=_part(history, KERNEL).size,
            config=config.read_text(errors="replace"),
        )

    def bring(self, name: str) -> tuple[KernelFiles, tuple[KernelOption, ...]]:
        """The whole kernel `name`, and the options that it was built for."""
        history = self.histories[name]
        about = load_json(self._bring(history, ABOUT), KernelAbout, f"{name}: {ABOUT}")
        image, config = self._bring(history, KERNEL), self._bring(history, KERNEL_CONFIG)
        return KernelFiles(image, config, about.kernel), about.options

    def catalogue(self) -> Catalogue | None:
        """The drivers of the newest kernel that has a catalogue with it."""
        having = [
            history
            for history in self.histories.values()
            if any(part.name == CATALOGUE for part in history.newest.parts)
        ]
        if not having:
            return None
        newest = max(having, key=lambda history: history.newest.pushed)
        path = self._bring(newest, CATALOGUE)
        return load_json(path, Catalogue, f"{newest.name}: {CATALOGUE}")

    def _bring(self, history: History, name: str) -> Path:
        """The part `name`, by content: what two kernels share is brought once."""
        part = _part(history, name)
        path = self.folder / f"{part.sha256}.{name}"
        if not path.exists():
            bring_part(self.client, part, path)
        return path


def kernels_at_hand(client: Client, folder: Path) -> KernelsAtHand:
    """The prepared kernels of the repository, to be brought below `folder`."""
    folder.mkdir()
    found = {each.name: each for each in list_kernels(client)}
    for history in found.values():
        history.release(None)  # refuses what is no kernel
    return KernelsAtHand(client, folder, found)


def _part(history: History, name: str) -> Content:
    return next(part for part in history.newest.parts if part.name == name)
