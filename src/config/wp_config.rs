//! What a site's wp-config.php says: found as WordPress finds it, read without running it.
//!
//! A value counts only when it is certain: a string, or strings joined with the file's own directory. What is computed, comes
//! from the environment, or depends on a condition is refused by name, so that the owner gives it in the configuration.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::definitions::{Definition, Definitions, Reach};
use super::php::Token;
use crate::error::{Exit, Explain};

/// A larger file is no wp-config.php.
const SIZE_LIMIT: u64 = 1 << 20;

/// How deep constants may be made of other constants.
const DEPTH_LIMIT: usize = 8;

/// How many parts a value may be joined of, those of the constants in it counted each time: they may name each other many times over.
const PART_LIMIT: usize = 1000;

/// A longer value is none of the settings that are asked for.
const VALUE_LIMIT: usize = 64 << 10;

/// A value, and the line of wp-config.php that defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined<T> {
    /// The value.
    pub value: T,
    /// The line, counted from 1.
    pub line: usize,
}

/// A wp-config.php that was read.
#[derive(Debug, Clone)]
pub struct WpConfig {
    path: PathBuf,
    /// What `__DIR__` is in the file.
    directory: PathBuf,
    root: Option<PathBuf>,
    definitions: Definitions,
}

/// A wp-config.php that isn't there, can't be read, or doesn't say for certain what is asked.
#[derive(Debug, thiserror::Error)]
pub enum WpConfigError {
    /// Neither in the root nor above it.
    #[error("there is no wp-config.php in {} nor in the directory above it", root.display())]
    Missing {
        /// WordPress's root, as configured.
        root: PathBuf,
    },
    /// It is there.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Larger than 1 MiB.
    #[error("{} is larger than 1 MiB: that is no wp-config.php", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The name isn't defined in the file.
    #[error("{} does not define {name}", path.display())]
    NotDefined {
        /// The file.
        path: PathBuf,
        /// The constant or variable.
        name: &'static str,
        /// How the file comes to its values instead.
        layout: Layout,
    },
    /// The name is defined, by something other than a plain string.
    #[error("{}, line {line}: {name} {why}", path.display())]
    NotCertain {
        /// The file.
        path: PathBuf,
        /// The line of the definition.
        line: usize,
        /// The constant or variable.
        name: &'static str,
        /// What makes it uncertain; never the value.
        why: String,
        /// How the file comes to its values.
        layout: Layout,
    },
}

/// How a wp-config.php comes to its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// It defines them itself.
    Plain,
    /// It includes other files.
    Includes,
    /// Debian's package: one file per host name in /etc/wordpress.
    Debian,
    /// Bedrock: `config/application.php`, with the values in `.env`.
    Bedrock,
}

impl Explain for WpConfigError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Denied,
            _ => Exit::Config,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "let the site's path name WordPress's root, the directory of wp-load.php; with wp-config.php \
                 elsewhere, name the file as wp_config"
                    .to_owned()
            }
            Self::Read { .. } => {
                "let the agent's user read the file, or give content_dir, table_prefix and all of [site.database] in \
                 the configuration: then wp-config.php isn't read"
                    .to_owned()
            }
            Self::TooLarge { .. } => "name the right file as the site's wp_config".to_owned(),
            Self::NotDefined { name, layout, .. } | Self::NotCertain { name, layout, .. } => advice_for(name, *layout),
        })
    }
}

fn advice_for(name: &str, layout: Layout) -> String {
    let key = match name {
        "DB_NAME" => "name in [site.database]",
        "DB_USER" => "user and password_file in [site.database]",
        "DB_PASSWORD" => "password_file in [site.database]",
        "DB_HOST" => "socket or host in [site.database]",
        "WP_CONTENT_DIR" => "content_dir of the site",
        "$table_prefix" => "table_prefix of the site",
        _ => "the value",
    };
    let instead = format!("give it in the configuration: {key}");
    match layout {
        Layout::Plain => instead,
        Layout::Includes => {
            format!("{instead}; or, if the file that wp-config.php includes defines it, name that file as wp_config")
        }
        Layout::Debian => "Debian's wp-config.php includes a file per host name: name the site's own as wp_config, for example \
             wp_config = \"/etc/wordpress/config-blog.example.org.php\""
            .to_owned(),
        Layout::Bedrock => format!("Bedrock keeps its values in .env, which isn't read; {instead}"),
    }
}

impl WpConfig {
    /// Finds the file as wp-load.php does: in `root`; else in the directory above, unless that is a WordPress of its own.
    pub fn find(root: &Path) -> Result<Self, WpConfigError> {
        let own = root.join("wp-config.php");
        let exists = |path: PathBuf| match path.try_exists() {
            Ok(exists) => Ok(exists.then_some(path)),
            Err(source) => Err(WpConfigError::Read { path, source }),
        };
        if let Some(path) = exists(own)? {
            return Self::read(&path, Some(root));
        }
        let missing = || WpConfigError::Missing { root: root.to_owned() };
        let above = root.parent().ok_or_else(missing)?;
        if exists(above.join("wp-settings.php"))?.is_some() {
            return Err(missing());
        }
        let path = exists(above.join("wp-config.php"))?.ok_or_else(missing)?;
        Self::read(&path, Some(root))
    }

    /// Reads a file that is known. `root` is WordPress's root, for values that are made of `ABSPATH`.
    pub fn read(path: &Path, root: Option<&Path>) -> Result<Self, WpConfigError> {
        let failed = |source| WpConfigError::Read { path: path.to_owned(), source };
        // The web server may write here: a FIFO in the file's place must not hold us up.
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        let mut source = Vec::new();
        file.take(SIZE_LIMIT + 1).read_to_end(&mut source).map_err(failed)?;
        if source.len() as u64 > SIZE_LIMIT {
            return Err(WpConfigError::TooLarge { path: path.to_owned() });
        }
        // PHP's __DIR__ follows a link that is the file itself. Links above it stay as they are: they may be switched between runs.
        let real = if path.is_symlink() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
        Ok(Self::of(&source, path, real.parent().unwrap_or(Path::new("/")), root))
    }

    /// What this source says, which is that of the file `path` in `directory`.
    pub(super) fn of(source: &[u8], path: &Path, directory: &Path, root: Option<&Path>) -> Self {
        let definitions = Definitions::read(source);
        Self { path: path.to_owned(), directory: directory.to_owned(), root: root.map(Path::to_owned), definitions }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A constant's value. An error when it isn't defined, or not for certain.
    pub fn constant(&self, name: &'static str) -> Result<Defined<String>, WpConfigError> {
        self.optional_constant(name)?.ok_or_else(|| self.not_defined(name))
    }

    /// A constant's value; `None` when it isn't defined, so that WordPress's default holds.
    pub fn optional_constant(&self, name: &'static str) -> Result<Option<Defined<String>>, WpConfigError> {
        self.decide(name, &self.definitions.of_constant(name))
    }

    /// `$table_prefix`.
    pub fn table_prefix(&self) -> Result<Defined<String>, WpConfigError> {
        const NAME: &str = "$table_prefix";
        self.decide(NAME, &self.definitions.of_variable(NAME))?.ok_or_else(|| self.not_defined(NAME))
    }

    /// How the file comes to its values.
    pub fn layout(&self) -> Layout {
        let names = |part: &str| self.definitions.php_files.iter().any(|file| file.contains(part));
        if names("/etc/wordpress/config-") {
            Layout::Debian
        } else if names("config/application.php") {
            Layout::Bedrock
        } else if self.definitions.includes {
            Layout::Includes
        } else {
            Layout::Plain
        }
    }

    fn not_defined(&self, name: &'static str) -> WpConfigError {
        WpConfigError::NotDefined { path: self.path.clone(), name, layout: self.layout() }
    }

    fn decide(&self, name: &'static str, candidates: &[&Definition]) -> Result<Option<Defined<String>>, WpConfigError> {
        let Some(first) = candidates.first() else { return Ok(None) };
        let refuse =
            |line, why: String| WpConfigError::NotCertain { path: self.path.clone(), line, name, why, layout: self.layout() };
        let mut value: Option<String> = None;
        let parts = Cell::new(0);
        for candidate in candidates {
            if candidate.reach != Reach::Always && candidate.after_include {
                return Err(refuse(candidate.line, "may be defined before, by a file that is included".to_owned()));
            }
            let bytes = self.evaluate(candidate, 0, &parts).map_err(|why| refuse(candidate.line, why))?;
            let text = String::from_utf8(bytes).map_err(|_| refuse(candidate.line, "is not UTF-8".to_owned()))?;
            if value.as_ref().is_some_and(|known| *known != text) {
                return Err(refuse(candidate.line, format!("depends on a condition: line {} gives another value", first.line)));
            }
            value = Some(text);
        }
        Ok(value.map(|value| Defined { value, line: first.line }))
    }

    fn evaluate(&self, definition: &Definition, depth: usize, parts: &Cell<usize>) -> Result<Vec<u8>, String> {
        let tokens = self.definitions.value(definition).ok_or("is not a plain string")?;
        let mut expression = Expression { config: self, rest: tokens, depth, parts };
        let value = expression.joined()?;
        if expression.rest.is_empty() { Ok(value) } else { Err(computed(tokens)) }
    }

    fn evaluate_constant(&self, name: &str, depth: usize, parts: &Cell<usize>) -> Option<Vec<u8>> {
        if name == "ABSPATH" {
            return self.root.as_ref().map(|root| [root.as_os_str().as_encoded_bytes(), b"/"].concat());
        }
        match self.definitions.of_constant(name).as_slice() {
            [only] if depth < DEPTH_LIMIT && !(only.reach != Reach::Always && only.after_include) => {
                self.evaluate(only, depth + 1, parts).ok()
            }
            _ => None,
        }
    }
}

/// Why an expression has no certain value: what it calls, if anything; never its strings but a variable's name.
fn computed(tokens: &[Token]) -> String {
    match tokens {
        [Token::Word(word), Token::Sign(b'('), Token::Text(name), ..] if word.to_ascii_lowercase().contains("env") => {
            format!("is taken from the environment: {word}('{}')", String::from_utf8_lossy(name))
        }
        [Token::Word(word), Token::Sign(b'('), ..] => format!("is computed by {word}()"),
        [Token::Variable(name), ..] if name.starts_with("_ENV") || name.starts_with("_SERVER") => {
            "is taken from the environment".to_owned()
        }
        _ => "is not a plain string".to_owned(),
    }
}

/// A reader of `'a' . __DIR__ . dirname(__FILE__) . NAME`.
struct Expression<'a> {
    config: &'a WpConfig,
    rest: &'a [Token],
    depth: usize,
    /// How many parts have been read for the value that is asked for.
    parts: &'a Cell<usize>,
}

impl<'a> Expression<'a> {
    fn joined(&mut self) -> Result<Vec<u8>, String> {
        let all = self.rest;
        let mut value = self.term().ok_or_else(|| computed(all))?;
        while let [Token::Sign(b'.'), after @ ..] = self.rest {
            self.rest = after;
            value.extend(self.term().ok_or_else(|| computed(all))?);
            if value.len() > VALUE_LIMIT {
                return Err("is too long".to_owned());
            }
        }
        Ok(value)
    }

    fn term(&mut self) -> Option<Vec<u8>> {
        let directory = self.config.directory.as_os_str().as_encoded_bytes();
        let (first, after) = self.rest.split_first()?;
        self.rest = after;
        self.parts.set(self.parts.get() + 1);
        if self.parts.get() > PART_LIMIT {
            return None;
        }
        match first {
            Token::Text(text) => Some(text.clone()),
            Token::Sign(b'(') => self.bracketed(),
            Token::Word(word) => match (word.trim_start_matches('\\').to_ascii_lowercase().as_str(), after) {
                ("__dir__", _) => Some(directory.to_vec()),
                ("__file__", _) => Some([directory, b"/wp-config.php"].concat()),
                ("dirname", [Token::Sign(b'('), inside @ ..]) => {
                    self.rest = inside;
                    self.directory_name()
                }
                (_, [Token::Sign(b'('), ..]) => None,
                _ => self.config.evaluate_constant(word, self.depth, self.parts),
            },
            _ => None,
        }
    }

    /// The rest of `(…)`.
    fn bracketed(&mut self) -> Option<Vec<u8>> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return None;
        }
        let value = self.joined().ok()?;
        self.depth -= 1;
        self.rest = self.rest.strip_prefix(&[Token::Sign(b')')])?;
        Some(value)
    }

    /// The rest of `dirname(path)` or `dirname(path, levels)`.
    fn directory_name(&mut self) -> Option<Vec<u8>> {
        let levels = |tokens: &'a [Token]| match tokens {
            [Token::Sign(b','), Token::Number(number), after @ ..] => Some((number.parse::<usize>().ok()?, after)),
            _ => Some((1, tokens)),
        };
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return None;
        }
        let path = String::from_utf8(self.joined().ok()?).ok()?;
        self.depth -= 1;
        let (count, after) = levels(self.rest)?;
        self.rest = after.strip_prefix(&[Token::Sign(b')')])?;
        Some(Path::new(&path).ancestors().nth(count)?.as_os_str().as_encoded_bytes().to_vec())
    }
}

#[cfg(test)]
#[path = "wp_config_tests.rs"]
mod tests;
