//! C++'s operators new and delete: the service gets them without the way through libstdc++.
//!
//! The throwing ones are in assembly, for an exception may not pass through Rust: out of memory, they
//! jump to the next definition, which does what C++ asks for then.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::hooks::{self, Block};
use crate::sys;

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
                    "jmp rax",
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
                naked_asm!("jmp {function}", function = sym $function)
            }
        )*
    };
}

throwing! {
    _Znwm as hooks::malloc;
    _Znam as hooks::malloc;
    _ZnwmSt11align_val_t as new_aligned;
    _ZnamSt11align_val_t as new_aligned;
}

plain! {
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
