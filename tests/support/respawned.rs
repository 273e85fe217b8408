//! A server that is started again after it was killed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::mariadb::MariaDb;

/// The new process, with the data, socket and arguments of the old. Dropping it kills it.
pub struct Respawned(Child);

impl Respawned {
    /// The command line of a running process.
    pub fn arguments_of(pid: i32) -> Vec<String> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("a running process");
        line.split_terminator('\0').map(str::to_owned).collect()
    }

    /// Starts it, and waits until `server` answers.
    pub fn start(arguments: &[String], server: &MariaDb) -> Self {
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let respawned = Self(command.spawn().expect("the server"));
        let begun = Instant::now();
        while let Err(error) = server.try_client("SELECT 1") {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not answer: {error}");
            std::thread::sleep(Duration::from_millis(30));
        }
        respawned
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process id")
    }
}

impl Drop for Respawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
