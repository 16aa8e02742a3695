"""Files that the C library and others open by names of their own: found by who imports what."""

import glob
import os
import re
from collections.abc import Iterator

from onejob.model.profile import Unfollowed
from onejob.profiler.elf import find_library
from onejob.profiler.static.names import Found, Named, View, existing, read_text

SWITCH = "/etc/nsswitch.conf"
_ACCOUNTS = {"getpwnam", "getpwuid", "getpwnam_r", "getpwuid_r", "getpwent", "initgroups",
             "getgrnam", "getgrgid", "getgrnam_r", "getgrgid_r", "getgrent",
             "getgrouplist"}  # fmt: skip
_HOSTS = {"getaddrinfo", "gethostbyname", "gethostbyname_r", "gethostbyname2", "getnameinfo",
          "gethostbyaddr", "gethostbyaddr_r", "res_init", "__res_init"}  # fmt: skip
_SERVICES = {"getservbyname", "getservbyname_r", "getservbyport", "getservbyport_r"}
_DATABASES = (
    ({"passwd", "group"}, _ACCOUNTS, (SWITCH, "/etc/passwd", "/etc/group")),
    ({"hosts"}, _HOSTS, (SWITCH, "/etc/hosts", "/etc/resolv.conf")),
    ({"services"}, _SERVICES, (SWITCH, "/etc/services")),
)
_TIME = {"localtime", "localtime_r", "tzset", "mktime", "strftime", "timelocal"}
LOCALES = "/usr/lib/locale"
_ZONES = "/usr/share/zoneinfo"
_VERIFY = {"SSL_CTX_set_default_verify_paths", "SSL_CTX_set_default_verify_file",
           "SSL_CTX_set_default_verify_dir", "X509_STORE_set_default_paths"}  # fmt: skip
_OPENSSL = ("libssl.", "libcrypto.")  # they import such functions from each other, unasked
_GNUTLS = {"gnutls_certificate_set_x509_system_trust"}
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_CERTIFICATES = ("/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs", "/usr/lib/ssl/openssl.cnf")
_GCONV = "/usr/lib/x86_64-linux-gnu/gconv"
# What the C library itself loads by name, and the functions for which it does. Not listed is
# libidn2: getaddrinfo wants it for names with AI_IDN alone, and reports its absence.
_BY_THE_C_LIBRARY = {"libgcc_s.so.1": {"pthread_exit", "pthread_cancel", "backtrace"}}


def loaded_libraries(view: View) -> Iterator[Named]:
    """Libraries whose names stand in the constants of an object that imports dlopen."""
    for path, summary in sorted(view.objects.items()):
        for name in summary.libraries:
            users = view.importers(_BY_THE_C_LIBRARY.get(name, set()))
            if summary.functions and not users:
                continue
            reason = f"dlopen in {path}: {name}"
            if users:
                user, function = min(users.items())
                reason = f"{user}: {function} makes {os.path.basename(path)} load {name}"
            found = name if name.startswith("/") else find_library(name)
            if found and os.path.realpath(found) != path:
                yield from existing(reason, found)


def name_services(view: View) -> Iterator[Named]:
    """The name service switch: its modules, and the files that the built-in ones read."""
    rows = re.findall(r"(?m)^\s*(\w+):([^#\n]*)", read_text(SWITCH))
    for databases, functions, files in _DATABASES:
        users = view.importers(functions)
        if not users:
            continue
        user, function = min(users.items())
        yield from existing(f"{user}: imports {function}", *files)
        for database, services in rows:
            for service in re.findall(r"\w+", services) if database in databases else ():
                library = find_library(f"libnss_{service}.so.2")
                yield from existing(f"{SWITCH}: {database}", *([library] if library else ()))


def time_zones(view: View) -> Iterator[Named]:
    """/etc/localtime, or the zone of TZ, for whoever computes local time."""
    for user, function in sorted(view.importers(_TIME).items())[:1]:
        zone = view.environment.get("TZ", "").lstrip(":")
        path = zone if zone.startswith("/") else f"{_ZONES}/{zone}"
        by = f"{user}: imports {function}"
        yield from existing(
            by + (f", TZ={zone}" if zone else ""), path if zone else "/etc/localtime"
        )


def locales(view: View) -> Iterator[Named]:
    """The locales that the environment asks for; C and C.UTF-8 are in the C library."""
    for variable, value in sorted(view.environment.items()):
        if not (variable in ("LANG", "LANGUAGE") or variable.startswith("LC_")):
            continue
        name = re.sub(r"\.[^@]*", lambda m: m[0].lower().replace("-", ""), value)
        if name in ("", "C", "POSIX", "C.utf8") or "/" in name or not view.importers({"setlocale"}):
            continue
        by = f"environment: {variable}={value}"
        yield from existing(by, f"{LOCALES}/locale-archive")
        for path in sorted(glob.glob(f"{LOCALES}/{glob.escape(name)}/**", recursive=True)):
            yield Named(path, by)


def certificates(view: View) -> Iterator[Named]:
    """The authorities' certificates for whoever asks for the default ones."""
    for user, function in sorted(view.importers(_VERIFY, _OPENSSL).items())[:1]:
        by = f"{user}: imports {function}"
        yield from existing(by, _BUNDLE, *_CERTIFICATES)
        # By default, a certificate is looked for under the hash of its name (x509_verify(1)).
        for path in sorted(glob.glob("/etc/ssl/certs/????????.[0-9]")):
            yield Named(path, by)
    for user, function in sorted(view.importers(_GNUTLS).items())[:1]:
        yield from existing(f"{user}: imports {function}", _BUNDLE)


def converters(view: View) -> Iterator[Found]:
    """iconv's table of converters; the converters themselves are loaded by names of run time."""
    for user, function in sorted(view.importers({"iconv_open"}).items())[:1]:
        by = f"{user}: imports {function}"
        yield from existing(by, f"{_GCONV}/gconv-modules.cache", f"{_GCONV}/gconv-modules")
        why = f"iconv's converters in {_GCONV} are not named: include those it needs"
        yield Unfollowed(object=user, reason=why)
