//! The other end of the control socket, for the command line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::types::{Accepted, Refusal, RunState, Status};
use crate::error::{Exit, Explain};
use crate::repository::ids::RunId;

/// How long an answer may take to begin, and a stream to go on.
const PATIENCE: Duration = Duration::from_secs(20);
/// No answer of ours is longer.
const MAX_ANSWER: usize = 64 << 20;

/// The daemon didn't do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers.
    #[error("no daemon answers on {}", socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket isn't for us.
    #[error("this user may not use {}", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon said no.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What is wrong.
        error: String,
        /// What to do about it.
        advice: Option<String>,
    },
    /// The connection broke, or the answer didn't come in time.
    #[error("the daemon's answer was lost: {0}")]
    Lost(String),
    /// The answer can't be understood.
    #[error("the daemon's answer can't be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Explain for ClientError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } | Self::Lost(_) => Exit::Unavailable,
            Self::Denied { .. } => Exit::Denied,
            Self::Refused { status: 404 | 400, .. } => Exit::Usage,
            Self::Refused { status: 409, .. } => Exit::Failure,
            Self::Refused { .. } => Exit::Unavailable,
            Self::Unreadable(_) => Exit::Unavailable,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } => Some(
                "start it with `systemctl start wp-backup-agent`; `journalctl -u wp-backup-agent` says why it is down".into(),
            ),
            Self::Denied { .. } => Some("use sudo, or join the socket's group (`socket_group` in [daemon])".into()),
            Self::Refused { advice, .. } => advice.clone(),
            Self::Lost(_) => Some("`wp-backup-agent status` and `journalctl -u wp-backup-agent` tell what became of it".into()),
            Self::Unreadable(_) => Some("daemon and command are of different versions: restart the daemon".into()),
        }
    }
}

/// Speaks to the daemon; a connection per request.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client for the daemon behind this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// What all sites are doing.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status").await
    }

    /// Asks for a run. `site` is checked by the daemon.
    pub async fn run(&self, site: &str) -> Result<Accepted, ClientError> {
        self.start(site, "runs").await
    }

    /// The same, before a restore replaces the site.
    pub async fn run_for_safety(&self, site: &str) -> Result<Accepted, ClientError> {
        self.start(site, "runs/safety").await
    }

    async fn start(&self, site: &str, runs: &str) -> Result<Accepted, ClientError> {
        // A name that isn't one can't be put into a path; the daemon wouldn't know it either.
        if crate::config::SiteName::new(site).is_none() {
            let error = crate::daemon::queue::RequestError::UnknownSite(site.to_owned());
            return Err(ClientError::Refused { status: 404, advice: error.advice(), error: error.to_string() });
        }
        self.ask(Method::POST, &format!("/v1/sites/{site}/{runs}")).await
    }

    /// Cancels a run that is queued or under way.
    pub async fn cancel(&self, run: RunId) -> Result<RunState, ClientError> {
        self.ask(Method::DELETE, &format!("/v1/runs/{run}")).await
    }

    /// Follows a run until it is over.
    pub async fn follow(&self, run: RunId) -> Result<Follow, ClientError> {
        let body = self.send(Method::GET, &format!("/v1/runs/{run}/progress")).await?.into_body();
        Ok(Follow { body, held: BytesMut::new() })
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        let answer = self.send(method, path).await?;
        serde_json::from_slice(&whole(answer).await?).map_err(ClientError::Unreadable)
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let stream = timeout(PATIENCE, UnixStream::connect(&self.socket)).await.map_err(|_| late())?.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Denied { socket },
                _ => ClientError::NoDaemon { socket, source },
            }
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // Ends with the answer's body.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|error| ClientError::Lost(error.to_string()))?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await.map_err(|_| late())?.map_err(lost)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = whole(answer).await?;
        let refusal: Refusal = serde_json::from_slice(&text).map_err(ClientError::Unreadable)?;
        Err(ClientError::Refused { status: status.as_u16(), error: refusal.error, advice: refusal.advice })
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect();
    match timeout(PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(ClientError::Lost(error.to_string())),
        Err(_) => Err(late()),
    }
}

fn lost(error: hyper::Error) -> ClientError {
    ClientError::Lost(error.to_string())
}

fn late() -> ClientError {
    ClientError::Lost(format!("nothing came for {} seconds", PATIENCE.as_secs()))
}

/// A run's states, one after the other; the last one has the report.
#[derive(Debug)]
pub struct Follow {
    body: Incoming,
    held: BytesMut,
}

impl Follow {
    /// The next state; `None` after the end of the stream.
    pub async fn next(&mut self) -> Result<Option<RunState>, ClientError> {
        loop {
            if let Some(at) = self.held.iter().position(|&byte| byte == b'\n') {
                let line = self.held.split_to(at + 1);
                return serde_json::from_slice(&line).map(Some).map_err(ClientError::Unreadable);
            }
            if self.held.len() > MAX_ANSWER {
                return Err(ClientError::Lost("a line has no end".into()));
            }
            match timeout(PATIENCE, self.body.frame()).await.map_err(|_| late())? {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.held.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(lost(error)),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(ClientError::Lost("the stream ended within a line".into())),
            }
        }
    }
}
