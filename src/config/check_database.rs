//! The checks of a site's `[site.database]`.

use super::check::Check;
use super::check_dump;
use super::check_site::FromWordPress;
use super::db_host::{DEFAULT_PORT, parse_db_host};
use super::error::ConfigError;
use super::raw::{RawDatabase, RawTls};
use super::secret_file::{self, SecretPlace};
use super::{Address, DatabaseSettings, Secret, SiteName, Tls};

/// The checked connection.
pub(super) fn database(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawDatabase,
    found: &mut FromWordPress<'_>,
) -> Result<DatabaseSettings, ConfigError> {
    let address = address(check, site, raw, found)?;
    let tls = tls(check, site, raw, &address)?;
    let (user, password) = account(check, site, raw, found)?;
    let name = match &raw.name {
        Some(name) if name.get_ref().is_empty() => {
            return Err(check.invalid("site.database.name", name, "empty", "name the schema that holds WordPress's tables"));
        }
        Some(name) => {
            check.given(Some(site), "site.database.name", name);
            name.get_ref().clone()
        }
        None => found.value(check, site, "site.database.name", |config| config.constant("DB_NAME"))?,
    };
    let dump = check_dump::dump(check, site, raw)?;
    Ok(DatabaseSettings { address, user, password, name, tls, dump })
}

fn address(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawDatabase,
    found: &mut FromWordPress<'_>,
) -> Result<Address, ConfigError> {
    const KEY: &str = "site.database.address";
    match (&raw.socket, &raw.host, &raw.port) {
        (Some(_), Some(host), _) => {
            Err(check.invalid("site.database.host", host, "given, and so is site.database.socket", "give one of them"))
        }
        (_, None, Some(port)) => Err(check.invalid(
            "site.database.port",
            port,
            "given without a host",
            "add the host, or remove it: a socket has no port",
        )),
        (Some(socket), None, None) => {
            check.given(Some(site), KEY, socket);
            let path = check.path(Some(site), "site.database.socket", Some(socket))?;
            Ok(Address::Socket(path.unwrap_or_default()))
        }
        (None, Some(host), port) => {
            check.given(Some(site), KEY, host);
            let named = host.get_ref().trim_start_matches('[').trim_end_matches(']');
            let v6 = named.parse::<std::net::Ipv6Addr>().is_ok();
            if named.is_empty() || (!v6 && named.contains([':', '/'])) {
                let what = format!("{:?} is not a host", host.get_ref());
                return Err(check.invalid("site.database.host", host, &what, "give the port as port, a socket's path as socket"));
            }
            let port = port.as_ref().map_or(DEFAULT_PORT, |port| *port.get_ref());
            Ok(Address::Tcp { host: named.to_owned(), port })
        }
        (None, None, None) => {
            let value = found.value(check, site, KEY, |config| config.constant("DB_HOST"))?;
            parse_db_host(&value).map(|host| host.address()).ok_or_else(|| {
                let what = format!("DB_HOST in wp-config.php is {value:?}, which is neither a host nor a socket");
                check.absent(KEY, &what, "give socket or host in [site.database]")
            })
        }
    }
}

fn tls(check: &mut Check<'_>, site: &SiteName, raw: &RawDatabase, address: &Address) -> Result<Tls, ConfigError> {
    let loopback = match address {
        Address::Socket(_) => true,
        Address::Tcp { host, .. } => {
            host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    if let Some(tls) = &raw.tls {
        check.given(Some(site), "site.database.tls", tls);
    }
    let required = raw.tls.as_ref().map_or(!loopback, |tls| *tls.get_ref() == RawTls::Required);
    let ca_file = check.path(Some(site), "site.database.ca_file", raw.ca_file.as_ref())?;
    match (required, &raw.tls, &raw.ca_file) {
        (true, Some(tls), _) if matches!(address, Address::Socket(_)) => {
            Err(check.invalid("site.database.tls", tls, "a socket has no TLS", "remove it: nothing leaves the machine"))
        }
        (false, _, Some(file)) => {
            let advice = "add tls = \"required\", or remove it";
            Err(check.invalid("site.database.ca_file", file, "given, but TLS is off", advice))
        }
        (true, ..) => Ok(Tls::Required { ca_file }),
        (false, ..) => Ok(Tls::Off),
    }
}

/// User and password belong together: a user that the configuration gives doesn't have the password of wp-config.php.
fn account(
    check: &mut Check<'_>,
    site: &SiteName,
    raw: &RawDatabase,
    found: &mut FromWordPress<'_>,
) -> Result<(String, Secret), ConfigError> {
    const PASSWORD: &str = "site.database.password";
    let place = SecretPlace {
        file_key: "site.database.password_file",
        file: raw.password_file.as_ref(),
        credential_key: "site.database.password_credential",
        credential: raw.password_credential.as_ref(),
    };
    let password = secret_file::read(check.source, &place, check.credentials)?;
    let user = match &raw.user {
        Some(user) if user.get_ref().is_empty() => {
            return Err(check.invalid("site.database.user", user, "empty", "name an account of the database server"));
        }
        Some(user) => {
            check.given(Some(site), "site.database.user", user);
            user.get_ref().clone()
        }
        None => found.value(check, site, "site.database.user", |config| config.constant("DB_USER"))?,
    };
    let password = match password {
        Some((password, origin)) => {
            check.origins.note(Some(site), PASSWORD, origin);
            password
        }
        None if raw.user.is_some() => Secret::default(),
        None => Secret::new(found.value(check, site, PASSWORD, |config| config.constant("DB_PASSWORD"))?),
    };
    Ok((user, password))
}
