"""What is in an image, as a bill of materials: packages with licences, and the hash of each file.

Source: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
"""

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from onejob.base.root_files import Entry, root_entries
from onejob.disk.options import Options
from onejob.exporter.form import Export
from onejob.model.image import KERNEL, Image
from onejob.model.plan import PlannedFile

SBOM = "sbom.cdx.json"
_KERNEL_LICENCE = "GPL-2.0-only WITH Linux-syscall-note"  # the kernel's COPYING
_OWN, _OWN_LICENCE = "onejob", "Apache-2.0"
# A kind of URL of its own, so that no other document can have the same number.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/onejob")


def export_sbom(image: Image, folder: Path, _options: Options) -> Export:
    """Every export has it; this one has nothing else."""
    return Export("bill of materials", f"`{SBOM}` is CycloneDX 1.6: packages, licences, files.\n")


def sbom_text(image: Image) -> str:
    """The document: same image, same bytes. So it has no time, and a number made of the image."""
    parts = [*_packages(image), *_kernel(image)]
    bom = Bom(components=parts)
    root_hash = image.manifest.verity.root_hash
    number = uuid.uuid5(_NAMESPACE, f"{image.plan.name} {root_hash}")
    bom.serial_number = number
    bom.metadata.component = Component(
        name=image.plan.name, version=root_hash[:12], type=ComponentType.OPERATING_SYSTEM,
        bom_ref="image",
    )  # fmt: skip
    bom.register_dependency(bom.metadata.component, parts)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _packages(image: Image) -> Iterable[Component]:
    """Those of the distribution with their files; onejob's own; and each file of nobody's."""
    belongs = {file.path: _owner(file) for file in image.plan.files}
    files: dict[str, list[Component]] = defaultdict(list)
    for entry in root_entries(image):
        if entry.info.isreg():
            files[belongs.get(entry.path, _OWN)].append(_file(entry))
    licences = {each.package: each.licences for each in image.manifest.licences}
    yield from files.pop("", ())
    for package, members in sorted(files.items()):
        name, _, version = package.partition("=")
        if package == _OWN:
            url = PackageURL("generic", None, name, image.manifest.onejob)
            yield _component(name, image.manifest.onejob, (_OWN_LICENCE,), members, url)
        else:
            url = PackageURL("deb", "debian", name, version, {"arch": "amd64"})
            yield _component(name, version, licences.get(name, ()), members, url)


def _owner(file: PlannedFile) -> str:
    """``NAME=VERSION`` of its package; empty for a file that the host had from elsewhere."""
    return file.package if file.origin == "host" else _OWN


def _component(
    name: str, version: str, licences: Iterable[str], files: list[Component], url: PackageURL
) -> Component:
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        licenses=[DisjunctiveLicense(name=licence) for licence in licences],
        components=files,
        purl=url,
        bom_ref=f"package:{name}",
    )


def _file(entry: Entry) -> Component:
    return Component(
        name=entry.path, type=ComponentType.FILE, bom_ref=f"file:{entry.path}",
        hashes=[_sha256(hashlib.sha256(entry.content).hexdigest())],
    )  # fmt: skip


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _kernel(image: Image) -> Iterable[Component]:
    """The kernel as it was built; its version is the source package's."""
    kernel = image.manifest.kernel
    if kernel is None:
        return
    name, _, version = kernel.source.partition(" ")
    digest = next(each.sha256 for each in image.manifest.contents if each.name == KERNEL)
    yield Component(
        name=name,
        version=version,
        type=ComponentType.OPERATING_SYSTEM,
        licenses=[DisjunctiveLicense(name=_KERNEL_LICENCE)],
        hashes=[_sha256(digest)],
        purl=PackageURL("deb", "debian", name, version),
        bom_ref="kernel",
    )
