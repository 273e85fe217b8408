//! The demo's S3 server: `demo-s3 DIRECTORY [--port N] [--log FILE]` serves a directory on a loopback port (a free one
//! unless told), prints the port once it listens, writes each request as a line of the log, and ends on SIGTERM.

#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub)]

#[allow(dead_code)]
#[path = "../support/s3/mod.rs"]
mod s3;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-s3: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut root, mut port, mut log) = (None, 0, None);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.to_str() {
            Some("--port") => port = value()?.to_str().ok_or("not a port")?.parse()?,
            Some("--log") => log = Some(PathBuf::from(value()?)),
            _ => root = Some(PathBuf::from(argument)),
        }
    }
    let root = root.ok_or("usage: demo-s3 DIRECTORY [--port N] [--log FILE]")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let server = s3::S3Server::start_in(&root, port, log.as_deref())?;
        println!("{}", server.port());
        std::io::stdout().flush()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
