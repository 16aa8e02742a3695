"""Attacks on a running service: did each have its effect, and does the service go on?"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from onejob.base.progress import Progress
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


def attempt_all(
    enter: Callable[[], AbstractContextManager[Scene]],
    attacks: Iterable[Attack],
    progress: Progress,
) -> dict[str, bool]:
    """Whether each attack, by its name, succeeded, which stopping the service is, too.

    None meets what another one left: after one that succeeded, `enter` makes a new scene.
    """
    found: dict[str, bool] = {}
    with ExitStack() as stack:
        scene = None
        for attack in attacks:
            progress.step(attack.name)
            scene = scene or stack.enter_context(enter())
            outcome = attempt(scene, attack)
            found[attack.name] = outcome.succeeded or not outcome.served
            if found[attack.name]:
                stack.close()
                scene = None
    return found
