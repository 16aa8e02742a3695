"""Benchmark ``image-size``: what an image is made of, counted."""

from onejob.base.progress import Progress
from onejob.bench.promises import ALLOWED_CALLS, IMAGE_BYTES, ROOT_FILES
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.image import image_facts


def measure_image_size(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Bytes of kernel and root, files in the root, system calls that the policy allows."""
    progress.stage("image-size")
    facts = image_facts(subject.image)
    sizes = [Value(name="root", value=facts.root_bytes / 1e6, unit="MB")]
    if facts.kernel_bytes is not None:
        sizes.append(Value(name="kernel", value=facts.kernel_bytes / 1e6, unit="MB"))
    known = [] if facts.kernel_calls is None else [
        Value(name="calls of this kernel", value=facts.kernel_calls, unit="")
    ]  # fmt: skip
    return (
        judge(IMAGE_BYTES, facts.bytes / 1e6, sizes),
        judge(ROOT_FILES, facts.files),
        judge(ALLOWED_CALLS, facts.calls, known),
    )
