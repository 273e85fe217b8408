//! A real S3 server for tests and the demo: s3s over HTTP on a loopback port, in a thread of its own so that child
//! processes can use it. Objects are plain files at `<root>/<bucket>/<key>`.
//!
//! Each request is recorded, and a test's hook decides what becomes of it. A request counts from the moment it has been
//! received whole; one whose sender died half-way is neither recorded nor numbered.

mod strict;

use std::convert::Infallible;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::sync::watch;

use strict::Strict;

/// The access key's id that the server takes.
pub const ACCESS_KEY: &str = "demo-access-key";
/// The secret that the server takes.
pub const SECRET_KEY: &str = "demo-secret-key";
/// The bucket that is there from the start.
pub const BUCKET: &str = "backups";
/// The region to sign for; any is taken.
pub const REGION: &str = "us-east-1";

/// One request, as the server got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// Counted from 1, in the order of arrival.
    pub n: u64,
    /// GET, PUT, HEAD, DELETE or POST.
    pub method: String,
    /// The bucket; empty for the listing of buckets.
    pub bucket: String,
    /// The key below the bucket; empty for requests on the bucket itself.
    pub key: String,
    /// What follows the question mark, as sent.
    pub query: String,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the reply's body; 0 while there is none.
    pub bytes_out: u64,
    /// The reply's status; `None` when no reply was sent (yet).
    pub status: Option<u16>,
}

impl RequestInfo {
    /// Whether this lists objects.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.key.is_empty()
    }
}

impl fmt::Display for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.query.is_empty() { "" } else { "?" };
        let status = self.status.map_or_else(|| "-".to_owned(), |s| s.to_string());
        let Self { n, method, bucket, key, query, bytes_in, bytes_out, .. } = self;
        write!(f, "{n} {method} /{bucket}/{key}{mark}{query} {status} in={bytes_in} out={bytes_out}")
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is served.
    Pass,
    /// The process gets SIGKILL; the request has no effect and no reply.
    KillBefore(i32),
    /// The request takes effect, then the process gets SIGKILL; there is no reply.
    KillAfter(i32),
    /// The request has no effect; this status is the reply.
    FailBefore(u16),
    /// The request takes effect, yet this status is the reply.
    FailAfter(u16),
    /// It is served after this time.
    Stall(Duration),
    /// The request takes effect; the connection closes without a reply.
    DropReply,
}

/// Decides by the request's number and content. Called in the order of the numbers.
pub type Hook = Box<dyn Fn(u64, &RequestInfo) -> Action + Send + Sync>;

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<RequestInfo>>,
    hook: Mutex<Option<Hook>>,
    log: Option<PathBuf>,
}

/// The running server. Dropping it ends it, and closes its connections.
pub struct S3Server {
    address: SocketAddr,
    root: PathBuf,
    shared: Arc<Shared>,
    victim: Arc<AtomicI32>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _temporary: Option<tempfile::TempDir>,
}

impl S3Server {
    /// Serves a new empty directory on a free port, with [`BUCKET`] made.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::start_in(directory.path(), 0, None).expect("a loopback port");
        server._temporary = Some(directory);
        server
    }

    /// Serves `root` on this port (0 takes a free one), with [`BUCKET`] made; each finished request is a line of `log`.
    pub fn start_in(root: &Path, port: u16, log: Option<&Path>) -> std::io::Result<Self> {
        std::fs::create_dir_all(root.join(BUCKET))?;
        let files = FileSystem::new(root).map_err(|e| std::io::Error::other(format!("{e:?}")))?;
        let mut builder = S3ServiceBuilder::new(Strict::new(files));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();

        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { log: log.map(Path::to_owned), ..Shared::default() });
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                runtime.block_on(accept(listener, service, shared, stopped));
                runtime.shutdown_timeout(Duration::from_secs(5));
            }
        });
        Ok(Self { address, root: root.to_owned(), shared, victim: Arc::default(), stop, thread: Some(thread), _temporary: None })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The directory whose files are [`BUCKET`]'s objects.
    pub fn bucket_dir(&self) -> PathBuf {
        self.root.join(BUCKET)
    }

    /// Every request received so far, in order.
    pub fn requests(&self) -> Vec<RequestInfo> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests; the next is number 1.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// From now on this decides what becomes of each request.
    pub fn on_request(&self, hook: Hook) {
        *lock(&self.shared.hook) = Some(hook);
    }

    /// From now on every request is served.
    pub fn no_hook(&self) {
        *lock(&self.shared.hook) = None;
    }

    /// A place for the id of the process that a hook kills: the hook keeps a clone, the test stores the id once it knows it.
    pub fn victim(&self) -> Arc<AtomicI32> {
        self.victim.clone()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, service: S3Service, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is ours");
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            _ = stopped.changed() => return,
        };
        let (service, shared, mut stopped) = (service.clone(), shared.clone(), stopped.clone());
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(|request| answer(request, &service, &shared));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                _ = connection => {}
                _ = stopped.changed() => {}
            }
        });
    }
}

/// No reply is to be sent: hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("no reply is sent")]
struct NoReply;

impl From<Infallible> for NoReply {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(request: Request<Incoming>, service: &S3Service, shared: &Shared) -> Result<Response<Full<Bytes>>, NoReply> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| NoReply)?.to_bytes();
    let path = head.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (n, action) = {
        let mut requests = lock(&shared.requests);
        let n = requests.len() as u64 + 1;
        let info = RequestInfo {
            n,
            method: head.method.to_string(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query: head.uri.query().unwrap_or("").to_owned(),
            bytes_in: body.len() as u64,
            bytes_out: 0,
            status: None,
        };
        let action = lock(&shared.hook).as_ref().map_or(Action::Pass, |hook| hook(n, &info));
        requests.push(info);
        (n, action)
    };
    let reply = act(action, Request::from_parts(head, s3s::Body::from(body)), service).await;
    shared.finished(n, reply.as_ref().ok());
    reply
}

async fn act(action: Action, request: Request<s3s::Body>, service: &S3Service) -> Result<Response<Full<Bytes>>, NoReply> {
    match action {
        Action::Pass => serve(request, service).await,
        Action::Stall(time) => {
            tokio::time::sleep(time).await;
            serve(request, service).await
        }
        Action::KillBefore(pid) => {
            kill(pid);
            Err(NoReply)
        }
        Action::KillAfter(pid) => {
            let _ = serve(request, service).await;
            kill(pid);
            Err(NoReply)
        }
        Action::FailBefore(status) => Ok(failure(status)),
        Action::FailAfter(status) => {
            let _ = serve(request, service).await;
            Ok(failure(status))
        }
        Action::DropReply => {
            let _ = serve(request, service).await;
            Err(NoReply)
        }
    }
}

async fn serve(request: Request<s3s::Body>, service: &S3Service) -> Result<Response<Full<Bytes>>, NoReply> {
    let reply = service.call(request).await.map_err(|_| NoReply)?;
    let (head, body) = reply.into_parts();
    let body = body.collect().await.map_err(|_| NoReply)?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}

fn failure(status: u16) -> Response<Full<Bytes>> {
    let code = match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "ConditionalRequestConflict",
        412 => "PreconditionFailed",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>As the test asked</Message></Error>"
    );
    let mut reply = Response::new(Full::from(xml));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/xml"));
    reply
}

/// Sends SIGKILL; a process id that isn't set yet, or is one of everybody's, kills nobody.
fn kill(pid: i32) {
    if pid > 1
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

impl Shared {
    fn finished(&self, n: u64, reply: Option<&Response<Full<Bytes>>>) {
        let mut requests = lock(&self.requests);
        // Not there any more when the requests have been forgotten in between.
        let Some(info) = requests.iter_mut().find(|info| info.n == n && info.status.is_none()) else { return };
        if let Some(reply) = reply {
            info.status = Some(reply.status().as_u16());
            info.bytes_out = hyper::body::Body::size_hint(reply.body()).exact().unwrap_or(0);
        }
        if let Some(log) = &self.log {
            use std::io::Write as _;
            let file = std::fs::File::options().append(true).create(true).open(log);
            let _ = file.and_then(|mut file| writeln!(file, "{info}"));
        }
    }
}

/// A hook that does `action` to the n-th request and passes all others. The pid of a kill is read when the time comes.
pub fn at_request(n: u64, action: impl Fn(i32) -> Action + Send + Sync + 'static, victim: Arc<AtomicI32>) -> Hook {
    Box::new(move |number, _| if number == n { action(victim.load(Ordering::SeqCst)) } else { Action::Pass })
}
