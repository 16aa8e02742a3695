"""What is to be installed, as asked and then as resolved: answer file, options, questions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from onejob.model.answers import Answers, DiskAnswer
from onejob.model.errors import InputError
from onejob.model.noun import describe_invalid, place_text
from onejob.model.tomlfile import load_toml

ANSWERS = "answers.toml"
TRUST = "root.json"
MEDIUM = "onejob"  # the folder of a medium that holds a kit: a repository, its root, its answers


@dataclass(frozen=True)
class Order:
    """Everything that an installation has to know; nothing is asked any more."""

    service: str
    repository: str
    trust: Path | None
    version: int | None
    disk: DiskAnswer
    ip: str


def read_answers(path: Path) -> Answers:
    """The answer file at `path`; InputError names file, line and what is wrong."""
    answers = load_toml(path, Answers, "answer file")
    if answers.trust is None:
        return answers
    return answers.model_copy(update={"trust": str(path.parent / answers.trust)})


def as_answers(options: Mapping[str, object]) -> Answers:
    """Options of the command line as answers; InputError names one that does not fit."""
    try:
        return Answers.model_validate(options)
    except ValidationError as error:
        place, words = next(iter(describe_invalid(error)))
        raise InputError(f"{place_text(place)}: {words}") from error


def as_order(answers: Answers, service: str = "") -> Order:
    """InputError for what nobody has said; `service` instead of none."""
    service = answers.service or service
    lacking = {
        "which service": not service,
        "from which repository": answers.repository is None,
    }
    if unsaid := [what for what, is_lacking in lacking.items() if is_lacking]:
        raise InputError(
            f"not said: {', '.join(unsaid)}",
            "onejob install --from REPOSITORY NAME, or an answer file (docs/install.md)",
        )
    return Order(
        service=service,
        repository=answers.repository or "",
        trust=Path(answers.trust) if answers.trust else None,
        version=answers.version,
        disk=answers.disk,
        ip=answers.network.ip,
    )
