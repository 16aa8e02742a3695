"""A kit: a repository with an image and the prepared kernels that an installer chooses from."""

from pathlib import Path

from onejob.base.progress import Quiet
from onejob.model.image import Image
from onejob.repository.push import DAYS, create, describe, describe_kernel, push


def make_kit(folder: Path, image: Image, *kernels: Image) -> Path:
    """The new repository `folder`/onejob, with `image` and the kernels of the images `kernels`.

    Its keys are in `folder`/keys, root.json among them.
    """
    repository, keys = folder / "onejob", folder / "keys"
    folder.mkdir(exist_ok=True)
    create(repository, keys, DAYS)
    subjects = (describe(image.folder), *(describe_kernel(each.folder) for each in kernels))
    for subject in subjects:
        push(subject, repository, keys, days=DAYS, progress=Quiet())
    return repository
