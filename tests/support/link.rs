//! A link to a database server: a Unix socket in front of the server's own. A test sees each statement before the server does, and may slow
//! the answers.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A statement on its way to the server.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Counted from 1 over all connections, since [`Link::forget`].
    pub n: usize,
    /// Which connection it came by, counted from 1.
    pub connection: u64,
    /// Its text.
    pub sql: String,
}

impl Statement {
    /// Whether it reads this table's rows.
    pub fn reads(&self, table: &str) -> bool {
        self.sql.starts_with("SELECT") && self.sql.contains(&format!("`{table}`"))
    }

    /// Whether it opens a snapshot.
    pub fn opens_snapshot(&self) -> bool {
        self.sql.starts_with("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    }
}

/// Is called with each statement; the statement goes on to the server once it returns.
pub type Hook = Box<dyn Fn(&Statement) + Send + Sync>;

#[derive(Default)]
struct Shared {
    hook: Mutex<Option<Arc<Hook>>>,
    statements: Mutex<Vec<Statement>>,
    connections: AtomicU64,
    /// Of each connection's answers; 0 is no limit.
    bytes_per_second: AtomicU64,
    stopped: AtomicBool,
}

/// The link. Dropping it takes no new connections; those that are open end with their ends.
pub struct Link {
    directory: tempfile::TempDir,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Link {
    /// A link to the server that listens on this socket.
    pub fn to(server: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(directory.path().join("sock")).expect("a socket");
        let shared = Arc::<Shared>::default();
        let accepting = std::thread::spawn({
            let (shared, server) = (shared.clone(), server.to_owned());
            move || {
                for client in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // Without a server the client finds a closed connection.
                    if let (Ok(client), Ok(server)) = (client, UnixStream::connect(&server)) {
                        connect(&shared, client, server);
                    }
                }
            }
        });
        Self { directory, shared, accepting: Some(accepting) }
    }

    /// Where clients connect.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// From now on this is called with each statement.
    pub fn on_statement(&self, hook: impl Fn(&Statement) + Send + Sync + 'static) {
        *lock(&self.shared.hook) = Some(Arc::new(Box::new(hook)));
    }

    /// From now on every statement goes through.
    pub fn no_hook(&self) {
        *lock(&self.shared.hook) = None;
    }

    /// The most that the server's answers come with from now on, on each connection; 0 is no limit.
    pub fn slow(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    /// The statements so far.
    pub fn statements(&self) -> Vec<Statement> {
        lock(&self.shared.statements).clone()
    }

    /// Forgets the statements; the next is number 1.
    pub fn forget(&self) {
        lock(&self.shared.statements).clear();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.socket());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(shared: &Arc<Shared>, client: UnixStream, server: UnixStream) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let (mut answers, mut answered) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
    std::thread::spawn({
        let shared = shared.clone();
        move || {
            let (mut client, mut server) = (client, server);
            let _ = questions(&shared, number, &mut client, &mut server);
            let _ = server.shutdown(Shutdown::Both);
        }
    });
    std::thread::spawn({
        let shared = shared.clone();
        move || {
            let _ = replies(&shared, &mut answers, &mut answered);
            let _ = answered.shutdown(Shutdown::Both);
        }
    });
}

/// The client's packets, one by one.
fn questions(shared: &Shared, connection: u64, client: &mut UnixStream, server: &mut UnixStream) -> std::io::Result<()> {
    const QUERY: u8 = 3;
    loop {
        // Three bytes of length, and a number that begins at 0 with each command.
        let mut head = [0; 4];
        client.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        client.read_exact(&mut body)?;
        if let ([_, _, _, 0], [QUERY, sql @ ..]) = (head, body.as_slice()) {
            let statement = {
                let mut statements = lock(&shared.statements);
                let n = statements.len() + 1;
                let statement = Statement { n, connection, sql: String::from_utf8_lossy(sql).into_owned() };
                statements.push(statement.clone());
                statement
            };
            // Not under the lock: a hook may take its time.
            let hook = lock(&shared.hook).clone();
            if let Some(hook) = hook {
                hook(&statement);
            }
        }
        server.write_all(&head)?;
        server.write_all(&body)?;
    }
}

fn replies(shared: &Shared, server: &mut UnixStream, client: &mut UnixStream) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = server.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        let pace = shared.bytes_per_second.load(Ordering::SeqCst);
        if pace > 0 {
            std::thread::sleep(Duration::from_secs_f64(length as f64 / pace as f64));
        }
        client.write_all(&piece[..length])?;
    }
}
