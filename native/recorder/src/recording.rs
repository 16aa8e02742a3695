//! The recording file of this process image: opened when the program starts, anew in each child.
//!
//! A shared mapping, so that the counts survive SIGKILL, _exit and exec; no descriptor stays open,
//! so that daemons that close all descriptors, or change root or user, do not disturb it. The name
//! is PID-NANOSECONDS-ATTEMPT.allocations, created exclusively: neither a reused pid nor exec gives
//! the same one again, not even where the clock is coarse.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::mode::{self, Mode};
use crate::sys;
use crate::table::{PATH_SIZE, TABLE_SIZE, Table};
use crate::text::{self, Path};

const ATTEMPTS: u64 = 100;

struct Directory(UnsafeCell<Path>);

// SAFETY: written once, by `start`, while the process has one thread; only read afterwards.
unsafe impl Sync for Directory {}

/// ONEJOB_RECORDER_DIR as it was at the start: the service may change its environment.
static DIRECTORY: Directory = Directory(UnsafeCell::new(Path::new()));

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

/// Runs before main, when the environment is there. A malloc before that is counted in the private
/// table, which is moved into the file here.
extern "C" fn start() {
    let Mode::Recording(_) = mode::mode() else {
        return;
    };
    quietly(|| match remember_directory().and_then(|()| create()) {
        Some(table) => begin(table),
        None => mode::pass(),
    });
}

fn begin(table: &'static Table) {
    let early = mode::private_table();
    read_program(early);
    table.copy_from(early);
    table.publish(current_pid());
    mode::count_in(table);
    // SAFETY: the handlers live as long as the process: a preloaded object is never unloaded.
    unsafe { sys::pthread_atfork(Some(before_fork), None, Some(after_fork_in_child)) };
}

/// Takes the snapshot that the child continues from. The file itself will not do: the parent goes
/// on counting in it. (What other threads count between here and the fork is not in the snapshot.)
unsafe extern "C" fn before_fork() {
    if let Some(table) = mode::recorded_table() {
        mode::private_table().copy_from(table);
    }
}

unsafe extern "C" fn after_fork_in_child() {
    if let Some(parents) = mode::recorded_table() {
        quietly(|| leave(parents));
    }
}

/// Moves a child from its parent's recording to one of its own.
fn leave(parents: &'static Table) {
    match create() {
        Some(table) => {
            table.copy_from(mode::private_table());
            table.mark_inherited();
            table.publish(current_pid());
            mode::count_in(table);
        }
        None => {
            parents.header.unrecorded_forks.fetch_add(1, Relaxed);
            mode::pass();
        }
    }
    // SAFETY: the child has one thread, and its mode does not name this mapping any more.
    unsafe { sys::munmap(ptr::from_ref(parents).cast_mut().cast(), TABLE_SIZE) };
}

fn remember_directory() -> Option<()> {
    // SAFETY: getenv gives null or a C string, which is copied here and now.
    let value = unsafe { text::bytes_of(sys::getenv(c"ONEJOB_RECORDER_DIR".as_ptr())) }?;
    // A relative one would mean another place after chdir.
    if !value.starts_with(b"/") {
        return None;
    }
    // SAFETY: only this function writes it, once, before main.
    let directory = unsafe { &mut *DIRECTORY.0.get() };
    directory.append(value).as_c_str().map(|_| ())
}

/// Writes the path of the running program into the table's header.
fn read_program(table: &Table) {
    let mut path = [0_u8; PATH_SIZE];
    // SAFETY: the buffer has the size that is passed.
    let size = unsafe {
        let target = path.as_mut_ptr().cast();
        sys::readlink(c"/proc/self/exe".as_ptr(), target, PATH_SIZE)
    };
    let size = usize::try_from(size).unwrap_or(0);
    table.header.path_size.store(size as u64, Relaxed);
    for (place, byte) in table.header.path.iter().zip(&path[..size]) {
        place.store(*byte, Relaxed);
    }
}

/// A new, empty table in a file of its own; None wherever that is not possible.
fn create() -> Option<&'static Table> {
    if !may_grow_files() {
        return None;
    }
    (0..ATTEMPTS).find_map(|attempt| match create_file(&new_name(attempt)) {
        Err(sys::EEXIST) => None,
        result => Some(result.ok()),
    })?
}

/// Whether a file of our size is within RLIMIT_FSIZE. Beyond it, the kernel sends SIGXFSZ.
fn may_grow_files() -> bool {
    let mut limit = sys::ResourceLimit { soft: 0, hard: 0 };
    // SAFETY: getrlimit fills the structure in.
    let result = unsafe { sys::getrlimit(sys::RLIMIT_FSIZE, &mut limit) };
    result == 0 && limit.soft >= TABLE_SIZE as u64
}

fn new_name(attempt: u64) -> Path {
    let mut time = sys::Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: clock_gettime fills the structure in.
    unsafe { sys::clock_gettime(sys::CLOCK_REALTIME, &mut time) };
    let nanoseconds = time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64;
    // SAFETY: only read since `start`.
    let directory = unsafe { &*DIRECTORY.0.get() };
    let mut name = Path::new();
    name.append(directory.as_bytes()).append(b"/");
    for number in [current_pid(), nanoseconds] {
        name.append_number(number).append(b"-");
    }
    name.append_number(attempt).append(b".allocations");
    name
}

/// Creates and maps one file; the error is an errno.
fn create_file(path: &Path) -> Result<&'static Table, c_int> {
    let name = path.as_c_str().ok_or(sys::ENOMEM)?;
    let flags = sys::O_RDWR | sys::O_CREAT | sys::O_EXCL | sys::O_CLOEXEC;
    // SAFETY: the name is a C string; the mode is that of a new file.
    let descriptor = unsafe { sys::open(name.as_ptr(), flags, 0o600 as c_int) };
    if descriptor < 0 {
        return Err(sys::errno());
    }
    let mapping = reserve(descriptor).and_then(|()| map(descriptor));
    // SAFETY: the descriptor was opened above; a mapping does not need it.
    unsafe { sys::close(descriptor) };
    if mapping.is_err() {
        // SAFETY: removes the file that was made above.
        unsafe { sys::unlink(name.as_ptr()) };
    }
    mapping
}

/// Gives the file its size. The blocks are reserved too: on a full disk a hole would be SIGBUS when
/// it is first counted in.
fn reserve(descriptor: c_int) -> Result<(), c_int> {
    // SAFETY: plain calls on an own descriptor.
    let result = unsafe { sys::fallocate(descriptor, 0, 0, TABLE_SIZE as i64) };
    if result == 0 {
        return Ok(());
    }
    if sys::errno() != sys::EOPNOTSUPP {
        return Err(sys::errno());
    }
    // SAFETY: as above.
    match unsafe { sys::ftruncate(descriptor, TABLE_SIZE as i64) } {
        0 => Ok(()),
        _ => Err(sys::errno()),
    }
}

fn map(descriptor: c_int) -> Result<&'static Table, c_int> {
    let (protection, flags) = (sys::PROT_READ_WRITE, sys::MAP_SHARED);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let place: *mut c_void = unsafe {
        sys::mmap(
            ptr::null_mut(),
            TABLE_SIZE,
            protection,
            flags,
            descriptor,
            0,
        )
    };
    if place == sys::MAP_FAILED {
        return Err(sys::errno());
    }
    // SAFETY: the mapping has the table's size, is page-aligned and zeroed, and every field is an
    // atomic, so it may be shared. It is only unmapped when no one refers to it (`leave`).
    Ok(unsafe { &*place.cast::<Table>() })
}

fn current_pid() -> u64 {
    // SAFETY: getpid cannot fail.
    u64::from(unsafe { sys::getpid() }.unsigned_abs())
}

/// Runs an action that the service must not notice: errno stays, and a pending pthread_cancel does
/// not strike in our system calls.
fn quietly(action: impl FnOnce()) {
    let errno = sys::errno();
    let mut state: c_int = 0;
    // SAFETY: changes the calling thread's own state, and puts it back below.
    unsafe { sys::pthread_setcancelstate(sys::PTHREAD_CANCEL_DISABLE, &mut state) };
    action();
    // SAFETY: as above.
    unsafe { sys::pthread_setcancelstate(state, ptr::null_mut()) };
    sys::set_errno(errno);
}
