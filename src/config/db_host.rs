//! Where WordPress's `DB_HOST` points to: what `wpdb::parse_db_host` and PHP's MySQL driver make of it.

use std::path::{Path, PathBuf};

use super::Address;

/// Where servers on this machine listen by default, by distribution; the first one that exists is taken.
pub const DEFAULT_SOCKETS: [&str; 4] =
    ["/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock", "/var/lib/mysql/mysql.sock"];

/// The port of a server when none is given.
pub const DEFAULT_PORT: u16 = 3306;

/// The parts of a `DB_HOST`, as `wpdb::parse_db_host` cuts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbHost {
    /// The host; empty means `localhost`. An IPv6 address is without its brackets.
    pub host: String,
    /// The port; 0 counts as none.
    pub port: Option<u16>,
    /// The socket's path.
    pub socket: Option<PathBuf>,
}

/// Cuts a `DB_HOST` into its parts; `None` for one that WordPress can't make sense of either.
pub fn parse_db_host(value: &str) -> Option<DbHost> {
    let (value, socket) = match value.find(":/") {
        Some(at) => (&value[..at], Some(PathBuf::from(&value[at + 1..]))),
        None => (value, None),
    };
    let (host, port) = if value.matches(':').count() > 1 { split_ipv6(value)? } else { split_name(value) };
    let port = match port.trim_start_matches('0') {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    // PHP's `empty("0")` is true.
    let host = if host == "0" { "" } else { host };
    Some(DbHost { host: host.to_owned(), port, socket })
}

/// `#^(?:\[)?(?P<host>[0-9a-fA-F:]+)(?:\]:(?P<port>[\d]+))?#`: not anchored at the end, so what follows is ignored.
fn split_ipv6(value: &str) -> Option<(&str, &str)> {
    let inner = value.strip_prefix('[').unwrap_or(value);
    let end = inner.find(|c: char| !c.is_ascii_hexdigit() && c != ':').unwrap_or(inner.len());
    let (host, rest) = inner.split_at(end);
    (!host.is_empty()).then(|| (host, rest.strip_prefix("]:").map_or("", leading_digits)))
}

/// `#^(?P<host>[^:/]*)(?::(?P<port>[\d]+))?#`
fn split_name(value: &str) -> (&str, &str) {
    let end = value.find([':', '/']).unwrap_or(value.len());
    let (host, rest) = value.split_at(end);
    (host, rest.strip_prefix(':').map_or("", leading_digits))
}

fn leading_digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

impl DbHost {
    /// Where PHP's driver would connect to: for it, `localhost` and no host at all mean a socket, whatever the port; and
    /// the socket of any other host is ignored.
    pub fn address(self) -> Address {
        if !self.host.is_empty() && !self.host.eq_ignore_ascii_case("localhost") {
            return Address::Tcp { host: self.host, port: self.port.unwrap_or(DEFAULT_PORT) };
        }
        Address::Socket(self.socket.unwrap_or_else(default_socket))
    }
}

/// The first default socket that exists; when none does, the first of the list, so that the error names a place to look at.
pub(super) fn default_socket() -> PathBuf {
    let exists = DEFAULT_SOCKETS.into_iter().find(|path| Path::new(path).exists());
    PathBuf::from(exists.unwrap_or(DEFAULT_SOCKETS[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str) -> Option<(String, Option<u16>, Option<String>)> {
        parse_db_host(value).map(|host| (host.host, host.port, host.socket.map(|path| path.display().to_string())))
    }

    #[test]
    fn cut_as_wpdb_cuts_it() {
        let own = |host: &str, port, socket: Option<&str>| Some((host.to_owned(), port, socket.map(str::to_owned)));
        for (value, expected) in [
            ("", own("", None, None)),
            ("localhost", own("localhost", None, None)),
            ("localhost:3307", own("localhost", Some(3307), None)),
            ("localhost:0", own("localhost", None, None)),
            ("localhost:/run/my.sock", own("localhost", None, Some("/run/my.sock"))),
            (":/run/my.sock", own("", None, Some("/run/my.sock"))),
            ("db.example.com:3307", own("db.example.com", Some(3307), None)),
            ("db.example.com:3307:/run/my.sock", own("db.example.com", Some(3307), Some("/run/my.sock"))),
            ("127.0.0.1", own("127.0.0.1", None, None)),
            ("db/ignored", own("db", None, None)),
            ("db:nothing", own("db", None, None)),
            ("::1", own("::1", None, None)),
            ("[::1]", own("::1", None, None)),
            ("[::1]:3307", own("::1", Some(3307), None)),
            ("[::1]:3307:/run/my.sock", own("::1", Some(3307), Some("/run/my.sock"))),
            ("[fe80::1%eth0]:3307", own("fe80::1", None, None)),
            ("2001:db8::5", own("2001:db8::5", None, None)),
            ("x:y:z", None),
            ("db:99999", None),
            ("db:99999999999999999999999999", None),
        ] {
            assert_eq!(parts(value), expected, "{value}");
        }
    }

    #[test]
    fn localhost_means_the_socket_and_another_host_never_does() {
        let address = |value: &str| parse_db_host(value).unwrap().address();
        assert_eq!(address("LocalHost:3307:/run/my.sock"), Address::Socket("/run/my.sock".into()));
        assert_eq!(address(":/run/my.sock"), Address::Socket("/run/my.sock".into()));
        assert_eq!(address("127.0.0.1:/run/my.sock"), Address::Tcp { host: "127.0.0.1".into(), port: 3306 });
        assert!(
            matches!(address("localhost:3307"), Address::Socket(path) if DEFAULT_SOCKETS.iter().any(|s| path == Path::new(s)))
        );
    }
}
