//! A path that is asked for again and again: what a call of the C library takes, from `onejob bench path-cost`.

use std::ffi::{CString, c_char, c_int, c_void};

/// More than any struct stat has.
type Found = [u64; 32];

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn stat(path: *const c_char, found: *mut c_void) -> c_int;
}

/// Nanoseconds of the thread's processor time, as `clock` has it, for one of `count` calls.
pub fn ask(function: &str, path: &str, count: usize, clock: fn() -> f64) -> Result<f64, String> {
    let once = match function {
        "open" => open_and_close,
        "stat" => look_up,
        _ => return Err(format!("{function} is neither open nor stat")),
    };
    let path = CString::new(path).map_err(|error| error.to_string())?;
    once(&path); // the first time is another one
    let before = clock();
    for _ in 0..count {
        once(&path);
    }
    Ok((clock() - before) / count as f64)
}

fn open_and_close(path: &CString) {
    // SAFETY: a C string; the descriptor is nobody else's.
    unsafe {
        let descriptor = open(path.as_ptr(), 0);
        if descriptor >= 0 {
            close(descriptor);
        }
    }
}

fn look_up(path: &CString) {
    let mut found: Found = [0; 32];
    // SAFETY: a C string, and room for what is found.
    unsafe { stat(path.as_ptr(), found.as_mut_ptr().cast()) };
}
