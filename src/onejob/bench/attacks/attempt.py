"""One attack on one running service: did it have its effect, and does the service go on?"""

from typing import NamedTuple

from onejob.bench.attacks.scene import Scene
from onejob.bench.attacks.table import FIRST_WORD, Attack


class Outcome(NamedTuple):
    """What came of an attack; `answer` is what the service said to it, empty where it hung up.

    Whether it still `served` is looked at where the attack did not succeed.
    """

    succeeded: bool
    served: bool
    answer: str


def attempt(scene: Scene, attack: Attack) -> Outcome:
    """Attack the service that runs in `scene`."""
    scene.ask(f"hello {FIRST_WORD}")
    scene.ask("cgi")
    answer = scene.ask(scene.named(attack.wish))
    succeeded = attack.effect.shown(scene, answer)
    return Outcome(succeeded, succeeded or scene.serves(), answer)
