//! The command line: one file per subcommand. Parse, call, print; no logic.

mod account;
mod args;
mod browse;
mod cancel;
mod check;
mod daemon;
mod failure;
mod figures;
mod files;
mod format;
mod keygen;
mod output;
mod policy;
mod probes;
mod progress;
mod prune;
mod reach;
mod replaced;
mod restore;
mod restore_files;
mod run_now;
mod safety;
mod signals;
mod sites;
mod snapshots;
mod status;
mod suspect;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit};

use crate::config;
use crate::daemon::control::Client;
use crate::daemon::logging;
use crate::error::{Exit, Explain};
use args::{Arguments, Command, Global};
use failure::Failure;
use output::Output;

/// The asynchronous part of a command can't begin.
#[derive(Debug, thiserror::Error)]
#[error("the process can't start its threads")]
struct NoRuntime(#[source] std::io::Error);

impl Explain for NoRuntime {
    fn exit(&self) -> Exit {
        Exit::Io
    }
}

/// The whole program: parses the arguments, runs the subcommand, ends with its exit code (docs/EXIT-CODES.md).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way, too; a reader that has gone is no failure.
            let _ = error.print();
            let wrong = error.use_stderr();
            return ExitCode::from(if wrong { Exit::Usage } else { Exit::Success }.code());
        }
    };
    let mut out = Output::default();
    let exit = dispatch(&arguments, &mut out).unwrap_or_else(|failure| {
        out.error(failure.error());
        failure.error().exit()
    });
    ExitCode::from(exit.code())
}

fn dispatch(Arguments { global, command }: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    // Memory holds passwords, and identities while something is restored. Where this isn't allowed, all goes on without it.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    logging::init(global.level(matches!(command, Command::Daemon)));
    match command {
        Command::Daemon => daemon::run(global),
        Command::RunNow(run_now) if run_now.foreground => run_now::foreground(global, run_now, out),
        Command::RunNow(run_now) => ask(async { run_now::ask(&client(global), run_now, out).await }),
        Command::Status(status) => ask(async { status::show(&client(global), status, out).await }),
        Command::Cancel(cancel) => ask(async { cancel::ask(&client(global), cancel, out).await }),
        Command::Snapshots(snapshots) => {
            let settings = config::load(&global.config)?;
            work(async { snapshots::run(&settings, snapshots, out).await })
        }
        Command::Files(files) => files::run(&config::load(&global.config)?, files, out),
        Command::Restore(restore) => {
            let settings = config::load(&global.config)?;
            work(async { restore::run(&settings, global, restore, out).await })
        }
        Command::Keygen(keygen) => keygen::run(keygen, out),
        Command::Prune(prune) => {
            let settings = config::load(&global.config)?;
            work(async { prune::run(&settings, prune, out).await })
        }
        Command::Verify(verify) => {
            let settings = config::load(&global.config)?;
            work(async { verify::run(&settings, verify, out).await })
        }
        Command::Policy(command) => policy::run(global, command, out),
        Command::Check => check::run(global, out),
    }
}

/// Runs the short conversation of a command with the daemon.
fn ask(conversation: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NoRuntime)?;
    runtime.block_on(conversation)
}

/// Runs backups in this process.
fn work<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(NoRuntime)?;
    let done = runtime.block_on(work);
    // A blocking call that a cancelled run left behind must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}

fn client(global: &Global) -> Client {
    Client::new(&control_socket(&global.config))
}

/// Where the daemon listens. Only this is read of the configuration: who may ask the daemon need not be able to read the
/// site's secrets, and a daemon that runs can be asked while its configuration is being edited.
fn control_socket(config: &Path) -> PathBuf {
    let table = std::fs::read_to_string(config).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let socket = table.as_ref().and_then(|table| table.get("daemon")?.get("socket")?.as_str());
    PathBuf::from(socket.unwrap_or(crate::daemon::control::DEFAULT_SOCKET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_whatever_the_rest_of_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        let default = PathBuf::from(crate::daemon::control::DEFAULT_SOCKET);
        assert_eq!(control_socket(&config), default);
        std::fs::write(&config, "[daemon]\nsocket = \"/run/other.sock\"\n[[site]]\nname = 3\n").unwrap();
        assert_eq!(control_socket(&config), PathBuf::from("/run/other.sock"));
        std::fs::write(&config, "not = = toml").unwrap();
        assert_eq!(control_socket(&config), default);
    }
}
