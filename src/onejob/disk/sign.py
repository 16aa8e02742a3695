"""Signing what firmware starts, for Secure Boot (sbsign(1))."""

import hashlib
import ssl
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.disk.options import Options
from onejob.model.errors import InputError

_LIMIT_S = 120


def sign(program: Path, options: Options) -> None:
    """Sign the EFI program in its place, where `options` have a key; the signature has the time."""
    if options.key is None or options.certificate is None:
        return
    signer = find_tool("sbsign", "sbsigntool")
    words: list[str | Path] = ["--key", options.key, "--cert", options.certificate]
    words += ["--output", program, program]
    run_tool([signer, *words], timeout=_LIMIT_S)


def fingerprint(options: Options) -> str:
    """SHA-256 of the certificate in hexadecimal; empty without one."""
    if options.certificate is None:
        return ""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(options.certificate.read_text())).hexdigest()
    except ValueError as error:
        hint = "give the key's certificate in PEM"
        raise InputError(f"{options.certificate} is no certificate", hint) from error
