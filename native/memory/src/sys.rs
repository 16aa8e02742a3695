//! The few C library functions and constants that are called, declared by hand.
//!
//! None of them allocates. The libc crate is avoided because its `std` feature, switched on by any
//! other member of the workspace, would link std into this object.

use core::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr;

use crate::raw;

pub const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
pub const RTLD_DEFAULT: *mut c_void = ptr::null_mut();
pub const RTLD_LAZY_NOLOAD: c_int = 1 | 4;

pub const EINVAL: c_int = 22;
pub const ENOMEM: c_int = 12;
pub const ENOSYS: c_int = 38;
pub const EACCES: c_int = 13;

const O_RDONLY: c_int = 0;
const O_RDWR: c_int = 0o2;
const O_CREAT: c_int = 0o100;
const O_CLOEXEC: c_int = 0o2_000_000;
const O_NOFOLLOW: c_int = 0o400_000;

const SEEK_END: c_int = 2;

const PROT_NONE: c_int = 0;
const PROT_READ: c_int = 1;
const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE: c_int = 2;
const MAP_PRIVATE_ANONYMOUS: c_int = 2 | 0x20;
const MAP_POPULATE: c_int = 0x8000;
const MAP_NORESERVE: c_int = 0x4000;
const MAP_FAILED: *mut c_void = -1_isize as *mut c_void;
const MREMAP_MAYMOVE: c_int = 1;
const MREMAP_FIXED: c_int = 2;
const MADV_HUGEPAGE: c_int = 14;
const MADV_POPULATE_WRITE: c_int = 23;
const MADV_GUARD_INSTALL: c_int = 102;
pub const AT_FDCWD: c_int = -100;
const AT_SECURE: c_ulong = 23;
const AT_RANDOM: c_ulong = 25;
const AT_EXECFN: c_ulong = 31;

pub const PAGE_SIZE: usize = 4096;
pub const STDERR: c_int = 2;

pub type KeyDestructor = Option<unsafe extern "C" fn(*mut c_void)>;
pub type ForkHandler = Option<unsafe extern "C" fn()>;

#[link(name = "c")]
unsafe extern "C" {
    /// Where the kernel put argc, the arguments and the environment; the dynamic linker sets it
    /// before it calls malloc, and `environ` only after.
    static __libc_stack_end: *const usize;

    pub fn abort() -> !;
    pub fn _exit(status: c_int) -> !;
    pub fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    pub fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    pub fn getpid() -> c_int;
    pub fn pthread_atfork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> c_int;
    pub fn pthread_key_create(key: *mut c_uint, end: KeyDestructor) -> c_int;
    pub fn pthread_setspecific(key: c_uint, value: *const c_void) -> c_int;
    fn getauxval(kind: c_ulong) -> c_ulong;
    fn readlinkat(folder: c_int, path: *const c_char, target: *mut u8, size: usize) -> isize;
    fn read(descriptor: c_int, buffer: *mut u8, size: usize) -> isize;
    fn write(descriptor: c_int, text: *const u8, size: usize) -> isize;
    fn close(descriptor: c_int) -> c_int;
    fn ftruncate(descriptor: c_int, length: i64) -> c_int;
    fn lseek(descriptor: c_int, offset: i64, origin: c_int) -> i64;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        descriptor: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
    fn mremap(old: *mut c_void, old_size: usize, size: usize, flags: c_int, ...) -> *mut c_void;
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int;
    fn __errno_location() -> *mut c_int;
}

/// The calling thread's errno.
pub fn errno() -> c_int {
    // SAFETY: the address is valid for the calling thread.
    unsafe { *__errno_location() }
}

pub fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value }
}

pub fn keep_errno<T>(action: impl FnOnce() -> T) -> T {
    let before = errno();
    let result = action();
    set_errno(before);
    result
}

/// A variable of the environment that the process was started with; None in a process that was
/// given rights by its file (AT_SECURE), whose starter is not to be believed.
pub fn start_variable(name: &[u8]) -> Option<&'static CStr> {
    // SAFETY: getauxval reads what the kernel gave. The stack holds argc, argc arguments, null, then
    // the environment up to another null; each is a C string that stays.
    unsafe {
        if getauxval(AT_SECURE) != 0 {
            return None;
        }
        let mut next = __libc_stack_end.add(*__libc_stack_end + 2);
        while *next != 0 {
            let text = CStr::from_ptr(ptr::with_exposed_provenance(*next));
            if let Some(rest) = text.to_bytes_with_nul().strip_prefix(name)
                && let Some(value) = rest.strip_prefix(b"=")
            {
                return CStr::from_bytes_with_nul(value).ok();
            }
            next = next.add(1);
        }
    }
    None
}

/// Where a symbolic link leads, as far as it fits; empty where there is none.
pub fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    let (place, size) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: at most as many bytes are written as there are.
    let length = unsafe { readlinkat(AT_FDCWD, path.as_ptr(), place, size) };
    &buffer[..usize::try_from(length).unwrap_or(0)]
}

/// Where this program lies, as far as it fits. Without /proc, as it was named when it was started.
pub fn program(buffer: &mut [u8]) -> &[u8] {
    let length = read_link(c"/proc/self/exe", buffer).len();
    if length > 0 {
        return &buffer[..length];
    }
    // SAFETY: 0, or a C string that stays.
    unsafe {
        match getauxval(AT_EXECFN) {
            0 => &[],
            name => CStr::from_ptr(ptr::with_exposed_provenance(name as usize)).to_bytes(),
        }
    }
}

/// What the kernel has drawn for this process when it was started.
pub fn random() -> [u8; 16] {
    // SAFETY: getauxval reads what the kernel gave: 0, or the address of 16 bytes.
    unsafe {
        match getauxval(AT_RANDOM) {
            0 => [0; 16],
            place => *ptr::with_exposed_provenance(place as usize),
        }
    }
}

/// A descriptor that closes itself.
pub struct Descriptor(c_int);

impl Descriptor {
    fn open(path: &CStr, flags: c_int) -> Result<Self, c_int> {
        raw::open(path, flags | O_CLOEXEC, 0o600).map(Descriptor)
    }

    /// For reading.
    pub fn to_read(path: &CStr) -> Result<Self, c_int> {
        Self::open(path, O_RDONLY)
    }

    /// For both; made where it is not there.
    pub fn to_change(path: &CStr) -> Result<Self, c_int> {
        Self::open(path, O_RDWR | O_CREAT | O_NOFOLLOW)
    }

    /// All of it, as far as there is room.
    pub fn read_into<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], c_int> {
        let mut length = 0;
        while length < buffer.len() {
            let rest = &mut buffer[length..];
            // SAFETY: at most as many bytes are written as there are.
            let got = unsafe { read(self.0, rest.as_mut_ptr(), rest.len()) };
            match usize::try_from(got) {
                Err(_) => return Err(errno()),
                Ok(0) => break,
                Ok(got) => length += got,
            }
        }
        Ok(&buffer[..length])
    }

    /// Bytes of the file; None where it is none.
    pub fn size(&self) -> Option<usize> {
        // SAFETY: changes only where the descriptor is in the file.
        usize::try_from(unsafe { lseek(self.0, 0, SEEK_END) }).ok()
    }

    pub fn resize(&self, size: usize) -> Result<(), c_int> {
        // SAFETY: changes only the file.
        match unsafe { ftruncate(self.0, size as i64) } {
            0 => Ok(()),
            _ => Err(errno()),
        }
    }

    pub fn map_to_read(&self, size: usize) -> Result<*mut c_void, c_int> {
        map(size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, self.0)
    }

    pub fn map_shared(&self, size: usize) -> Result<*mut c_void, c_int> {
        map(size, PROT_READ_WRITE, MAP_SHARED, self.0)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: owned, and not used afterwards.
        unsafe { close(self.0) };
    }
}

pub fn print(text: &[u8]) {
    // SAFETY: reads the text; a message that cannot be written is lost.
    unsafe { write(STDERR, text.as_ptr(), text.len()) };
}

/// New zeroed memory of this process alone, used page by page.
pub fn map_private(size: usize) -> Option<*mut c_void> {
    let kind = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE;
    map(size, PROT_READ_WRITE, kind, -1).ok()
}

/// New zeroed memory that counts against the machine's from now on; the error is an errno.
pub fn map_counted(size: usize) -> Result<*mut c_void, c_int> {
    map(size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1)
}

fn map(
    size: usize,
    protection: c_int,
    kind: c_int,
    descriptor: c_int,
) -> Result<*mut c_void, c_int> {
    // SAFETY: a new mapping where the kernel chooses.
    let found = unsafe { mmap(ptr::null_mut(), size, protection, kind, descriptor, 0) };
    if found == MAP_FAILED {
        return Err(errno());
    }
    Ok(found)
}

/// Where glibc says whether the process has one thread (sys/single_threaded.h); null where it does
/// not. It was loaded before this object.
pub fn single_threaded_flag() -> *mut c_void {
    // SAFETY: the name is a C string.
    unsafe { dlsym(RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }
}

/// Another size for a mapping, if it can be had where it lies.
///
/// # Safety
/// The caller's mapping, that nobody else uses.
pub unsafe fn resize_in_place(place: *mut c_void, old: usize, new: usize) -> bool {
    // SAFETY: see above.
    keep_errno(|| unsafe { mremap(place, old, new, 0) } != MAP_FAILED)
}

/// Moves the pages of a mapping to another one, which they replace.
///
/// # Safety
/// The caller's mappings of these sizes, that nobody else uses.
pub unsafe fn move_onto(old: *mut c_void, old_size: usize, new: *mut c_void, size: usize) -> bool {
    let kind = MREMAP_MAYMOVE | MREMAP_FIXED;
    // SAFETY: see above.
    unsafe { mremap(old, old_size, size, kind, new) != MAP_FAILED }
}

/// # Safety
/// The caller's mapping, which nobody refers to any more.
pub unsafe fn unmap(place: *mut c_void, size: usize) {
    // SAFETY: see above.
    keep_errno(|| unsafe { munmap(place, size) });
}

/// Whoever touches these pages is stopped by the kernel. As an advice where the kernel knows that
/// (Linux 6.13): protected otherwise, they are a mapping of their own, and forks are slower.
///
/// # Safety
/// The caller's whole pages, that hold nothing.
pub unsafe fn forbid(place: *mut c_void, size: usize) {
    // SAFETY: see above. Where it fails there is no guard, and all else is the same.
    unsafe {
        if madvise(place, size, MADV_GUARD_INSTALL) != 0 {
            mprotect(place, size, PROT_NONE);
        }
    }
}

/// Asks for huge pages; where there are none, small ones come.
pub fn prefer_huge_pages(place: *mut c_void, size: usize) {
    // SAFETY: changes nothing that can be seen.
    keep_errno(|| unsafe { madvise(place, size, MADV_HUGEPAGE) });
}

/// Gets all these pages, to be written: no fault later, and a lack of memory is an answer.
pub fn populate(place: *const c_void, size: usize) -> Result<(), c_int> {
    let start = place.addr() / PAGE_SIZE * PAGE_SIZE;
    let length = place.addr() + size - start;
    let place = place.with_addr(start).cast_mut();
    keep_errno(|| {
        // SAFETY: changes nothing that can be seen in memory that is mapped.
        if unsafe { madvise(place, length, MADV_POPULATE_WRITE) } == 0 {
            return Ok(());
        }
        match errno() {
            // Linux before 5.14 does not know this advice.
            EINVAL => {
                touch(place, length);
                Ok(())
            }
            error => Err(error),
        }
    })
}

fn touch(place: *mut c_void, size: usize) {
    for offset in (0..size).step_by(PAGE_SIZE) {
        // SAFETY: within mapped memory that can be written; the byte stays as it is.
        unsafe {
            let byte = place.cast::<u8>().add(offset);
            byte.write_volatile(byte.read_volatile());
        }
    }
}
