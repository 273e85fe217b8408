//! What the tests of this floor share.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const AGAIN: &str = "WP_BACKUP_AGENT_TEST_AS_NOBODY";
const NOBODY: u32 = 65534;

/// Runs `disturb` again and again in a thread of its own until `test` returns, or fails.
pub(super) fn meanwhile(mut disturb: impl FnMut() + Send, test: impl FnOnce()) {
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let _done = Done(&done);
        test();
    });
}

/// Swaps two names in a directory.
pub(super) fn exchange(dir: &Path, a: &str, b: &str) {
    let dir = std::fs::File::open(dir).unwrap();
    rustix::fs::renameat_with(&dir, a, &dir, b, rustix::fs::RenameFlags::EXCHANGE).unwrap();
}

/// Runs one test again as a user without rights: tests often run as root, whom the system refuses nothing.
///
/// True when the test goes on here: the process has no rights. False when it ran elsewhere, and passed.
pub(super) fn as_nobody(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os(AGAIN).is_none(), "still root");
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = dir.path().join("tests");
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(&copy)
        .args(["--exact", test, "--test-threads=1"])
        .env(AGAIN, "1")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .gid(NOBODY)
        .uid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
