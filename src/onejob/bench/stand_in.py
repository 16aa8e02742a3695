"""A stand-in for a kernel: a few bytes, and the configuration that a plan asks for.

Whoever chooses a kernel, or writes one to a disk, looks at no more of it; nothing boots it.
"""

import hashlib

from onejob.builder.kernel_config import options_text
from onejob.model.image import (
    KERNEL,
    KERNEL_CONFIG,
    MANIFEST,
    Content,
    Image,
    Kernel,
    open_image,
)
from onejob.model.jsonfile import to_json
from onejob.model.plan import KernelOption


def with_kernel(
    image: Image, options: tuple[KernelOption, ...], data: bytes = b"a kernel", more: str = ""
) -> Image:
    """`image` with `data` for a kernel that has `options`, and the lines `more`."""
    config = options_text(options) + more
    written = {KERNEL: data, KERNEL_CONFIG: config.encode()}
    contents = [c for c in image.manifest.contents if c.name not in written]
    for name, content in written.items():
        (image.folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        contents.append(Content(name=name, size=len(content), sha256=digest))
    about = Kernel(
        source="linux-source-6.12 6.12.1-1", compiler="none", system_calls=300,
        config_sha256=hashlib.sha256(config.encode()).hexdigest(),
    )  # fmt: skip
    manifest = image.manifest.model_copy(update={"contents": tuple(contents), "kernel": about})
    (image.folder / MANIFEST).write_text(to_json(manifest))
    return open_image(image.folder)
