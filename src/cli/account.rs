//! The account that loads a database: `--user` and `--password-file`.

use super::args::Account;
use super::failure::Failure;
use crate::config::{DatabaseSettings, Secret, SiteSettings};
use crate::error::Exit;

/// The site's server, by the account that was named or the site's own.
pub(super) fn account(site: &SiteSettings, args: &Account) -> Result<DatabaseSettings, Failure> {
    let settings = site.database.clone();
    let Some(user) = &args.user else { return Ok(settings) };
    let password = match &args.password_file {
        None => Secret::default(),
        Some(file) => {
            let password = std::fs::read_to_string(file).map_err(|error| {
                let what = format!("the password's file {} can't be read: {error}", file.display());
                Failure::new(Exit::Denied, what, "name a file that this user may read")
            })?;
            Secret::new(password.strip_suffix('\n').unwrap_or(&password).to_owned())
        }
    };
    Ok(settings.by(user.clone(), password))
}
