"""Benchmark ``image-size``: what an image is made of, counted."""

from onejob.base.progress import Progress
from onejob.bench.promises import ALLOWED_CALLS, IMAGE_BYTES, KERNEL_BYTES, ROOT_FILES
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.image import image_facts


def measure_image_size(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Bytes of kernel and root, files in the root, system calls that the policy allows.

    InputError for an image without a kernel: it would look small.
    """
    progress.stage("image-size")
    image = subject.image
    facts = image_facts(image)
    kernel_bytes = image.kernel.stat().st_size
    root = Value(name="root", value=facts.root_bytes / 1e6, unit="MB")
    known = Value(name="calls of its kernel", value=facts.kernel_calls or 0, unit="")
    return (
        judge(IMAGE_BYTES, facts.bytes / 1e6, [root]),
        judge(KERNEL_BYTES, kernel_bytes / 1e6),
        judge(ROOT_FILES, facts.files),
        judge(ALLOWED_CALLS, facts.calls, [known]),
    )
