//! The C library's functions that take a path, wrapped: what the kernel refuses them is noted.
//!
//! A call that succeeds costs one branch more. What the library itself calls inside (getaddrinfo,
//! the dynamic linker) does not pass here, nor what a program asks of the kernel directly.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::folder;
use crate::raw;
use crate::sys::{self, AT_FDCWD};
use crate::unexpected::{self, How};

type Path = *const c_char;

const O_ACCMODE: c_int = 3;
const O_CREAT: c_int = 0o100;
const O_APPEND: c_int = 0o2000;
const O_DIRECTORY: c_int = 0o200_000;
const O_PATH: c_int = 0o10_000_000;

/// What a function answers when it has failed; the error is an errno.
trait Answer: Copy {
    fn error(self) -> Option<c_int>;
}

impl Answer for c_int {
    #[inline(always)]
    fn error(self) -> Option<c_int> {
        (self < 0).then(sys::errno)
    }
}

impl Answer for isize {
    #[inline(always)]
    fn error(self) -> Option<c_int> {
        (self < 0).then(sys::errno)
    }
}

impl Answer for *mut c_void {
    #[inline(always)]
    fn error(self) -> Option<c_int> {
        self.is_null().then(sys::errno)
    }
}

/// Of a function that answers with the error itself.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct ErrorNumber(c_int);

impl Answer for ErrorNumber {
    #[inline(always)]
    fn error(self) -> Option<c_int> {
        (self.0 != 0).then_some(self.0)
    }
}

/// Each function: its arguments, its answer, and of what it takes the folder, the path and the use.
/// Those with variable arguments have the one that may follow: where none was given, a register is
/// passed on that nobody reads (System V ABI, AMD64).
macro_rules! entry_points {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty: $folder:expr, $path:expr, $how:expr;)*) => {
        /// Addresses of the real functions; null until looked up.
        #[allow(non_upper_case_globals)]
        mod address {
            use super::{AtomicPtr, c_void, ptr};
            $(pub static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Looks all of them up while the process has one thread: later, in a handler of a signal
        /// or a child by fork, the dynamic linker might wait for a thread that is not there.
        pub fn look_up() {
            $(address::$name.store(find(concat!(stringify!($name), "\0")), Relaxed);)*
        }

        $(
            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $kind),*) -> $answer {
                type Function = unsafe extern "C" fn($($kind),*) -> $answer;
                let place = known(&address::$name, concat!(stringify!($name), "\0"));
                // SAFETY: the function of this name, with its own arguments.
                let answer = unsafe {
                    core::mem::transmute::<*mut c_void, Function>(place)($($argument),*)
                };
                if let Some(error) = answer.error() {
                    // SAFETY: a path that the kernel has looked for can be read.
                    unsafe { unexpected::note(error, $folder, $path, $how) };
                }
                answer
            }
        )*
    };
}

entry_points! {
    open(path: Path, flags: c_int, mode: c_uint) -> c_int: AT_FDCWD, path, of_open(flags);
    open64(path: Path, flags: c_int, mode: c_uint) -> c_int: AT_FDCWD, path, of_open(flags);
    openat(folder: c_int, path: Path, flags: c_int, mode: c_uint) -> c_int: folder, path, of_open(flags);
    openat64(folder: c_int, path: Path, flags: c_int, mode: c_uint) -> c_int: folder, path, of_open(flags);
    __open_2(path: Path, flags: c_int) -> c_int: AT_FDCWD, path, of_open(flags);
    __open64_2(path: Path, flags: c_int) -> c_int: AT_FDCWD, path, of_open(flags);
    __openat_2(folder: c_int, path: Path, flags: c_int) -> c_int: folder, path, of_open(flags);
    __openat64_2(folder: c_int, path: Path, flags: c_int) -> c_int: folder, path, of_open(flags);
    creat(path: Path, mode: c_uint) -> c_int: AT_FDCWD, path, How::Created;
    creat64(path: Path, mode: c_uint) -> c_int: AT_FDCWD, path, How::Created;
    fopen(path: Path, mode: Path) -> *mut c_void: AT_FDCWD, path, of_mode(mode);
    fopen64(path: Path, mode: Path) -> *mut c_void: AT_FDCWD, path, of_mode(mode);
    opendir(path: Path) -> *mut c_void: AT_FDCWD, path, How::Listed;
    stat(path: Path, found: *mut c_void) -> c_int: AT_FDCWD, path, How::LookedUp;
    stat64(path: Path, found: *mut c_void) -> c_int: AT_FDCWD, path, How::LookedUp;
    lstat(path: Path, found: *mut c_void) -> c_int: AT_FDCWD, path, How::LookedUp;
    lstat64(path: Path, found: *mut c_void) -> c_int: AT_FDCWD, path, How::LookedUp;
    fstatat(folder: c_int, path: Path, found: *mut c_void, flags: c_int) -> c_int: folder, path, How::LookedUp;
    fstatat64(folder: c_int, path: Path, found: *mut c_void, flags: c_int) -> c_int: folder, path, How::LookedUp;
    statx(folder: c_int, path: Path, flags: c_int, mask: c_uint, found: *mut c_void) -> c_int: folder, path, How::LookedUp;
    access(path: Path, mode: c_int) -> c_int: AT_FDCWD, path, How::LookedUp;
    faccessat(folder: c_int, path: Path, mode: c_int, flags: c_int) -> c_int: folder, path, How::LookedUp;
    readlink(path: Path, target: *mut c_void, size: usize) -> isize: AT_FDCWD, path, How::LookedUp;
    execve(path: Path, arguments: *const Path, environment: *const Path) -> c_int: AT_FDCWD, path, How::Executed;
    execv(path: Path, arguments: *const Path) -> c_int: AT_FDCWD, path, How::Executed;
    posix_spawn(pid: *mut c_int, path: Path, actions: *const c_void, attributes: *const c_void, arguments: *const Path, environment: *const Path) -> ErrorNumber: AT_FDCWD, path, How::Executed;
    mkdir(path: Path, mode: c_uint) -> c_int: AT_FDCWD, path, How::Created;
    mkdirat(folder: c_int, path: Path, mode: c_uint) -> c_int: folder, path, How::Created;
    rmdir(path: Path) -> c_int: AT_FDCWD, path, How::Removed;
    unlink(path: Path) -> c_int: AT_FDCWD, path, How::Removed;
    unlinkat(folder: c_int, path: Path, flags: c_int) -> c_int: folder, path, How::Removed;
    rename(from: Path, to: Path) -> c_int: AT_FDCWD, from, How::RenamedFrom;
    renameat(old: c_int, from: Path, new: c_int, to: Path) -> c_int: old, from, How::RenamedFrom;
    truncate(path: Path, length: i64) -> c_int: AT_FDCWD, path, How::Written;
    truncate64(path: Path, length: i64) -> c_int: AT_FDCWD, path, How::Written;
    chmod(path: Path, mode: c_uint) -> c_int: AT_FDCWD, path, How::Changed;
    chown(path: Path, owner: c_uint, group: c_uint) -> c_int: AT_FDCWD, path, How::Changed;
}

#[inline(always)]
fn known(address: &AtomicPtr<c_void>, name: &str) -> *mut c_void {
    let place = address.load(Relaxed);
    if place.is_null() {
        find_late(address, name)
    } else {
        place
    }
}

/// Before `look_up`: what another object's constructor asks for.
#[cold]
#[inline(never)]
fn find_late(address: &AtomicPtr<c_void>, name: &str) -> *mut c_void {
    let place = sys::keep_errno(|| find(name));
    address.store(place, Relaxed);
    place
}

/// The function of the next object that has one, which is the C library: it has all of them.
fn find(name: &str) -> *mut c_void {
    let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) else {
        return ptr::null_mut();
    };
    // SAFETY: a C string.
    unsafe { sys::dlsym(sys::RTLD_NEXT, name.as_ptr()) }
}

fn of_open(flags: c_int) -> How {
    match flags {
        _ if flags & O_PATH != 0 => How::LookedUp,
        _ if flags & O_DIRECTORY == O_DIRECTORY => How::Listed,
        _ if flags & O_ACCMODE == 0 => How::Read,
        _ if flags & O_APPEND != 0 => How::Appended,
        _ if flags & O_CREAT != 0 => How::Created,
        _ => How::Written,
    }
}

/// Of fopen(3)'s mode. One that is none fails with EINVAL, and is not noted.
fn of_mode(mode: Path) -> How {
    // SAFETY: as fopen(3): a C string, of which at most the end is read.
    let text = unsafe { CStr::from_ptr(mode) }.to_bytes();
    match text.first() {
        Some(b'r') if !text.contains(&b'+') => How::Read,
        Some(b'r') => How::Written,
        Some(b'a') => How::Appended,
        _ => How::Created,
    }
}

/// # Safety
/// As chdir(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chdir(path: Path) -> c_int {
    // SAFETY: as the caller promises.
    let answer = unsafe { raw::change_folder(path) };
    match answer.error() {
        // SAFETY: a path that the kernel has followed, or looked for, can be read.
        None => unsafe { folder::follow(path) },
        // SAFETY: likewise.
        Some(error) => unsafe { unexpected::note(error, AT_FDCWD, path, How::LookedUp) },
    }
    answer
}

/// # Safety
/// As fchdir(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fchdir(descriptor: c_int) -> c_int {
    let answer = raw::change_folder_to(descriptor);
    if answer == 0 {
        folder::forget();
    }
    answer
}
