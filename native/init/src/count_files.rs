//! The files in which the preloaded memory manager counts (native/memory/src/counts.rs).
//!
//! Only the service's user may open them, and none may make more of them: whoever can shorten a file
//! that another process has mapped stops that process. They have all their pages from the start.

use alloc::format;

use rustix::fs::{CWD, FallocateFlags, Gid, Mode, OFlags, Uid, fallocate, fchown, openat};

use crate::failure::{OrFail, Outcome};
use crate::instance::Instance;

/// Make them, in a folder that was mounted for it.
pub fn make_all(instance: &Instance) -> Outcome<()> {
    let Some((folder, files, size)) = &instance.counts else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for number in 1..=*files {
        let path = format!("{folder}/{number}.counts");
        openat(CWD, path.as_str(), flags, Mode::from_raw_mode(0o600))
            .and_then(|file| {
                fallocate(&file, FallocateFlags::empty(), 0, *size)?;
                let owner = Uid::from_raw(instance.user);
                fchown(&file, Some(owner), Some(Gid::from_raw(instance.group)))
            })
            .or_fail(format_args!("cannot make {path} for the memory manager"))?;
    }
    Ok(())
}
