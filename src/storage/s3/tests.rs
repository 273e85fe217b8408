//! What servers do that an honest one in this process does not: conflicts, refusals, silence, broken bodies.
//! They are played by a socket that answers each request from a script.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Answer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::tests::settings;
use super::*;
use crate::config::{LockMode, ObjectLock};
use crate::error::{Exit, Explain as _, render};

/// What the scripted server does with one request.
#[derive(Clone)]
enum Play {
    /// Answers with these bytes.
    Says(String),
    /// Answers with these bytes, then hangs up.
    Breaks(String),
    /// Answers with these bytes (none, mostly), then keeps the connection and says no more.
    Stalls(String),
}

struct Script {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Script {
    /// Plays one part per request, the last one for all further requests.
    async fn start(plays: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, plays) = (Arc::clone(&requests), Arc::new(plays));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(converse(socket, Arc::clone(&seen), Arc::clone(&plays)));
            }
        });
        Self { endpoint, requests, _tasks: tasks }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn store(&self) -> S3Store {
        S3Store::with_patience(&settings(&self.endpoint), hasty()).await.unwrap()
    }
}

async fn converse(mut socket: TcpStream, seen: Arc<Mutex<Vec<String>>>, plays: Arc<Vec<Play>>) {
    while let Some(request) = read_request(&mut socket).await {
        let play = {
            let mut seen = seen.lock().unwrap();
            let play = plays[seen.len().min(plays.len() - 1)].clone();
            seen.push(request);
            play
        };
        let (Play::Says(text) | Play::Breaks(text) | Play::Stalls(text)) = &play;
        if socket.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        match play {
            Play::Says(_) => {}
            Play::Breaks(_) => return,
            Play::Stalls(_) => std::future::pending().await,
        }
    }
}

/// The head of a request, its body read and dropped.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(head)
}

fn ok() -> Play {
    Play::Says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())
}

fn refuses(status: u16, code: &str) -> Play {
    refuses_with(status, code, "")
}

fn refuses_with(status: u16, code: &str, headers: &str) -> Play {
    let body = format!("<Error><Code>{code}</Code><Message>the words of {code}</Message></Error>");
    Play::Says(format!("HTTP/1.1 {status} No\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

fn object(body: &str) -> Play {
    Play::Says(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn hasty() -> Patience {
    Patience {
        connect: Duration::from_millis(300),
        answer: Duration::from_millis(300),
        attempt: Duration::from_millis(300),
        operation: Duration::from_secs(3),
        slowest_uplink: 1 << 30,
        attempts: 3,
        backoff: Duration::from_millis(5),
    }
}

async fn put(store: &S3Store) -> Result<Put, StoreError> {
    store.put_new("blog/x", Bytes::from_static(b"body"), [7; 32]).await
}

async fn kinds(play: Play) -> [StoreErrorKind; 3] {
    let script = Script::start(vec![play]).await;
    let store = script.store().await;
    [
        store.list("", None).await.unwrap_err().kind,
        store.get("a", 10).await.unwrap_err().kind,
        put(&store).await.unwrap_err().kind,
    ]
}

#[tokio::test]
async fn a_create_is_conditional_and_carries_its_checksum_and_length() {
    let script = Script::start(vec![ok()]).await;
    assert_eq!(put(&script.store().await).await.unwrap(), Put::Created);
    let requests = script.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("put /bucket/some/prefix/blog/x"), "{request}");
    let checksum = base64::engine::general_purpose::STANDARD.encode([7; 32]).to_lowercase();
    for line in ["if-none-match: *", "content-length: 4", &format!("x-amz-checksum-sha256: {checksum}")] {
        assert!(request.lines().any(|found| found == line), "{line} in {request}");
    }
    assert!(!request.contains("crc32") && !request.contains("aws-chunked"), "{request}");
}

#[tokio::test]
async fn a_lost_reply_is_asked_again_and_means_existed() {
    let script = Script::start(vec![Play::Breaks(String::new()), refuses(412, "PreconditionFailed")]).await;
    assert_eq!(put(&script.store().await).await.unwrap(), Put::Existed);
}

#[tokio::test]
async fn a_conflict_is_tried_again() {
    let conflict = || refuses(409, "ConditionalRequestConflict");
    let script = Script::start(vec![conflict(), conflict(), ok()]).await;
    assert_eq!(put(&script.store().await).await.unwrap(), Put::Created);
    assert_eq!(script.requests().len(), 3);

    let script = Script::start(vec![conflict()]).await;
    let error = put(&script.store().await).await.unwrap_err();
    assert!(matches!(&error.kind, StoreErrorKind::Other(words) if words.contains("ConditionalRequestConflict")), "{error:?}");
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn a_server_without_conditional_writes_is_remembered() {
    for refusal in [refuses(501, "NotImplemented"), refuses(400, "InvalidArgument")] {
        let script = Script::start(vec![refusal, ok()]).await;
        let store = script.store().await;
        assert_eq!(put(&store).await.unwrap(), Put::Created);
        assert_eq!(put(&store).await.unwrap(), Put::Created);
        let conditional: Vec<_> = script.requests().iter().map(|request| request.contains("if-none-match")).collect();
        assert_eq!(conditional, [true, false, false]);
    }
}

#[tokio::test]
async fn other_refusals_do_not_drop_the_condition() {
    for refusal in [refuses(403, "AccessDenied"), refuses(400, "BadDigest"), refuses(400, "ExpiredToken")] {
        let script = Script::start(vec![refusal, ok()]).await;
        put(&script.store().await).await.unwrap_err();
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_failed_attempt_without_the_condition_is_not_remembered() {
    let script = Script::start(vec![refuses(400, "InvalidRequest"), refuses(400, "InvalidRequest"), ok()]).await;
    let store = script.store().await;
    put(&store).await.unwrap_err();
    put(&store).await.unwrap();
    let conditional: Vec<_> = script.requests().iter().map(|request| request.contains("if-none-match")).collect();
    assert_eq!(conditional, [true, false, true]);
}

#[tokio::test]
async fn refusals_get_their_kinds() {
    use StoreErrorKind::{Denied, Full, NoBucket, NotFound, Unreachable};
    for (status, code, expected) in [
        (404, "NoSuchBucket", [NoBucket, NoBucket, NoBucket]),
        (404, "NoSuchKey", [NotFound, NotFound, NotFound]),
        (404, "Whatever", [NoBucket, NotFound, NoBucket]),
        (403, "AccessDenied", [Denied, Denied, Denied]),
        (403, "InvalidAccessKeyId", [Denied, Denied, Denied]),
        (403, "SignatureDoesNotMatch", [Denied, Denied, Denied]),
        (400, "ExpiredToken", [Denied, Denied, Denied]),
        (403, "Whatever", [Denied, Denied, Denied]),
        (500, "InternalError", [Unreachable, Unreachable, Unreachable]),
        (503, "SlowDown", [Unreachable, Unreachable, Unreachable]),
        (429, "TooManyRequests", [Unreachable, Unreachable, Unreachable]),
        (507, "XMinioStorageFull", [Full, Full, Full]),
    ] {
        assert_eq!(kinds(refuses(status, code)).await, expected, "{status} {code}");
    }
    for (status, code) in [(403, "InvalidObjectState"), (400, "MalformedXML"), (501, "NotImplemented")] {
        for kind in kinds(refuses(status, code)).await {
            assert!(matches!(&kind, StoreErrorKind::Other(words) if words.contains(code)), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn answers_that_are_not_s3s_are_failures() {
    let page = "<html>gateway</html>";
    for (status, expected) in [(502, StoreErrorKind::Unreachable), (403, StoreErrorKind::Denied)] {
        let play = Play::Says(format!("HTTP/1.1 {status} No\r\ncontent-length: {}\r\n\r\n{page}", page.len()));
        for kind in kinds(play).await {
            assert_eq!(kind, expected, "{status}");
        }
    }
    let script = Script::start(vec![object("not xml")]).await;
    let error = script.store().await.list("", None).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Other(_)), "{error:?}");
    let script = Script::start(vec![Play::Breaks("nonsense\r\n\r\n".into())]).await;
    assert_eq!(script.store().await.get("a", 1).await.unwrap_err().kind, StoreErrorKind::Unreachable);
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_no_endless_one() {
    let page = |keys: &[&str]| {
        let listed = |key: &&str| {
            let key = format!("<Key>some/prefix/{key}</Key>");
            format!("<Contents>{key}<LastModified>2026-11-21T02:30:05Z</LastModified><Size>1</Size></Contents>")
        };
        let objects: String = keys.iter().map(listed).collect();
        object(&format!("<ListBucketResult><IsTruncated>true</IsTruncated>{objects}</ListBucketResult>"))
    };
    let script = Script::start(vec![page(&["blog/a", "blog/b"])]).await;
    let store = script.store().await;
    let first = store.list("blog/", None).await.unwrap();
    assert!(first.more && first.objects.len() == 2);
    let again = store.list("blog/", Some("blog/b")).await.unwrap_err();
    assert!(matches!(&again.kind, StoreErrorKind::Other(what) if what.contains("ascending")), "{again:?}");
    // Of other programs' objects alone, too, which the store itself goes on from.
    for keys in [&["blog/b", "blog/a"][..], &["blog/ä", "blog/ö"]] {
        let script = Script::start(vec![page(keys)]).await;
        let error = script.store().await.list("blog/", None).await.unwrap_err();
        assert!(matches!(&error.kind, StoreErrorKind::Other(what) if what.contains("ascending")), "{error:?}");
    }
}

#[tokio::test]
async fn a_bucket_in_another_region_is_said_to_be() {
    let script = Script::start(vec![refuses_with(301, "PermanentRedirect", "x-amz-bucket-region: eu-north-1\r\n")]).await;
    let error = script.store().await.get("a", 1).await.unwrap_err();
    assert!(render(&error).contains("the bucket is in eu-north-1: set `store.region` to that"), "{}", render(&error));
}

#[tokio::test]
async fn a_refusal_reads_well() {
    let script = Script::start(vec![refuses_with(403, "AccessDenied", "x-amz-request-id: R1\r\n")]).await;
    let text = render(&script.store().await.get("blog/x", 1).await.unwrap_err());
    let first = "GET blog/x in s3://bucket/some/prefix failed: access denied: HTTP 403 AccessDenied: the words of AccessDenied (request R1)";
    assert_eq!(text.lines().next().unwrap(), first);
}

#[tokio::test]
async fn a_servers_words_cannot_move_the_cursor() {
    let script = Script::start(vec![refuses(403, "Bad&#27;[2J&#10;")]).await;
    let text = render(&script.store().await.get("a", 1).await.unwrap_err());
    assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234";
    for bad in [Play::Breaks(half.into()), Play::Stalls(half.into())] {
        let script = Script::start(vec![bad.clone(), object("0123456789")]).await;
        assert_eq!(&script.store().await.get("a", 10).await.unwrap()[..], b"0123456789");
        let script = Script::start(vec![bad]).await;
        assert_eq!(script.store().await.get("a", 10).await.unwrap_err().kind, StoreErrorKind::Unreachable);
        assert_eq!(script.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_body_without_length_is_stopped_at_the_limit() {
    let play = Play::Says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n".into());
    let script = Script::start(vec![play]).await;
    let store = script.store().await;
    assert_eq!(&store.get("a", 10).await.unwrap()[..], b"0123456789");
    assert_eq!(store.get("a", 9).await.unwrap_err().kind, StoreErrorKind::TooLarge(9));
}

#[tokio::test]
async fn a_checksum_that_does_not_fit_the_body_is_damage() {
    let wrong = base64::engine::general_purpose::STANDARD.encode([1; 32]);
    let play = Play::Says(format!("HTTP/1.1 200 OK\r\nx-amz-checksum-sha256: {wrong}\r\ncontent-length: 4\r\n\r\nbody"));
    let script = Script::start(vec![play]).await;
    let error = script.store().await.get("a", 10).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Damaged(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_not_believed() {
    let script = Script::start(vec![object("0123456789")]).await;
    let error = script.store().await.get_range("a", 2, 3).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Damaged(_)), "{error:?}");
}

#[tokio::test]
async fn silence_ends_in_bounded_time() {
    let script = Script::start(vec![Play::Stalls(String::new())]).await;
    let store = script.store().await;
    let started = Instant::now();
    assert_eq!(store.list("", None).await.unwrap_err().kind, StoreErrorKind::Unreachable);
    assert_eq!(store.get("a", 1).await.unwrap_err().kind, StoreErrorKind::Unreachable);
    let error = put(&store).await.unwrap_err();
    assert_eq!((&error.kind, error.exit()), (&StoreErrorKind::Unreachable, Exit::Unavailable));
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn a_server_that_never_reads_is_left_in_bounded_time() {
    // Accepts by the kernel's backlog alone; the body is larger than what the sockets hold.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let store = S3Store::with_patience(&settings(&endpoint), hasty()).await.unwrap();
    let error = store.put_new("a", vec![0; 16 << 20].into(), [0; 32]).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = S3Store::with_patience(&settings(&endpoint), hasty()).await.unwrap();
    let started = Instant::now();
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable);
    assert!(render(&error).contains("Connection refused"), "{}", render(&error));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn missing_credentials_are_named() {
    #[derive(Debug)]
    struct Nobody;
    impl aws_credential_types::provider::ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> Answer<'a>
        where
            Self: 'a,
        {
            Answer::ready(Err(CredentialsError::not_loaded("the chain came to its end")))
        }
    }
    let script = Script::start(vec![ok()]).await;
    let mut store = script.store().await;
    let config = store.client.config().to_builder();
    store.client = Client::from_conf(config.credentials_provider(Nobody).build());
    for error in [store.list("", None).await.unwrap_err(), put(&store).await.unwrap_err()] {
        assert_eq!((&error.kind, error.exit()), (&StoreErrorKind::NoCredentials, Exit::Denied), "{error:?}");
        assert!(render(&error).contains("the chain came to its end"), "{}", render(&error));
    }
    assert_eq!(script.requests().len(), 0);
}

#[tokio::test]
async fn packs_and_manifests_are_locked_if_told() {
    let heads = async |lock, key: &str| {
        let script = Script::start(vec![ok()]).await;
        let settings = S3Settings { object_lock: lock, ..settings(&script.endpoint) };
        let mut store = S3Store::with_patience(&settings, hasty()).await.unwrap();
        store.lock.now = || UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        store.put_new(key, Bytes::from_static(b"body"), [7; 32]).await.unwrap();
        script.requests().concat()
    };
    for (mode, named) in [(LockMode::Governance, "governance"), (LockMode::Compliance, "compliance")] {
        let lock = Some(ObjectLock { days: 30, mode });
        for key in ["blog/packs/ab/x", "blog/snapshots/x"] {
            let head = heads(lock, key).await;
            // 1,800,000,000 is the 15th of January 2027, 8 o'clock.
            for line in
                [format!("x-amz-object-lock-mode: {named}"), "x-amz-object-lock-retain-until-date: 2027-02-14t08:00:00z".into()]
            {
                assert!(head.lines().any(|found| found == line), "{line} in {head}");
            }
        }
        assert!(!heads(lock, "blog/checkpoints/x").await.contains("object-lock"));
    }
    assert!(!heads(None, "blog/packs/ab/x").await.contains("object-lock"));
}

mod probes;
