//! Directories for a lot of bytes.

/// A directory for so many bytes: in memory where there is plenty of it, because tests that write gigabytes wait for the disk and for whoever
/// else uses it.
pub fn directory(bytes: u64) -> tempfile::TempDir {
    let fits = |free: u64| free / 2 > bytes;
    let room = rustix::fs::statvfs("/dev/shm").map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    let in_memory = fits(room) && fits(available.unwrap_or(0) * 1024);
    let made = in_memory.then(|| tempfile::tempdir_in("/dev/shm").ok()).flatten();
    made.unwrap_or_else(|| tempfile::tempdir().expect("a temporary directory"))
}
