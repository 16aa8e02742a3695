//! What process 1 keeps on the data partition: a folder that is root's alone, files that are whole.

use alloc::format;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, fdatasync, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Result;

use crate::console::say;
use crate::cores::Cores;
use crate::failure::{Failure, OrFail, Outcome, Reason};
use crate::files::{open_directory, write_whole};
use crate::instance::Instance;
use crate::partition::DATA;
use crate::place::{DataAt, Place};
use crate::ring;

/// Beside the folders of the service, of which none begins so.
const FOLDER: &str = ".onejob";

pub struct Records {
    folder: OwnedFd,
    /// The last write came to nothing, which was said.
    failed: bool,
}

impl Records {
    /// On the mounted data partition. A service that is root may have put anything in its place:
    /// then there are none, and the console says so.
    pub fn open() -> Option<Records> {
        match open_folder() {
            Ok(folder) => Some(Records { folder, failed: false }),
            Err(failure) => {
                say(format_args!("nothing is kept of what is observed: {failure}"));
                None
            }
        }
    }

    /// Begin to keep words in the ring; false where they are forgotten in any case, or cannot be kept.
    pub fn keep_words(&self, place: &Place) -> bool {
        if matches!(place.data, DataAt::Memory { .. }) {
            return false;
        }
        let opened = ring::open_in(self.folder.as_fd(), place.machine);
        if let Err(error) = opened {
            say(format_args!("no words are kept on the data partition: {}", Reason(error)));
        }
        opened.is_ok()
    }

    /// Where core files are kept, if the plan has some: not in memory.
    pub fn cores(&self, instance: &Instance, place: &Place) -> Option<Cores> {
        let sizes = instance.core_files.filter(|_| !matches!(place.data, DataAt::Memory { .. }))?;
        Some(Cores::new(open_directory(self.folder.as_fd(), ".").ok()?, sizes))
    }

    /// Put `content` in the place of the file `name`, at once and as a whole; what was there before
    /// stays where that fails. A failure is said once, and again after it went well.
    pub fn keep(&mut self, name: &str, content: &[u8]) {
        let kept = replace(self.folder.as_fd(), name, content);
        if let (Err(error), false) = (kept, self.failed) {
            say(format_args!("cannot keep {name} on the data partition: {}", Reason(error)));
        }
        self.failed = kept.is_err();
    }
}

fn open_folder() -> Outcome<OwnedFd> {
    let what = format_args!("cannot open {DATA}/{FOLDER}");
    let top = open_directory(CWD, DATA).or_fail(what)?;
    let _ = mkdirat(&top, FOLDER, Mode::RWXU); // it may be there
    let folder = open_directory(top.as_fd(), FOLDER)
        .or_fail_hint(what, "it must be a folder: remove what lies in its place")?;
    if fstat(&folder).or_fail(what)?.st_uid != 0 {
        return Err(Failure::new(format_args!("{DATA}/{FOLDER} is not root's"), "remove it"));
    }
    fchmod(&folder, Mode::RWXU).or_fail(what)?;
    Ok(folder)
}

fn replace(folder: BorrowedFd, name: &str, content: &[u8]) -> Result<()> {
    let unfinished = format!("{name}.new");
    let _ = unlinkat(folder, unfinished.as_str(), AtFlags::empty()); // of a power failure
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, unfinished.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    let written = write_whole(&file, content)
        .and_then(|()| fdatasync(&file))
        .and_then(|()| renameat(folder, unfinished.as_str(), folder, name));
    if written.is_err() {
        let _ = unlinkat(folder, unfinished.as_str(), AtFlags::empty()); // it would keep a full disk full
    }
    written
}
