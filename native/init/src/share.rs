//! The logs' share of the data partition: a folder that cannot grow beyond its size, whoever writes there.
//!
//! In a machine it is a project of the partition's quotas (quotactl(2), Documentation/filesystems/ext4);
//! in a container, whoever runs that has mounted a file system of its own there.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, fstat, mkdirat, stat};
use rustix::io::Result;

use crate::console::say;
use crate::failure::{OrFail, Outcome, Reason};
use crate::files::open_directory;
use crate::mounts::new_tmpfs;
use crate::partition::DATA;
use crate::place::DataAt;
use crate::sys;

pub const LOGS: &str = "/.onejob/data/.onejob-logs";

const QUOTACTL_FD: usize = 443; // arch/x86/entry/syscalls/syscall_64.tbl
const SET_PROJECT_QUOTA: usize = 0x80_0008 << 8 | 2; // QCMD(Q_SETQUOTA, PRJQUOTA), linux/quota.h
const BLOCK_AND_INODE_LIMITS: u64 = 1 | 4; // QIF_BLIMITS, QIF_ILIMITS
const GET_ATTRIBUTES: usize = 0x801c_581f; // FS_IOC_FSGETXATTR, linux/fs.h
const SET_ATTRIBUTES: usize = 0x401c_5820;
const INHERIT: u64 = 0x200; // FS_XFLAG_PROJINHERIT
/// Any number but 0, which is that of all else.
const PROJECT: u32 = 1;
/// As mke2fs(8) makes them: one inode for so much.
const KIB_OF_INODE: u64 = 16;

/// Have the folder, on the mounted partition, and keep it to its size. Where that cannot be done, the
/// console says so.
pub fn prepare(data: &DataAt, size_kib: u64) -> Outcome<()> {
    let _ = mkdirat(CWD, LOGS, Mode::from_raw_mode(0o755)); // of an earlier boot
    let folder = open_directory(CWD, LOGS).or_fail(format_args!("cannot open {LOGS}"))?;
    match data {
        DataAt::Memory { .. } => return new_tmpfs(LOGS, size_kib, 0o755),
        DataAt::Device(_) => {
            if let Err(error) = limit(&folder, size_kib) {
                say(format_args!(
                    "logs can fill the data disk, which keeps no quotas by project ({}): make it by \
                     mkfs.ext4 -O quota,project -E quotatype=prjquota",
                    Reason(error)
                ));
            }
        }
        DataAt::Directory | DataAt::Nowhere => {
            let beside = fstat(&folder).ok().zip(stat(DATA).ok());
            if beside.is_some_and(|(logs, data)| logs.st_dev == data.st_dev) {
                say(format_args!("logs can fill the data partition: nothing is mounted on {LOGS}"));
            }
        }
    }
    Ok(())
}

/// What is made in the folder from now on is of its project; how much that may be.
fn limit(folder: &OwnedFd, size_kib: u64) -> Result<()> {
    // struct fsxattr: flags, extent size; extents, project; copy-on-write extent size, padding
    let mut attributes = [0_u64; 4];
    // SAFETY: the kernel reads and writes 28 bytes of the 32.
    unsafe {
        sys::control_device(folder.as_fd(), GET_ATTRIBUTES, &mut attributes)?;
        attributes[0] |= INHERIT;
        attributes[1] = attributes[1] & 0xffff_ffff | u64::from(PROJECT) << 32;
        sys::control_device(folder.as_fd(), SET_ATTRIBUTES, &mut attributes)?;
    }
    // struct if_dqblk: hard and soft limit of blocks (KiB), space, the same of inodes, times, what is valid
    let limits = [size_kib, 0, 0, size_kib / KIB_OF_INODE, 0, 0, 0, 0, BLOCK_AND_INODE_LIMITS];
    let words =
        [folder.as_raw_fd() as usize, SET_PROJECT_QUOTA, PROJECT as usize, limits.as_ptr() as usize, 0];
    // SAFETY: the kernel reads the 72 bytes of `limits`, which outlives the call.
    unsafe { sys::call(QUOTACTL_FD, words).map(|_| ()) }
}
