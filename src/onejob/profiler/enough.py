"""When is it enough? After each drill it is told what was new; quiet rounds end the run."""

from dataclasses import dataclass

from onejob.base.progress import Progress
from onejob.drive.drills import DrillResult
from onejob.drive.probe import Probe
from onejob.model.errors import ServiceError
from onejob.profiler.novelty import news_of, tell_news
from onejob.profiler.recording import read_recording
from onejob.profiler.rounds import round_name

DEFAULT_MAX_ROUNDS = 12


@dataclass(frozen=True)
class Patience:
    """Repeat the drills until `quiet_rounds` in a row bring nothing new, at most `max_rounds`."""

    quiet_rounds: int = 0
    max_rounds: int = 1


ONCE = Patience()


class Rounds:
    """Decides after each round whether there is another; an observer of the drills."""

    def __init__(self, patience: Patience, probe: Probe, progress: Progress) -> None:
        self._patience, self._probe, self._progress = patience, probe, progress
        self._number, self._quiet = 1, 0
        self._something_new = False
        self._name = "start"  # which has begun when the service does

    def begin_drill(self, name: str) -> None:
        """Tell the probe which drill of which round begins."""
        self._name = name if name == "stop" else round_name(name, self._number)
        self._probe.begin_drill(self._name)

    def drill_ended(self, result: DrillResult) -> None:
        """Say what it brought that none before it had."""
        if result.passed:
            news = news_of(read_recording(self._probe.snapshot()))[-1]
            self._something_new |= bool(news)
            self._progress.note(tell_news(self._name, news))

    def another(self) -> bool:
        """Whether the drills are to be run again; asked at the end of each round."""
        self._quiet = 0 if self._something_new else self._quiet + 1
        self._something_new = False
        if self._quiet >= self._patience.quiet_rounds or self._number >= self._patience.max_rounds:
            return False
        self._number += 1
        self._progress.step(f"round {self._number}, {self._quiet} quiet before it")
        return True

    def explained(self, error: ServiceError) -> ServiceError:
        """`error` of a drill, where it was repeated: it may be one that works only once."""
        if self._number == 1 or self._name == "stop":
            return error
        hint = (
            "a drill that is repeated leaves things as it found them, or does not mind how they are"
        )
        return ServiceError(f"round {self._number}, {error.what}", error.hint or hint)

    def shortfall(self) -> str:
        """Why what was seen may not be all, in words for the profile; empty where it is stable."""
        wanted = self._patience.quiet_rounds
        if self._quiet >= wanted:
            return ""
        return (
            f"not stable: of {self._number} rounds of the drills, as many as were allowed, the last"
            f" {self._quiet} brought nothing new, and {wanted} were wanted"
        )
