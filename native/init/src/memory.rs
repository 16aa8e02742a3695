//! The C memory functions that compiled Rust code calls; this target expects them from a libc.
//!
//! In assembly, since LLVM turns a plain loop back into a call of the very same function.

use core::arch::asm;

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise: both ranges are valid and do not overlap.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // Forwards is right unless the target begins inside the source.
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: as the caller promises; copying forwards never reads what it has written.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: here `count` is at least one, so both last bytes exist.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _,
            inout("rdi") to.add(count - 1) => _, inout("rsi") from.add(count - 1) => _, options(nostack));
    }
    to
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise: the range is valid.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let (first, second): (i32, i32);
    // SAFETY: the caller's promise: both ranges are valid. Equal (also empty) ranges leave 0 and 0.
    unsafe {
        asm!("xor eax, eax", "xor edx, edx", "cmp rcx, rcx", "repe cmpsb", "je 2f",
            "movzx eax, byte ptr [rdi - 1]", "movzx edx, byte ptr [rsi - 1]", "2:",
            inout("rcx") count => _, inout("rdi") left => _, inout("rsi") right => _,
            out("eax") first, out("edx") second, options(nostack, readonly));
    }
    first - second
}

/// # Safety
/// As bcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(left, right, count) }
}

/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let left: usize;
    // SAFETY: the caller's promise: a zero byte ends the text.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => left, inout("rdi") text => _, in("al") 0_u8,
            options(nostack, readonly));
    }
    usize::MAX - 1 - left
}
