"""An image for container engines: an OCI image layout, its seccomp profile, how to run it.

Sources: the OCI image specification 1.0 (image-layout.md, manifest.md, config.md, annotations.md).
"""

import hashlib
import io
from pathlib import Path
from typing import Any

from onejob.base.root_files import file_entry, folder_entry, root_entries, write_tar
from onejob.disk.options import Options
from onejob.exporter.engines import KUBERNETES, RUN, SECCOMP, image_name, kubernetes, run_script
from onejob.exporter.form import Export, to_text
from onejob.exporter.seccomp_profile import seccomp_profile
from onejob.model.container import DATA, has_data, init_path
from onejob.model.image import Image

_OCI = "application/vnd.oci.image"
_SYSTEM = {"architecture": "amd64", "os": "linux"}
# Process 1 asks the service to stop in its own way.
_STOP = "SIGTERM"


def export_oci(image: Image, folder: Path, _options: Options) -> Export:
    """Fill the new `folder`."""
    name = image.plan.name
    archive = f"{name}.oci.tar"
    (folder / archive).write_bytes(layout(image))
    (folder / SECCOMP).write_text(to_text(seccomp_profile(image.plan)))
    (folder / KUBERNETES).write_text(to_text(kubernetes(image)))
    (folder / RUN).write_text(run_script(image, archive))
    (folder / RUN).chmod(0o755)
    steps = f"""\
    sh {RUN}                       # podman loads the image and runs it

It publishes the ports of the service; more words for podman follow the script's name. The data
is kept in the volume `{name}-data`. Other engines run `{archive}` with the same settings.

In Kubernetes: push the image to your registry and write its name into `{KUBERNETES}`; put
`{SECCOMP}` on each node, below the kubelet's seccomp folder, under the name that the manifest
has for it; then

    kubectl apply -f {KUBERNETES}

Process 1 of the image restricts the service far below what the container has: it needs
CAP_SYS_ADMIN (mounts of the service's own, its filter, Landlock) and CAP_SYS_PTRACE (rows of
calls) for that, and gives them up for the service. Hence AppArmor's and SELinux's own
container profiles, which forbid mounts, are off.
"""
    return Export("OCI image", steps)


def layout(image: Image) -> bytes:
    """The whole image layout as one tar archive: same image, same bytes.

    The layer is not compressed: what a compressor writes depends on its version.
    """
    layer = io.BytesIO()
    write_tar(layer, root_entries(image))
    blobs: dict[str, bytes] = {}
    layer_at = _add(blobs, f"{_OCI}.layer.v1.tar", layer.getvalue())
    config = to_text(image_config(image, layer_at["digest"])).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _add(blobs, f"{_OCI}.config.v1+json", config),
        "layers": [layer_at],
    }
    at = _add(blobs, f"{_OCI}.manifest.v1+json", to_text(manifest).encode())
    full_name = image_name(image)
    named = {**at, "annotations": {"org.opencontainers.image.ref.name": full_name}}
    index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [named]}
    entries = [file_entry("oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')]
    entries += [file_entry("index.json", to_text(index).encode())]
    entries += [folder_entry("blobs"), folder_entry("blobs/sha256")]
    entries += [file_entry(f"blobs/sha256/{key}", blobs[key]) for key in sorted(blobs)]
    written = io.BytesIO()
    write_tar(written, entries)
    return written.getvalue()


def _add(blobs: dict[str, bytes], kind: str, content: bytes) -> dict[str, Any]:
    """Keep a blob; its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def image_config(image: Image, layer: str) -> dict[str, Any]:
    """How the engine starts it: process 1, with the data as a volume."""
    plan = image.plan
    environment = ["container=oci"]
    config: dict[str, Any] = {"Entrypoint": [init_path(plan)], "WorkingDir": "/", "User": "0:0"}
    if plan.service.ports:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in plan.service.ports}
    if has_data(plan):
        environment.append("ONEJOB_DATA=dir")
        config["Volumes"] = {DATA: {}}
    config |= {"Env": environment, "StopSignal": _STOP}
    return {**_SYSTEM, "config": config, "rootfs": {"type": "layers", "diff_ids": [layer]}}
