"""An image, profile or kernel -> a new release of it in a repository, signed: ``push``."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from tuf.api.metadata import TargetFile

from onejob.base.progress import Progress
from onejob.base.verity import check_root
from onejob.model.errors import InputError
from onejob.model.image import KERNEL_CONFIG, MANIFEST, PROFILE, Content, open_image
from onejob.model.jsonfile import parse_json, to_json
from onejob.model.noun import read_chunks
from onejob.model.profile_xml import load_with_digest
from onejob.model.release import (
    ABOUT,
    CATALOGUE,
    MOST_RELEASES,
    SUFFIXES,
    History,
    KernelAbout,
    Kind,
    Release,
)
from onejob.model.workload import NAME_PATTERN
from onejob.repository import keys as owner
from onejob.repository.refusals import refusals
from onejob.repository.roles import (
    MOST_BYTES,
    Roles,
    Signers,
    is_ageing,
    load_roles,
    load_root,
    new_roles,
    now,
    parse_root,
    renew_root,
    replace_keys,
    sign_all,
    sign_timestamp,
    write_roles,
)
from onejob.repository.store import Store, make_store, open_store

DAYS = 30
_SOON = timedelta(days=60)


@dataclass(frozen=True)
class Subject:
    """What is to be pushed: its parts, and where they lie, or their bytes."""

    kind: Kind
    name: str
    parts: tuple[Content, ...]
    sources: tuple[Path | bytes, ...]


@dataclass(frozen=True)
class Pushed:
    """What was done: `history` of the subject (None: metadata was renewed), bytes that were new."""

    history: History | None
    changed: bool
    stored: int
    current_until: str
    notes: tuple[str, ...]


def describe(path: Path) -> Subject:
    """The image or profile at `path`, checked as whoever pulls it will; InputError names faults."""
    if path.is_dir():
        image = open_image(path)
        check_root(image.root, image.manifest.verity)
        parts = (_part(path / MANIFEST), *image.manifest.contents)
        found = Subject("image", image.manifest.name, parts, tuple(path / p.name for p in parts))
    else:
        profile, digest = load_with_digest(path)
        part = Content(name=PROFILE, size=path.stat().st_size, sha256=digest)
        found = Subject("profile", profile.name, (part,), (path,))
    if not re.fullmatch(NAME_PATTERN, found.name):
        raise InputError(f"{path} has no name that a repository can hold: {found.name!r}")
    return found


def describe_kernel(path: Path, catalogue: bytes = b"") -> Subject:
    """The kernel of the image at `path`, by itself, for images of other machines to choose.

    `catalogue` are the drivers of its source (JSON). InputError where the image has no kernel.
    """
    image = open_image(path)
    files = [image.kernel, path / KERNEL_CONFIG]
    kernel = image.manifest.kernel
    assert kernel is not None  # image.kernel would have refused
    about = KernelAbout(kernel=kernel, options=image.plan.kernel_options)
    parts = [_part(file) for file in files]
    made = {ABOUT: to_json(about).encode(), CATALOGUE: catalogue}
    made = {name: data for name, data in made.items() if data}
    parts += [_content(name, data) for name, data in made.items()]
    release = re.search(r" (\d+(?:\.\d+)+)", kernel.source)
    name = f"linux-{release[1] if release else 'unknown'}-{parts[0].sha256[:12]}"
    return Subject("kernel", name, tuple(parts), (*files, *made.values()))


def _part(path: Path) -> Content:
    return _content(path.name, path.read_bytes())


def _content(name: str, data: bytes) -> Content:
    return Content(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def create(repository: Path, keys: Path, days: int) -> None:
    """A new, empty repository and the keys that belong to it.

    InputError where one of them is there already, or lies in the other.
    """
    owner.check_apart(keys, repository)
    signers = owner.generate_keys()
    roles = new_roles(signers, days)
    owner.write_keys(keys, signers, roles.root.to_bytes())
    try:
        make_store(repository)
        with open_store(repository, exclusive=True) as store:
            write_roles(store.metadata, roles, whole=True)
    except BaseException:
        owner.remove_keys(keys)
        raise


def push(
    subject: Subject | None,
    repository: Path,
    keys: Path,
    *,
    days: int,
    progress: Progress,
    new_keys: bool = False,
) -> Pushed:
    """Add `subject` to `repository` as its newest release, current for `days` days.

    None, or what is the newest already, only makes the metadata current for that long again.
    What the repository holds is verified first. Until the timestamp is replaced, in the end,
    whoever pulls gets what was there before. `new_keys`: what was signed with the keys before, all
    but root.key, counts no more (between its last two steps, pulls are refused).

    InputError where repository or keys do not fit.
    """
    owner.check_apart(keys, repository)
    trust = owner.read_kept(keys, owner.TRUST)
    if not trust:
        raise InputError(f"{keys} is no folder of keys", "make one: onejob push --create")
    with open_store(repository, exclusive=True) as store, refusals(str(repository)):
        roles, resumed = _load(store, trust, keys)
        signers = {name: owner.read_signer(keys, name) for name in owner.ROLES}
        if new_keys:
            signers |= _replace_keys(roles, signers, keys)
        history, changed = _add(store, roles, subject) if subject else (None, False)
        whole = _sign(roles, signers, days, changed or new_keys or resumed)
        stored = _store_parts(store, subject, progress) if subject else 0
        if history and changed:
            data = to_json(history).encode()
            store.targets.write(_stored(history.target, hashlib.sha256(data).hexdigest()), [data])
        write_roles(store.metadata, roles, whole=whole)
    owner.settle_keys(keys, roles.root.signed.keys)
    owner.keep(keys, owner.TRUST, roles.root.to_bytes())
    owner.keep(keys, owner.PUSHED, roles.timestamp.to_bytes())
    until = f"{roles.timestamp.signed.expires:%Y-%m-%d}"
    return Pushed(history, changed, stored, until, tuple(_notes(roles)))


def _load(store: Store, trust: bytes, keys: Path) -> tuple[Roles, bool]:
    """What is there, verified; whether a push that replaced keys was cut short.

    Its root may be there alone then, with the rest still signed by the keys before.
    """
    pushed = owner.read_kept(keys, owner.PUSHED)
    root = load_root(store.metadata, trust)
    resumed = owner.settle_keys(keys, root.signed.keys)
    try:
        return load_roles(store.metadata, root, pushed), resumed
    except InputError:
        if not resumed:
            raise
    roles = load_roles(store.metadata, parse_root(trust), pushed)
    return replace(roles, root=root), True


def _replace_keys(roles: Roles, signers: Signers, folder: Path) -> Signers:
    """New keys, named by a new root; they lie in `folder` before anything names them."""
    new = owner.generate_working_keys()
    replace_keys(roles, signers, new)
    owner.stage_keys(folder, new)
    return new


def _add(store: Store, roles: Roles, subject: Subject) -> tuple[History, bool]:
    """The history with `subject` as its newest release, named in targets; whether it is new."""
    target = subject.name + SUFFIXES[subject.kind]
    targets = roles.targets.signed.targets
    before = _read_history(store, targets[target]) if target in targets else None
    if before and set(before.newest.parts) == set(subject.parts):
        return before, False
    release = Release(
        version=before.newest.version + 1 if before else 1,
        pushed=f"{now():%Y-%m-%dT%H:%M:%SZ}",
        parts=subject.parts,
    )
    releases = (*(before.releases if before else ()), release)[-MOST_RELEASES:]
    history = History(kind=subject.kind, name=subject.name, releases=releases)
    targets[target] = TargetFile.from_data(target, to_json(history).encode(), ["sha256"])
    return history, True


def _read_history(store: Store, info: TargetFile) -> History:
    data = store.targets.read(_stored(info.path, info.hashes["sha256"]), MOST_BYTES)
    info.verify_length_and_hashes(data)
    return parse_json(data.decode(), History, f"history of {info.path}")


def _stored(name: str, sha256: str) -> str:
    """The entry of targets/ that holds `name`: by content, so that equal parts are one."""
    return f"{sha256}.{name}"


def _sign(roles: Roles, signers: Signers, days: int, changed: bool) -> bool:
    """Sign what is new or half over, as far as its key is here; whether that is more than the
    timestamp, which is always signed."""
    if signers["root"] and is_ageing(roles.root.signed):
        renew_root(roles, signers)
    ageing = is_ageing(roles.targets.signed) or is_ageing(roles.snapshot.signed)
    whole = changed or (ageing and signers["targets"] is not None)
    if whole:
        sign_all(roles, signers, days)
    else:
        sign_timestamp(roles, signers, days)
    return whole


def _store_parts(store: Store, subject: Subject, progress: Progress) -> int:
    """Have every part in targets/; how many bytes were not there."""
    stored = 0
    for part, source in zip(subject.parts, subject.sources, strict=True):
        name = _stored(part.name, part.sha256)
        if not _is_whole(store, name, part):
            progress.stage(part.name)
            store.targets.write(name, _verified(source, part))
            stored += part.size
    return stored


def _is_whole(store: Store, name: str, part: Content) -> bool:
    digest = hashlib.sha256()
    try:
        for chunk in store.targets.chunks(name):
            digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == part.sha256


def _verified(source: Path | bytes, part: Content) -> Iterator[bytes]:
    """The bytes of `source`; InputError in the end where they are not `part`."""
    digest = hashlib.sha256()
    chunks = [source] if isinstance(source, bytes) else read_chunks(source, "part", part.size)
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != part.sha256:
        raise InputError(f"{part.name} changed while it was pushed", "push it again")


def _notes(roles: Roles) -> Iterator[str]:
    """What its owner has to see to before long."""
    for metadata in (roles.root, roles.targets, roles.snapshot):
        signed = metadata.signed
        if signed.expires - now() < _SOON:
            key = "root" if signed.type == "root" else "targets"
            yield (
                f"{signed.type} expires on {signed.expires:%Y-%m-%d}: "
                f"run onejob push with {key}.key in the folder of keys"
            )
