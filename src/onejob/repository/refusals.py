"""What a repository is refused for, in one sentence each."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    SlowRetrievalError,
    UnsignedMetadataError,
)

from onejob.model.errors import InputError

_NEXT = "nothing was taken from it"


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Say what tuf refuses in one sentence about `name`."""
    try:
        yield
    except (RepositoryError, DownloadError) as error:
        what, hint = _say(error)
        raise InputError(f"{name} {what}", hint) from error


def _say(error: Exception) -> tuple[str, str]:
    detail = str(error)
    match error:
        case UnsignedMetadataError():
            return f"is not signed by who is trusted: {detail}", _NEXT
        case ExpiredMetadataError():
            hint = "its owner renews it: onejob push --to FOLDER --keys FOLDER; is the clock right?"
            return f"says nothing new for too long: {detail}", hint
        case BadVersionNumberError():
            return f"is older than what was seen before, or mixed: {detail}", _NEXT
        case LengthOrHashMismatchError():
            return f"holds something that is not what was signed: {detail}", _NEXT
        case DownloadLengthMismatchError():
            return f"sends more than was signed: {detail}", _NEXT
        case SlowRetrievalError():
            return "answers too slowly", "try later, or give more time: --patience SECONDS"
        case DownloadHTTPError():
            return f"does not have all that it should: {detail}", "is this the address of one?"
        case DownloadError():
            return f"cannot be read: {detail}", _NEXT
    return f"is not a sound repository: {detail}", _NEXT
