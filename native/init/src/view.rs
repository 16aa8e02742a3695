//! What the service sees less than process 1: its mounts are copies of its own, and some are closed.

use alloc::format;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, statat, unlinkat};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_change, mount_remount, unmount};

use crate::files::open_directory;
use crate::instance::{Kind, Mount};
use crate::mounts::flags_of;
use crate::partition::DATA;
use crate::sys;

const DEEPEST: usize = 8;

/// Of the service's own process, before it gives up its rights: from here on, what it and its
/// children have mounted is apart from what process 1 has. Kernel files that no drill changed are
/// read-only; the whole of the data partition is not to be seen, but for the folders mounted from it.
pub fn narrow(mounts: &[Mount]) -> Result<()> {
    sys::unshare_mounts()?;
    match mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC) {
        // The root of a container need not be a mount of its own (see seal_root).
        Err(Errno::INVAL) => {}
        outcome => outcome?,
    }
    match unmount(DATA, UnmountFlags::DETACH) {
        // The plan keeps nothing.
        Err(Errno::INVAL | Errno::NOENT) => {}
        outcome => outcome?,
    }
    for entry in mounts.iter().filter(|entry| entry.read_only) {
        mount_remount(
            entry.path.as_str(),
            MountFlags::BIND | MountFlags::RDONLY | flags_of(entry.kind),
            c"",
        )?;
    }
    Ok(())
}

/// Take the devices away that the plan does not name. Process 1 has opened those that it needs.
pub fn strip_devices(mounts: &[Mount]) -> Result<()> {
    for entry in mounts.iter().filter(|entry| entry.kind == Kind::Devtmpfs) {
        if let Some(devices) = &entry.devices {
            let keep = |path: &str, kind: FileType| {
                let by_rule = entry.block_devices && kind == FileType::BlockDevice;
                by_rule || devices.iter().any(|device| device == path)
            };
            strip(open_directory(CWD, entry.path.as_str())?, &entry.path, &keep, 0)?;
        }
    }
    Ok(())
}

/// Device nodes directly in the directory, and in those below it. What cannot be removed, a
/// container runtime has mounted there, and answers for it.
fn strip(directory: OwnedFd, path: &str, keep: &impl Fn(&str, FileType) -> bool, depth: usize) -> Result<()> {
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Ok(text) = name.to_str() else { continue };
        if text == "." || text == ".." {
            continue;
        }
        let below = format!("{path}/{text}");
        match FileType::from_raw_mode(statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) if !keep(&below, kind) => {
                let _ = unlinkat(&directory, name, AtFlags::empty());
            }
            FileType::Directory if depth < DEEPEST => {
                strip(open_directory(directory.as_fd(), name)?, &below, keep, depth + 1)?;
            }
            _ => {}
        }
    }
    Ok(())
}
