//! The recording file of this process image: opened when the program starts, anew in each child.
//!
//! A shared mapping, so that the counts survive SIGKILL, _exit and exec; no descriptor stays open,
//! so that daemons that close all descriptors, or change root or user, do not disturb it. The name
//! is PID-NANOSECONDS-ATTEMPT.allocations, created exclusively: neither a reused pid nor exec gives
//! the same one again, not even where the clock is coarse.
//!
//! The file is one hole at first. Each page is asked for before it is used, so that a full disk is
//! an answer and not SIGBUS. All recordings of a line of forks are mapped at the same place.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::alive;
use crate::filters;
use crate::layout::{Counts, FILE_SIZE, File, NUMBERS, PATH_SIZE, Size};
use crate::ledger;
use crate::mode::{self, Mode};
use crate::sizes;
use crate::sys;
use crate::text::{self, Path};
use crate::thread;
use crate::trace;

const ATTEMPTS: u64 = 100;
/// The file in which images count that could not have one. Its one page is there from the start.
const LOST_NAME: &[u8] = b"/lost";

struct Directory(UnsafeCell<Path>);

// SAFETY: written once, by `start`, while the process has one thread; only read afterwards.
unsafe impl Sync for Directory {}

/// ONEJOB_RECORDER_DIR as it was at the start: the service may change its environment.
static DIRECTORY: Directory = Directory(UnsafeCell::new(Path::new()));
/// Entries of `sizes` with numbers below have their pages.
static SIZES_READY: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

/// Runs before main, when the environment is there. A malloc before that is counted in private
/// memory, which is moved into the file here.
extern "C" fn start() {
    let mode = mode::mode();
    quietly(|| {
        if !remember_directory() {
            return mode::pass();
        }
        let Mode::Recording(early) = mode else {
            return count_lost();
        };
        trace::prepare();
        if begin(early).is_none() {
            count_lost();
            mode::pass();
        }
    });
}

fn begin(early: &'static File) -> Option<()> {
    read_program(early);
    let file = create(|file| thread::copy_counts(early, file))?;
    copy_header(early, file);
    copy_sizes(early, file);
    install(early, file)?;
    trace::begin(|| new_name(0, b".trace"), early);
    thread::watch_ends();
    // SAFETY: the handler lives as long as the process: a preloaded object is never unloaded.
    unsafe { sys::pthread_atfork(None, None, Some(after_fork_in_child)) };
    Some(())
}

unsafe extern "C" fn after_fork_in_child() {
    follow_fork();
}

/// Moves a child from its parent's recording to one of its own. Called by the fork handler, or by
/// the first malloc or free of a child that came to be without (clone, _Fork).
pub fn follow_fork() {
    if let Some(parents) = mode::leave_parents() {
        if filters::are_there() {
            parents.header.unrecorded.fetch_add(1, Relaxed);
            return;
        }
        quietly(|| {
            if adopt(parents).is_some() {
                mode::record();
            } else {
                parents.header.unrecorded.fetch_add(1, Relaxed);
                sys::unmap(ptr::from_ref(parents).cast_mut().cast(), FILE_SIZE);
            }
        });
    }
}

fn adopt(parents: &'static File) -> Option<()> {
    let ready = numbers_in_pages(sizes::given_out());
    let table = thread::local().thread_or_common().index();
    let file = create(|file| sys::populate(&file.tables[table][..ready]))?;
    thread::go_on_alone(parents, ready);
    file.header.tables.store(table as u32 + 1, Relaxed);
    copy_header(parents, file);
    copy_sizes(parents, file);
    alive::begin_anew(file);
    install(parents, file)?;
    trace::begin(|| new_name(0, b".trace"), parents);
    Some(())
}

/// Puts the new recording in the old one's place, complete.
fn install(old: &File, new: &'static File) -> Option<()> {
    let size = numbers_in_pages(sizes::given_out());
    new.publish(current_pid());
    let place = ptr::from_ref(old).cast_mut().cast();
    let fresh = ptr::from_ref(new).cast_mut().cast();
    SIZES_READY.store(size as u32, Relaxed);
    sys::replace(place, fresh, FILE_SIZE).then_some(())
}

/// What both parent and child, or the time before and after the start, know of the program.
fn copy_header(from: &File, to: &File) {
    for (mine, theirs) in [
        (&to.header.numbers, &from.header.numbers),
        (&to.header.path_size, &from.header.path_size),
    ] {
        mine.store(theirs.load(Relaxed), Relaxed);
    }
    for (mine, theirs) in to.header.path.iter().zip(&from.header.path) {
        mine.store(theirs.load(Relaxed), Relaxed);
    }
}

fn copy_sizes(from: &File, to: &File) {
    for (mine, theirs) in to.sizes.iter().zip(&from.sizes).take(sizes::given_out()) {
        mine.key.store(theirs.key.load(Relaxed), Relaxed);
        mine.peak.store(theirs.peak.load(Relaxed), Relaxed);
    }
}

/// Gets the page of a size's entry.
pub fn reserve_size(file: &File, number: usize) -> bool {
    const A_PAGE: usize = sys::PAGE_SIZE / size_of::<Size>();
    if number < SIZES_READY.load(Relaxed) as usize {
        return true;
    }
    if filters::are_there() {
        return false;
    }
    let ready = (number / A_PAGE + 1) * A_PAGE;
    let populated = sys::populate(&file.sizes[..ready]);
    if populated {
        SIZES_READY.fetch_max(ready as u32, Relaxed);
    }
    populated
}

/// Fetches whatever could be needed later, as far as it can be had.
pub fn fetch_all(file: &File) {
    const LAST: usize = NUMBERS - 1;
    reserve_size(file, LAST);
    for thread in thread::used() {
        thread.make_ready(file, LAST);
    }
    ledger::make_place(sys::heap_end());
}

/// That many counters, rounded up to whole pages of them.
pub fn numbers_in_pages(numbers: usize) -> usize {
    const A_PAGE: usize = sys::PAGE_SIZE / size_of::<Counts>();
    numbers.next_multiple_of(A_PAGE).min(NUMBERS)
}

/// Whether recordings are wanted; then DIRECTORY is set.
fn remember_directory() -> bool {
    // SAFETY: getenv gives null or a C string, which is copied here and now.
    let value = unsafe { text::bytes_of(sys::getenv(c"ONEJOB_RECORDER_DIR".as_ptr())) };
    // A relative one would mean another place after chdir.
    let Some(value) = value.filter(|value| value.starts_with(b"/")) else {
        return false;
    };
    // SAFETY: only this function writes it, once, before main.
    let directory = unsafe { &mut *DIRECTORY.0.get() };
    directory.append(value).as_c_str().is_some()
}

/// Writes the path of the running program into the header.
fn read_program(file: &File) {
    let mut path = [0_u8; PATH_SIZE];
    // SAFETY: the buffer has the size that is passed.
    let size = unsafe {
        let target = path.as_mut_ptr().cast();
        sys::readlink(c"/proc/self/exe".as_ptr(), target, PATH_SIZE)
    };
    let size = usize::try_from(size).unwrap_or(0);
    file.header.path_size.store(size as u64, Relaxed);
    for (place, byte) in file.header.path.iter().zip(&path[..size]) {
        place.store(*byte, Relaxed);
    }
}

/// A new recording with pages for the sizes that have a number, and whatever `prepare` gives it.
fn create(prepare: impl Fn(&File) -> bool) -> Option<&'static File> {
    if !may_grow_files() {
        return None;
    }
    (0..ATTEMPTS).find_map(|attempt| {
        match create_file(&new_name(attempt, b".allocations"), &prepare) {
            Err(sys::EEXIST) => None,
            result => Some(result.ok()),
        }
    })?
}

/// Whether a file of our size is within RLIMIT_FSIZE. Beyond it, the kernel sends SIGXFSZ.
fn may_grow_files() -> bool {
    let mut limit = sys::ResourceLimit { soft: 0, hard: 0 };
    // SAFETY: getrlimit fills the structure in.
    let result = unsafe { sys::getrlimit(sys::RLIMIT_FSIZE, &mut limit) };
    result == 0 && limit.soft >= FILE_SIZE as u64
}

fn new_name(attempt: u64, ending: &[u8]) -> Path {
    let mut time = sys::Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: clock_gettime fills the structure in.
    unsafe { sys::clock_gettime(sys::CLOCK_REALTIME, &mut time) };
    let nanoseconds = time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64;
    let mut name = in_directory(b"/");
    for number in [current_pid(), nanoseconds] {
        name.append_number(number).append(b"-");
    }
    name.append_number(attempt).append(ending);
    name
}

fn in_directory(rest: &[u8]) -> Path {
    // SAFETY: only read since `start`.
    let directory = unsafe { &*DIRECTORY.0.get() };
    let mut path = Path::new();
    path.append(directory.as_bytes()).append(rest);
    path
}

/// Creates and maps one file; the error is an errno.
fn create_file(path: &Path, prepare: impl Fn(&File) -> bool) -> Result<&'static File, c_int> {
    let name = path.as_c_str().ok_or(sys::ENOMEM)?;
    let flags = sys::O_RDWR | sys::O_CREAT | sys::O_EXCL | sys::O_CLOEXEC;
    // SAFETY: the name is a C string; the mode is that of a new file.
    let descriptor = unsafe { sys::open(name.as_ptr(), flags, 0o600 as c_int) };
    if descriptor < 0 {
        return Err(sys::errno());
    }
    let file = map(descriptor, prepare);
    if file.is_err() {
        // SAFETY: removes the file that was made above, while it still looks used to the reader.
        unsafe { sys::unlink(name.as_ptr()) };
    }
    // SAFETY: the descriptor was opened above; a mapping does not need it.
    unsafe { sys::close(descriptor) };
    file
}

fn map(descriptor: c_int, prepare: impl Fn(&File) -> bool) -> Result<&'static File, c_int> {
    // SAFETY: a plain call on an own descriptor.
    if unsafe { sys::ftruncate(descriptor, FILE_SIZE as i64) } != 0 {
        return Err(sys::errno());
    }
    let place = sys::map_file(descriptor, FILE_SIZE)?;
    // SAFETY: the mapping has the file's size, is page-aligned and zeroed, and every field is an
    // atomic, so it may be shared. It is only unmapped when no one refers to it.
    let file = unsafe { &*place.cast::<File>() };
    let sizes = &file.sizes[..numbers_in_pages(sizes::given_out())];
    if sys::populate(slice::from_ref(&file.header)) && sys::populate(sizes) && prepare(file) {
        return Ok(file);
    }
    sys::unmap(place, FILE_SIZE);
    Err(sys::ENOMEM)
}

/// Counts a process image that has no recording, in the file that is shared for that.
fn count_lost() {
    let path = in_directory(LOST_NAME);
    let Some(name) = path.as_c_str() else {
        return;
    };
    // SAFETY: the name is a C string.
    let descriptor = unsafe { sys::open(name.as_ptr(), sys::O_RDWR | sys::O_CLOEXEC) };
    if descriptor < 0 {
        return;
    }
    if let Ok(place) = sys::map_file(descriptor, sys::PAGE_SIZE) {
        // SAFETY: a page that is mapped; it starts with a counter.
        let count = unsafe { &*place.cast::<AtomicU64>() };
        if sys::populate(slice::from_ref(count)) {
            count.fetch_add(1, Relaxed);
        }
        sys::unmap(place, sys::PAGE_SIZE);
    }
    // SAFETY: the descriptor was opened above.
    unsafe { sys::close(descriptor) };
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
