"""What is measured: a profile with its workload, and the image that was built from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.bench.promises import PROMISES, Promise
from onejob.bench.result import Result
from onejob.model.errors import InputError
from onejob.model.image import Image
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload


@dataclass(frozen=True)
class Subject:
    """What was not given may be missing; a benchmark that needs them says so.

    `load_seconds`: how long a load goes on where its length matters.
    """

    given_image: Image | None = None
    given_profile: Profile | None = None
    given_installer: Image | None = None
    load_seconds: float = 60.0

    @property
    def image(self) -> Image:
        """The image; InputError where none was given."""
        if self.given_image is None:
            raise InputError("this benchmark measures an image", "name one: --image NAME.onejob")
        return self.given_image

    @property
    def installer(self) -> Image:
        """The installer's image; InputError where none was given."""
        if self.given_installer is None:
            hint = "make one (make installer), and name it: --installer installer.onejob"
            raise InputError("this benchmark installs, by an installer's image", hint)
        return self.given_installer

    @property
    def profile(self) -> Profile:
        """The profile that was given, else the image's own."""
        if self.given_profile is not None:
            return self.given_profile
        if self.given_image is None:
            hint = "name one: --image NAME.onejob, or --profile NAME.profile.xml"
            raise InputError("this benchmark measures a profiled service", hint)
        return load_profile(self.given_image.profile)

    @property
    def workload(self) -> Workload:
        """How the service is started and driven."""
        profile = self.profile
        return parse_toml(profile.workload, Workload, f"workload of {profile.name}")


class Benchmark(NamedTuple):
    """One mechanism that is measured."""

    name: str
    measure: Callable[[Subject, Progress], tuple[Result, ...]]

    @property
    def promises(self) -> tuple[Promise, ...]:
        """What it shows."""
        return tuple(promise for promise in PROMISES if promise.benchmark == self.name)
