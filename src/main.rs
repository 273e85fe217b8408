//! The program; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bound_the_heap();
    wp_backup_agent::cli::main()
}

/// Returns large freed blocks to the system at once. By default glibc raises this bound to the largest block ever freed, and
/// keeps as much back for each thread: several times what is in use.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc offers no safe way to set its own allocator's bound")]
fn bound_the_heap() {
    const ONE_MEBIBYTE: libc::c_int = 1 << 20;
    // SAFETY: mallopt takes two integers, touches no memory of ours, and no other thread runs yet.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, ONE_MEBIBYTE) };
}

#[cfg(not(target_env = "gnu"))]
fn bound_the_heap() {}
