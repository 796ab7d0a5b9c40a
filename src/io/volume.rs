//! How large a volume is and how much of it is free.

use std::ffi::CString;
use std::mem::MaybeUninit;

/// Total and usable bytes of the volume that holds `path`; None if the system does not say.
pub fn volume_bytes(path: &str) -> Option<(i64, i64)> {
    let path = CString::new(path).ok()?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `stat` is large enough; both live through the call.
    let result = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled `stat`.
    let stat = unsafe { stat.assume_init() };
    let block = stat.f_frsize as i64;
    Some((stat.f_blocks as i64 * block, stat.f_bavail as i64 * block))
}
