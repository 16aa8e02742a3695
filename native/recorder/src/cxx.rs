//! C++'s operators new and delete, where the allocator has its own that do not call malloc
//! (jemalloc, tcmalloc and mimalloc do).
//!
//! Anybody else's, such as those of libstdc++, are jumped to: they come to malloc by themselves. The
//! throwing ones are in assembly, for an exception may not pass through Rust: out of memory, they
//! jump to the real one, which does what C++ asks for then.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::hooks::{self, Block};
use crate::real;
use crate::sys;

macro_rules! operators {
    ($($name:ident as $function:path;)*) => {
        /// Where each is to be jumped to; null where it is ours.
        mod pass {
            use super::*;
            $(#[allow(non_upper_case_globals)]
            pub static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Finds out whose they are. malloc's real entry point is resolved.
        pub fn resolve() {
            $(pass::$name.store(others(concat!(stringify!($name), "\0")), Relaxed);)*
        }
    };
}

macro_rules! throwing {
    ($($name:ident as $function:path;)*) => {
        $(
            /// # Safety
            /// As the C++ operator of this name.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            pub unsafe extern "C" fn $name(size: usize, alignment: usize) -> Block {
                naked_asm!(
                    "mov rax, qword ptr [rip + {pass}]",
                    "test rax, rax",
                    "jne 3f",
                    "push rdi",
                    "push rsi",
                    "sub rsp, 8",
                    "call {allocate}",
                    "test rax, rax",
                    "je 2f",
                    "add rsp, 24",
                    "ret",
                    "2:",
                    "lea rdi, [rip + {name}]",
                    "call {thrower}",
                    "add rsp, 8",
                    "pop rsi",
                    "pop rdi",
                    "3:",
                    "jmp rax",
                    pass = sym pass::$name,
                    allocate = sym $function,
                    name = sym name::$name,
                    thrower = sym thrower,
                )
            }
        )*

        mod name {
            $(#[allow(non_upper_case_globals)]
            pub static $name: [u8; stringify!($name).len() + 1] = {
                let mut text = [0; stringify!($name).len() + 1];
                text.split_at_mut(stringify!($name).len()).0
                    .copy_from_slice(stringify!($name).as_bytes());
                text
            };)*
        }
    };
}

macro_rules! plain {
    ($($name:ident as $function:path;)*) => {
        $(
            /// # Safety
            /// As the C++ operator of this name.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            pub unsafe extern "C" fn $name() {
                naked_asm!(
                    "mov rax, qword ptr [rip + {pass}]",
                    "test rax, rax",
                    "je {function}",
                    "jmp rax",
                    pass = sym pass::$name,
                    function = sym $function,
                )
            }
        )*
    };
}

macro_rules! all {
    (throwing { $($throwing:tt)* } plain { $($plain:tt)* }) => {
        operators! { $($throwing)* $($plain)* }
        throwing! { $($throwing)* }
        plain! { $($plain)* }
    };
}

all! {
    throwing {
        _Znwm as hooks::malloc;
        _Znam as hooks::malloc;
        _ZnwmSt11align_val_t as new_aligned;
        _ZnamSt11align_val_t as new_aligned;
    }
    plain {
        _ZnwmRKSt9nothrow_t as hooks::malloc;
        _ZnamRKSt9nothrow_t as hooks::malloc;
        _ZnwmSt11align_val_tRKSt9nothrow_t as new_aligned;
        _ZnamSt11align_val_tRKSt9nothrow_t as new_aligned;
        _ZdlPv as hooks::free;
        _ZdaPv as hooks::free;
        _ZdlPvm as hooks::free;
        _ZdaPvm as hooks::free;
        _ZdlPvRKSt9nothrow_t as hooks::free;
        _ZdaPvRKSt9nothrow_t as hooks::free;
        _ZdlPvSt11align_val_t as hooks::free;
        _ZdaPvSt11align_val_t as hooks::free;
        _ZdlPvmSt11align_val_t as hooks::free;
        _ZdaPvmSt11align_val_t as hooks::free;
        _ZdlPvSt11align_val_tRKSt9nothrow_t as hooks::free;
        _ZdaPvSt11align_val_tRKSt9nothrow_t as hooks::free;
    }
}

/// The next definition of an operator, if it is not the allocator's.
fn others(name: &'static str) -> *mut c_void {
    let next = real::find(name);
    if next.is_null() || real::is_allocators(next) {
        return ptr::null_mut();
    }
    next
}

unsafe extern "C" fn new_aligned(size: usize, alignment: usize) -> Block {
    // SAFETY: as memalign(3); C++ gives a power of two.
    unsafe { hooks::memalign(alignment, size) }
}

/// The operator that throws. A C program may have loaded libstdc++ later, where only a look into
/// that finds it.
unsafe extern "C" fn thrower(name: *const c_char) -> *const c_void {
    // SAFETY: one of the names above.
    let next = unsafe { sys::dlsym(sys::RTLD_NEXT, name) };
    if !next.is_null() {
        return next;
    }
    const LIBRARY: &CStr = c"libstdc++.so.6";
    // SAFETY: looks for a library that is loaded already.
    let found = unsafe {
        let library = sys::dlopen(LIBRARY.as_ptr(), sys::RTLD_LAZY_NOLOAD);
        if library.is_null() {
            ptr::null_mut()
        } else {
            sys::dlsym(library, name)
        }
    };
    if found.is_null() {
        return sys::abort as *const c_void;
    }
    found
}
