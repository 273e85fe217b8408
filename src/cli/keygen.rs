//! `keygen`: an identity, and whom to seal to so that it opens.

use super::args::KeygenArgs;
use super::failure::Failure;
use super::output::Output;
use crate::config::NewIdentity;
use crate::error::Exit;

/// Makes an identity.
pub(super) fn run(args: &KeygenArgs, out: &mut Output) -> Result<Exit, Failure> {
    let made = NewIdentity::generate();
    match &args.output {
        Some(path) => {
            made.write(path)?;
            out.line(made.recipient());
            out.note(format_args!("wrote the identity to {}; the line above is its recipient", path.display()));
        }
        None => {
            out.line(made.text().reveal().trim_end());
            out.note(format_args!("recipient: {}", made.recipient()));
        }
    }
    out.note("the recipient goes into [encryption] of the configuration of the machine that is backed up, the identity must not be there");
    out.note("keep a copy of the identity in another place: without one nobody reads the backups, and with one everybody does");
    Ok(Exit::Success)
}
