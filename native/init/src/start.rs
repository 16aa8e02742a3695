//! What a program without libc must bring itself: entry point, allocator, memory functions, panic.

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;
use core::ptr::null_mut;

use crate::{console, shutdown, sys};

// The kernel enters with the stack pointer at argc and with no return address (System V ABI for
// x86-64, section 3.4.1). The zero frame pointer ends stack walks; `call` wants 16-byte alignment.
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {enter}",
    "ud2",
    enter = sym enter,
);

/// Collect the environment that lies above argc and argv on the first stack, then start.
unsafe extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc, argv[], NULL, envp[], NULL here; they live as long as the process.
    let environment = unsafe {
        let argument_count = *stack;
        let first = stack.add(argument_count + 2).cast::<*const c_char>();
        (0..)
            .map(|index| *first.add(index))
            .take_while(|word| !word.is_null())
            .map(|word| CStr::from_ptr(word))
            .collect::<Vec<&'static CStr>>()
    };
    crate::main(&environment)
}

/// Free lists of power-of-two blocks, filled from chunks that the kernel maps. Blocks never move to
/// another size, so memory stays bounded by the largest mix ever alive, however long process 1 runs.
struct Blocks(UnsafeCell<Pool>);

struct Pool {
    free: [*mut u8; 33],
    next: usize,
    end: usize,
}

const SMALLEST: usize = 4; // 16 bytes
const CHUNK: usize = 256 * 1024;

// SAFETY: process 1 has one thread; its child after `clone` works on a copy.
unsafe impl Sync for Blocks {}

#[global_allocator]
static BLOCKS: Blocks = Blocks(UnsafeCell::new(Pool { free: [null_mut(); 33], next: 0, end: 0 }));

/// Which power of two holds this layout; blocks are aligned to their size up to a page.
fn class_of(layout: Layout) -> usize {
    let size = layout.size().max(layout.align()).max(1);
    (size.next_power_of_two().trailing_zeros() as usize).max(SMALLEST)
}

impl Pool {
    fn carve(&mut self, size: usize) -> *mut u8 {
        let align = size.min(4096);
        let start = (self.next + align - 1) & !(align - 1);
        if self.next != 0 && start + size <= self.end {
            self.next = start + size;
            return start as *mut u8;
        }
        let length = size.max(CHUNK);
        let Ok(address) = sys::map_private(length) else { return null_mut() };
        if length > size {
            (self.next, self.end) = (address + size, address + length);
        }
        address as *mut u8
    }
}

// SAFETY: blocks are disjoint, at least as large and as aligned as asked (up to a page).
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = class_of(layout);
        if class > 32 || layout.align() > 4096 {
            return null_mut();
        }
        // SAFETY: one thread, and no reference to the pool outlives a call.
        let pool = unsafe { &mut *self.0.get() };
        let block = pool.free[class];
        if block.is_null() {
            return pool.carve(1 << class);
        }
        // SAFETY: a free block holds the address of the next free block of its class.
        pool.free[class] = unsafe { *block.cast::<*mut u8>() };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = class_of(layout);
        // SAFETY: as in `alloc`; the caller gave the block up, so its bytes are ours.
        unsafe {
            let pool = &mut *self.0.get();
            *block.cast::<*mut u8>() = pool.free[class];
            pool.free[class] = block;
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    console::say(format_args!("process 1 failed (please report this): {info}"));
    shutdown::give_up()
}

/// The ready-made `alloc` library is compiled for unwinding and refers to these two; a panic ends
/// process 1 before any of it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    sys::exit(1)
}
