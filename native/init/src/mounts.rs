//! The file systems that the service sees, in the order of the plan, over a read-only root.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::ffi::CStr;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Gid, Uid};
use rustix::fs::{
    CWD, Mode, OFlags, StatVfsMountFlags, chmodat, chownat, fstat, mkdirat, openat, stat, statfs, statvfs,
    symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::process::{chdir, fchdir};

use crate::console::say;
use crate::failure::{Failure, OrFail, Outcome};
use crate::files::{make_directories, open_directory};
use crate::instance::{Instance, Kind, Mount};
use crate::partition::{self, DATA, Held};
use crate::place::Place;
use crate::seed;
use crate::share::{self, LOGS};

pub const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const LACKS_DIRECTORY: &str = "the root must have that directory: build the image again";

/// File systems that the kernel makes up: fstype, magic (linux/magic.h), flags.
fn pseudo(kind: Kind) -> Option<(&'static CStr, i64, MountFlags)> {
    match kind {
        Kind::Proc => Some((c"proc", 0x9fa0, HARMLESS)),
        Kind::Sysfs => Some((c"sysfs", 0x6265_6572, HARMLESS.union(MountFlags::RDONLY))),
        Kind::Devtmpfs => Some((c"devtmpfs", 0x0102_1994, MountFlags::NOSUID.union(MountFlags::NOEXEC))),
        Kind::Tmpfs | Kind::Data => None,
    }
}

/// With what a mount of this kind is restricted; read-only comes on top where the plan says so.
pub fn flags_of(kind: Kind) -> MountFlags {
    pseudo(kind).map_or(HARMLESS, |(_, _, flags)| flags)
}

/// Mount everything. Returns what holds the data partition, for `shutdown` to release.
pub fn mount_all(instance: &Instance, place: &Place) -> Outcome<Held> {
    let mut held = Held::default();
    for entry in &instance.mounts {
        match entry.kind {
            Kind::Tmpfs => mount_tmpfs(entry)?,
            Kind::Data => mount_data(entry, place, instance, &mut held)?,
            _ => mount_pseudo(entry, place)?,
        }
    }
    Ok(held)
}

fn mount_pseudo(entry: &Mount, place: &Place) -> Outcome<()> {
    let Some((fstype, magic, flags)) = pseudo(entry.kind) else { return Ok(()) };
    let path = entry.path.as_str();
    if !is_mounted(path, magic) {
        if entry.kind == Kind::Devtmpfs && !place.machine {
            // It would show the devices of the machine around the container.
            return Err(Failure::new(
                format_args!("nothing is mounted on {path}"),
                "the container runtime must mount it",
            ));
        }
        make_mount_point(path);
        mount(fstype, path, fstype, flags, None::<&CStr>).or_fail_hint(
            format_args!("cannot mount {} on {path}", fstype.to_string_lossy()),
            LACKS_DIRECTORY,
        )?;
    }
    if entry.kind == Kind::Devtmpfs {
        link_descriptors(path);
        if place.machine {
            // The kernel mounts it without restrictions.
            mount_remount(path, MountFlags::BIND | flags, c"")
                .or_fail(format_args!("cannot restrict the mount {path}"))?;
        }
    }
    Ok(())
}

/// The kernel mounts /dev itself (DEVTMPFS_MOUNT), a container runtime all of them.
fn is_mounted(path: &str, magic: i64) -> bool {
    let own_device = match (stat(path), stat("/")) {
        (Ok(here), Ok(root)) => here.st_dev != root.st_dev,
        _ => false,
    };
    own_device && statfs(path).is_ok_and(|system| system.f_type == magic)
}

/// A mount point inside a file system that was just made, such as /dev/shm. The root is read-only:
/// what it lacks shows up as the error of the mount itself.
fn make_mount_point(path: &str) {
    let _ = mkdirat(CWD, path, Mode::from_raw_mode(0o755));
}

/// devtmpfs lacks the names that every other /dev has for a process's own descriptors.
fn link_descriptors(path: &str) {
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        // It exists already, or /dev cannot be written: both are fine.
        let _ = symlinkat(format!("/proc/self/fd{target}").as_str(), CWD, format!("{path}/{name}").as_str());
    }
}

/// A new tmpfs, with what the root has in its place.
fn mount_tmpfs(entry: &Mount) -> Outcome<()> {
    let path = entry.path.as_str();
    make_mount_point(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let below = openat(CWD, path, flags, Mode::empty())
        .or_fail_hint(format_args!("cannot mount tmpfs on {path}"), LACKS_DIRECTORY)?;
    let stat = fstat(&below).or_fail(format_args!("cannot mount tmpfs on {path}"))?;
    let mode = entry.mode.unwrap_or(stat.st_mode & 0o7777);
    new_tmpfs(path, entry.size_kib.unwrap_or(0), mode)?;
    let above = openat(CWD, path, flags, Mode::empty()).or_fail(format_args!("cannot open {path}"))?;
    seed::copy_tree(below.as_fd(), above.as_fd(), path)?;
    // Last: a new owner clears mode bits, and seeding must not depend on them.
    chownat(CWD, path, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), AtFlags::empty())
        .and_then(|()| chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()))
        .or_fail(format_args!("cannot set owner and mode of {path}"))
}

/// Of `size_kib`, or without one: up to half of the memory (tmpfs(5)).
pub fn new_tmpfs(path: &str, size_kib: u64, mode: u32) -> Outcome<()> {
    let size = if size_kib > 0 { format!("size={size_kib}k,") } else { String::new() };
    let options = CString::new(format!("{size}mode={mode:o}")).unwrap_or_default();
    mount(c"tmpfs", path, c"tmpfs", HARMLESS, options.as_c_str())
        .or_fail(format_args!("cannot mount tmpfs on {path}"))
}

/// A directory of the data partition, or of the logs' share of it, over the same directory of the root.
fn mount_data(entry: &Mount, place: &Place, instance: &Instance, held: &mut Held) -> Outcome<()> {
    let path = entry.path.as_str();
    if held.mounts.is_empty() {
        held.lock = partition::mount_partition(&place.data, &instance.name)?;
        held.mounts.push(String::from(DATA));
        if let Some(size_kib) = instance.share_kib {
            share::prepare(&place.data, size_kib)?;
        }
    }
    let top = if entry.share { LOGS } else { DATA };
    let top = open_directory(CWD, top).or_fail_hint(format_args!("cannot open {top}"), LACKS_DIRECTORY)?;
    seed::seed_directory(top.as_fd(), path)?;
    let directory = make_directories(top.as_fd(), path)?;
    // By descriptor: on the partition a service may have left symbolic links for us.
    let bound = fchdir(&directory).and_then(|()| mount_bind(".", path)).and_then(|()| chdir("/"));
    bound.or_fail_hint(format_args!("cannot mount data on {path}"), LACKS_DIRECTORY)?;
    mount_remount(path, MountFlags::BIND | HARMLESS, c"")
        .or_fail(format_args!("cannot restrict the mount {path}"))?;
    held.mounts.push(entry.path.clone());
    Ok(())
}

/// Nothing in the root can be changed from here on.
pub fn seal_root() -> Outcome<()> {
    let flags = statvfs("/").or_fail(format_args!("cannot look at /"))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    // A bind remount replaces all flags: keep those that are there (they may be locked).
    let mut kept = MountFlags::BIND | MountFlags::RDONLY;
    for (is, keep) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if flags.contains(is) {
            kept |= keep;
        }
    }
    match mount_remount("/", kept, c"") {
        // The root of a container need not be a mount of its own; a runtime that wants it writable says so.
        Err(Errno::INVAL) => {
            say(format_args!("the root stays writable: it is not a mount of its own"));
            Ok(())
        }
        outcome => outcome.or_fail(format_args!("cannot make / read-only")),
    }
}
