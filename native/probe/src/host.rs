//! The machine that records, as far as a profile that is made elsewhere has to know it: its names, and
//! what lies at the paths that were used. All is read in the service's own root, without leaving it.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::recording::{Content, FileUse, Host};

/// Where a C library may lie that says its version.
const LIBCS: [&str; 4] =
    ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6", "/lib/libc.so.6"];
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";
const LIBC_SAYS: &[u8] = b"GNU C Library ";
const VERSION: &[u8] = b"version ";
/// Larger files are data: what they hold is not what the service is.
const LARGEST: u64 = 256 << 20;
const ACCESS_MODE: u32 = 3;

/// A root directory that somebody sees.
pub struct View {
    root: OwnedFd,
}

impl View {
    /// What a process sees; our own view by "self".
    pub fn of(process: &str) -> Result<Self, Failure> {
        let root = format!("/proc/{process}/root");
        open(root.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map(|root| View { root })
            .map_err(|error| {
                Failure::new(format!("cannot open {root}: {}", error.desc()), "does it still run?")
            })
    }

    /// What was in the files that were only read, by any program.
    pub fn contents(&self, files: &[FileUse]) -> Vec<Content> {
        let (read, other): (Vec<&FileUse>, Vec<&FileUse>) = files.iter().partition(|file| only_read(file));
        let changed: BTreeSet<&str> = other.iter().map(|file| file.path.as_str()).collect();
        let read: BTreeSet<&str> = read.iter().map(|file| file.path.as_str()).collect();
        read.difference(&changed).filter_map(|path| self.content(path)).collect()
    }

    pub fn host(&self) -> Host {
        let names = nix::sys::utsname::uname().ok();
        let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
        Host {
            machine: names.as_ref().map(|names| text(names.machine())).unwrap_or_default(),
            kernel: names.as_ref().map(|names| text(names.release())).unwrap_or_default(),
            libc: self.libc(),
            distribution: self.distribution(),
        }
    }

    fn libc(&self) -> String {
        let glibc = LIBCS.iter().find_map(|path| glibc_version(&self.read(path)?));
        let musl = || self.open(MUSL).map(|_| "musl".to_string());
        glibc.map(|version| format!("glibc {version}")).or_else(musl).unwrap_or_default()
    }

    /// os-release(5).
    fn distribution(&self) -> String {
        let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| self.read(path));
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        name.unwrap_or_default().trim_matches(['"', '\'']).to_string()
    }

    fn content(&self, path: &str) -> Option<Content> {
        let mut file = self.open(path)?;
        let size = file.metadata().ok()?.len();
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash).ok()?;
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Content { path: path.to_string(), size, sha256 })
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        self.open(path)?.take(LARGEST).read_to_end(&mut data).ok()?;
        Some(data)
    }

    /// A regular file of moderate size, not one of the kernel's own.
    fn open(&self, path: &str) -> Option<File> {
        if ["/proc", "/sys", "/dev"].iter().any(|kernels| Path::new(path).starts_with(kernels)) {
            return None;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let file = openat2(self.root.as_fd(), path, OpenHow::new().flags(flags).resolve(resolve)).ok()?;
        let file = File::from(file);
        file.metadata().is_ok_and(|facts| facts.is_file() && facts.len() <= LARGEST).then_some(file)
    }
}

/// Executed, mapped, or opened for reading.
fn only_read(file: &FileUse) -> bool {
    let opened = file.role == "path" && [2, 257, 437].contains(&file.nr); // open, openat, openat2
    file.error != 0 || matches!(file.role, "exec" | "map") || (opened && file.flags & ACCESS_MODE == 0)
}

/// The version that a C library says of itself, as in "GNU C Library (...) stable release version 2.36.".
fn glibc_version(library: &[u8]) -> Option<String> {
    let find = |text: &[u8], word: &[u8]| text.windows(word.len()).position(|part| part == word);
    let banner = &library[find(library, LIBC_SAYS)?..];
    let version = &banner[find(banner, VERSION)? + VERSION.len()..];
    let end = version.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    Some(String::from_utf8_lossy(&version[..end]).trim_end_matches('.').to_string())
}

#[cfg(test)]
mod tests {
    use super::glibc_version;

    #[test]
    fn the_c_library_says_its_version() {
        let says = b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopyright";
        assert_eq!(glibc_version(says).as_deref(), Some("2.36"));
        assert_eq!(glibc_version(b"nothing"), None);
    }
}
