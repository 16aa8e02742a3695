//! What happens before the service's own code: the plan is read, and all arrays are laid out.
//!
//! That is at the first malloc, or when the library's constructor runs, whichever comes first. The
//! process has one thread then. A plan that is there and cannot be followed stops the process.

use core::ffi::CStr;
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::absent;
use crate::arrays::{self, Layout};
use crate::asked;
use crate::counts;
use crate::folder;
use crate::fork;
use crate::plan::{self, LARGEST, Plan};
use crate::sys::{self, Descriptor};
use crate::text::Text;
use crate::threads;

/// Where images have their plan; ONEJOB_MEMORY_PLAN names another one.
const PLAN: &CStr = c"/etc/onejob/memory.plan";
/// sysexits.h: EX_CONFIG.
const BAD_PLAN: i32 = 78;

static STATE: AtomicU8 = AtomicU8::new(NEW);
const NEW: u8 = 0;
const BEGUN: u8 = 1;
static UNSAFE_FREE: AtomicBool = AtomicBool::new(false);
static DELAY: AtomicUsize = AtomicUsize::new(0);
static KERNEL_FROM: AtomicUsize = AtomicUsize::new(LARGEST + 1);

pub fn unsafe_free() -> bool {
    UNSAFE_FREE.load(Relaxed)
}

/// Freed blocks of a thread that wait until they are used again.
pub fn delay() -> usize {
    DELAY.load(Relaxed)
}

/// Bytes from which on blocks come from the kernel.
pub fn kernel_from() -> usize {
    KERNEL_FROM.load(Relaxed)
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = begin;

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = threads::end_last;

/// Lays everything out, unless that was done.
#[inline]
pub extern "C" fn begin() {
    if STATE.load(Acquire) == NEW {
        sys::keep_errno(lay_out);
    }
}

#[cold]
#[inline(never)]
fn lay_out() {
    // From here on, a malloc of what is called below is relayed.
    STATE.store(BEGUN, Release);
    let named = sys::start_variable(b"ONEJOB_MEMORY_PLAN");
    let path = named.unwrap_or(PLAN);
    match Descriptor::to_read(path) {
        Ok(file) => follow(path, &file),
        // No plan at all: everything is relayed.
        Err(_) if named.is_none() => {}
        Err(error) => refuse(path, |text| {
            text.append(b"cannot be opened (error ")
                .append_number(error as u64);
            text.append(b"): set ONEJOB_MEMORY_PLAN to a plan, or do not set it");
        }),
    }
    asked::look_up();
    threads::begin_first();
    threads::watch_ends();
    fork::watch();
}

fn follow(path: &CStr, file: &Descriptor) {
    let size = plan::MOST_BYTES + 1;
    let Some(place) = sys::map_private(size) else {
        return refuse(path, |text| {
            text.append(b"there is no memory to read it");
        });
    };
    // SAFETY: a new mapping of this size.
    let buffer = unsafe { core::slice::from_raw_parts_mut(place.cast::<u8>(), size) };
    match file.read_into(buffer) {
        Ok(text) if text.len() <= plan::MOST_BYTES => obey(path, file, text),
        Ok(_) => refuse(path, |text| {
            text.append(b"is larger than 256 KiB");
        }),
        Err(error) => refuse(path, |text| {
            text.append(b"cannot be read (error ")
                .append_number(error as u64);
            text.append(b")");
        }),
    }
    // SAFETY: nothing refers to it any more.
    unsafe { sys::unmap(place, size) };
}

fn obey(path: &CStr, file: &Descriptor, text: &[u8]) {
    let mut buffer = [0; 4096];
    let program = sys::program(&mut buffer);
    let plan = match plan::parse(text, program) {
        Ok(plan) => plan,
        Err(refusal) => {
            return refuse(path, |text| {
                text.append(b"line ").append_number(refusal.line as u64);
                text.append(b": ").append(refusal.reason.as_bytes());
            });
        }
    };
    UNSAFE_FREE.store(plan.unsafe_free, Relaxed);
    KERNEL_FROM.store(plan.kernel_from, Relaxed);
    DELAY.store(plan.delay, Relaxed);
    if plan.section > 0 {
        absent::begin(file, text.len(), plan.absent);
        folder::begin();
        lay_out_arrays(path, &plan, program);
    }
}

fn lay_out_arrays(path: &CStr, plan: &Plan<'_>, program: &[u8]) {
    if !plan.rows().is_empty()
        && let Err(error) = arrays::lay_out(plan.rows(), plan.huge_pages)
    {
        refuse(path, |text| {
            text.append(b"its arrays need ");
            text.append_number(Layout::of(plan.rows()).bytes() as u64 / 1024);
            text.append(b" KiB, which the machine does not give (error ");
            text.append_number(error as u64).append(b")");
        });
    }
    match counts::begin(plan, program) {
        // The file is another user's: this program was started by one who may not count there.
        Ok(()) | Err(sys::EACCES) => {}
        Err(error) => {
            let mut text = Text::new();
            text.append(b"onejob memory: no counts are kept, for their file cannot be made in ");
            text.append(plan.counts.unwrap_or_default());
            text.append(b" (error ").append_number(error as u64);
            sys::print(text.append(b")\n").as_bytes());
        }
    }
}

fn refuse(path: &CStr, reason: impl FnOnce(&mut Text)) {
    let mut text = Text::new();
    text.append(b"onejob memory: plan ")
        .append(path.to_bytes())
        .append(b": ");
    reason(&mut text);
    sys::print(text.append(b"\n").as_bytes());
    // SAFETY: ends the process, which has done nothing yet.
    unsafe { sys::_exit(BAD_PLAN) }
}
