"""Where the kit and the answers come from: options, the kernel's command line, media."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onejob.installer.medium import Medium, mounted_media
from onejob.installer.order import read_answers
from onejob.model.answers import Answers
from onejob.model.errors import InputError

_COMMAND_LINE = Path("/proc/cmdline")
# Of the kernel's command line: an address of a repository, and the SHA-256 of its root.json.
FROM_WORD, TRUST_WORD = "onejob.from", "onejob.trust"


@dataclass(frozen=True)
class Found:
    """The media that were looked at, and what the kernel's command line says."""

    media: tuple[Medium, ...] = ()
    repository: str | None = None
    trust_sha256: str | None = None

    @property
    def disks(self) -> frozenset[str]:
        """The disks that must not be installed on: they are read."""
        return frozenset(medium.disk for medium in self.media)

    def root_that_counts(self) -> Path | None:
        """The root.json of a medium that the command line, which may be signed, names by hash."""
        if self.trust_sha256 is None:
            return None
        roots = [medium.trust for medium in self.media if medium.trust]
        for root in roots:
            if hashlib.sha256(root.read_bytes()).hexdigest() == self.trust_sha256:
                return root
        raise InputError(
            f"no medium has the root.json that this installer trusts ({self.trust_sha256})",
            "start the installer from the medium that it was made with",
        )


@contextmanager
def found_media(given: Answers, device: Path | None = None) -> Iterator[Found]:
    """Look at media, or `device` alone, and command line, where no repository was given."""
    if given.repository is not None:
        yield Found()
        return
    words = dict(word.partition("=")[::2] for word in _COMMAND_LINE.read_text().split())
    names = None if device is None else [device.resolve().name]
    with mounted_media(names) as media:
        yield Found(media, words.get(FROM_WORD), words.get(TRUST_WORD))


def with_media(given: Answers, found: Found) -> Answers:
    """What was given, and from media what was not: answers, kit, and the root that counts."""
    answered = next((medium.answers for medium in found.media if medium.answers), None)
    if answered:
        given = merge(_once(read_answers(answered)), given)
    if given.repository is None:
        kit = next((medium.repository for medium in found.media if medium.repository), None)
        place = found.repository or (str(kit) if kit else None)
        given = given.model_copy(update={"repository": place})
    if given.trust is None and (root := found.root_that_counts()):
        given = given.model_copy(update={"trust": str(root)})
    return given


def _once(answers: Answers) -> Answers:
    """Of a medium that stays in: nothing is installed at each start."""
    if answers.disk.again is not None:
        return answers
    disk = answers.disk.model_copy(update={"again": False})
    return answers.model_copy(update={"disk": disk})


def untrusted_root(answers: Answers, found: Found) -> Path | None:
    """The root.json beside a kit, which nobody has said yet to be the owner's."""
    if answers.trust is not None:
        return None
    at = answers.repository
    roots = (medium.trust for medium in found.media if str(medium.folder) == at)
    return next((root for root in roots if root), None)


def merge(base: Answers, over: Answers) -> Answers:
    """`base`, with what `over` says instead."""
    said = {name: getattr(over, name) for name in over.model_fields_set}
    if "disk" in said and base.disk != type(base.disk)():
        known = base.disk
        changes = {name: getattr(over.disk, name) for name in over.disk.model_fields_set}
        said["disk"] = known.model_copy(update=changes)
    return base.model_copy(update=said)
