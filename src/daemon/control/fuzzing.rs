//! What the fuzz targets hold against the control socket: what a client sends, and what a daemon answers (see `crate::fuzzing`).

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use super::routes::Api;
use super::server::{Limits, connection};
use super::types::{Accepted, Refusal, RunState, Status};
use crate::daemon::clock::WallClock;
use crate::daemon::queue::closed;
use crate::repository::fuzzing::goes_round;

/// No answer to what can be asked here is longer.
const LONGEST: usize = 64 << 10;

/// Bytes that a client sends, to a daemon that is about to end: whatever they are, it hangs up, and what it says before is an answer.
pub fn control_request(data: &[u8]) {
    static BENCH: LazyLock<(tokio::runtime::Runtime, Arc<Api>)> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let no_sites: [(&crate::config::SiteSettings, Option<crate::config::schedule::Schedule>, PathBuf); 0] = [];
        let api = Api::new(no_sites, closed(), Arc::new(WallClock), CancellationToken::new());
        (runtime, Arc::new(api))
    });
    let (runtime, api) = &*BENCH;
    let answer = runtime.block_on(async {
        let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
        let peer = Peer::of(&server).expect("a peer");
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("the only one");
        let asks = async {
            // It may hang up before it has read everything.
            let _ = client.write_all(data).await;
            let _ = client.shutdown().await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            answer
        };
        tokio::join!(connection(server, peer, Arc::clone(api), Limits::default(), permit), asks).1
    });
    assert!(answer.len() <= LONGEST);
    if answer.is_empty() {
        return;
    }
    assert!(answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
    // A client that waits for it is told first to go on.
    let answer = answer.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer);
    let body = answer.windows(4).position(|at| at == b"\r\n\r\n").and_then(|at| answer.get(at + 4..)).unwrap_or_default();
    assert!(body.is_empty() || body.starts_with(b"{") && serde_json::from_slice::<Refusal>(body).is_ok());
}

/// What a daemon answers, as a client reads it: it goes round.
pub fn control_answer(data: &[u8]) {
    let _ = serde_json::from_slice::<Status>(data).map(|status| goes_round(&status));
    let _ = serde_json::from_slice::<RunState>(data).map(|state| goes_round(&state));
    let _ = serde_json::from_slice::<Accepted>(data).map(|accepted| goes_round(&accepted));
    let _ = serde_json::from_slice::<Refusal>(data).map(|refusal| goes_round(&refusal));
    crate::daemon::fuzzing::history(data);
}
