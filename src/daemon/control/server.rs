//! Serves connections: a few at a time, each within limits, none able to hold up another or the daemon.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::WriteDeadline;
use super::peer::Peer;
use super::routes::{Answer, Api, refuse};
use super::socket::Socket;
use hyper::StatusCode;

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of root and of the daemon's own user at a time.
    pub own_connections: usize,
    /// Connections of all other users at a time: they can't keep root out.
    pub other_connections: usize,
    /// How long a request may take to arrive.
    pub read: Duration,
    /// How long a write may wait for a client that doesn't read.
    pub write: Duration,
    /// Bytes of a request's body.
    pub body: usize,
    /// How long the end of the daemon waits for answers under way.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            own_connections: 8,
            other_connections: 24,
            read: Duration::from_secs(5),
            write: Duration::from_secs(10),
            body: 4096,
            drain: Duration::from_secs(2),
        }
    }
}

/// The least that hyper takes for a connection's buffer: what a request's head may be long.
const HEAD: usize = 16 << 10;

/// Serves until it is stopped; the socket file goes with it.
pub async fn serve(socket: Socket, api: Arc<Api>, limits: Limits, stop: CancellationToken) {
    let own = Arc::new(Semaphore::new(limits.own_connections));
    let other = Arc::new(Semaphore::new(limits.other_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: without a pause this would spin.
                tracing::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(peer) = Peer::of(&stream) else { continue };
        let permits = if peer.is_own() { &own } else { &other };
        match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => drop(connections.spawn(connection(stream, peer, Arc::clone(&api), limits, permit))),
            Err(_) => turn_away(&stream),
        }
    }
    drop(socket);
    let drained = async { while connections.join_next().await.is_some() {} };
    // Those that are still talking are cut off.
    let _ = tokio::time::timeout(limits.drain, drained).await;
}

pub(super) async fn connection(stream: UnixStream, peer: Peer, api: Arc<Api>, limits: Limits, _permit: OwnedSemaphorePermit) {
    let service = service_fn(|request: Request<Incoming>| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(&api, request, peer, limits).await) }
    });
    let io = TokioIo::new(WriteDeadline::new(stream, limits.write));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read)
        .max_buf_size(HEAD)
        .max_headers(32)
        // One request per connection: an idle one would hold a place.
        .keep_alive(false)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(uid = peer.uid, "control connection: {error}");
    }
}

async fn answer(api: &Api, request: Request<Incoming>, peer: Peer, limits: Limits) -> Answer {
    let (head, body) = request.into_parts();
    // No route needs a body yet; a small one is read and left alone.
    match tokio::time::timeout(limits.read, Limited::new(body, limits.body).collect()).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => {
            let error = format!("the request's body is longer than {} bytes", limits.body);
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, error, None);
        }
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time".into(), None),
    }
    api.answer(&head.method, head.uri.path(), peer).await
}

/// Says no without waiting for the request to arrive.
fn turn_away(stream: &UnixStream) {
    const BODY: &str = r#"{"api":1,"error":"too many connections","advice":"try again in a moment"}"#;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    // Not writable at once means not worth waiting for.
    let _ = stream.try_write(text.as_bytes());
}
