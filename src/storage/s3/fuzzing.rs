//! What the fuzz target holds against the answers of a server (see `crate::fuzzing`). They are read by the SDK, which no server is asked by here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::client::configuration;
use super::lock::Lock;
use super::{Deleter, Patience, S3Store, Store, StoreError};
use crate::config::{Credentials, S3Settings, Secret};
use crate::error::render;
use crate::storage::key::check_key;

/// Bytes that are asked for.
const LIMIT: u64 = 64;

/// A store whose server gives the same answer to all that it is asked.
struct Bench {
    runtime: tokio::runtime::Runtime,
    store: S3Store,
    answer: Answer,
}

#[derive(Debug, Clone, Default)]
struct Answer(Arc<Mutex<Vec<u8>>>);

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let settings = S3Settings {
            bucket: "bucket".to_owned(),
            prefix: "some/prefix".to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            path_style: true,
            credentials: Credentials::Keys { id: "id".to_owned(), secret: Secret::new("secret".to_owned()) },
            object_lock: None,
        };
        // One try, whatever is answered: nothing is waited for.
        let patience = Patience { attempts: 1, backoff: Duration::ZERO, ..Patience::default() };
        let answer = Answer::default();
        let configured = runtime.block_on(configuration(&settings, &patience)).expect("settings that fit");
        let client = Client::from_conf(configured.http_client(SharedHttpClient::new(answer.clone())).build());
        let store = S3Store {
            client,
            bucket: settings.bucket,
            prefix: "some/prefix/".to_owned(),
            patience,
            unconditional: false.into(),
            lock: Lock::new(None),
        };
        Self { runtime, store, answer }
    }
}

impl HttpClient for Answer {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Answer {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(response(&self.0.lock().unwrap_or_else(PoisonError::into_inner))))
    }
}

/// A status in the first line, headers in the lines after it, and behind an empty line the body.
fn response(data: &[u8]) -> HttpResponse {
    let (head, body) = match data.windows(2).position(|at| at == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &data[data.len()..]),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.parse().ok()).and_then(|status: u16| StatusCode::try_from(status).ok());
    let status = status.unwrap_or_else(|| StatusCode::try_from(200).expect("a status"));
    let mut response = HttpResponse::new(status, SdkBody::from(Bytes::copy_from_slice(body)));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        // What can't be a header never comes this far.
        if let (Ok(name), Ok(value)) = (hyper::header::HeaderName::try_from(name), hyper::header::HeaderValue::try_from(value))
            && let Ok(value) = std::str::from_utf8(value.as_bytes())
        {
            response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    response
}

/// An answer of a server: the first byte is the request's, what follows is the answer.
pub fn s3_answers(data: &[u8]) {
    static BENCH: LazyLock<Mutex<Bench>> = LazyLock::new(|| Mutex::new(Bench::new()));
    let Some((request, answer)) = data.split_first() else { return };
    let bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    let Bench { runtime, store, .. } = &*bench;
    *bench.answer.0.lock().unwrap_or_else(PoisonError::into_inner) = answer.to_vec();
    store.unconditional.store(false, Ordering::Relaxed);
    runtime.block_on(async {
        match request % 8 {
            0 => {
                let after = (request & 8 != 0).then_some("blog/packs/a");
                let Some(page) = told(store.list("blog/packs/", after).await) else { return };
                let keys = after.into_iter().chain(page.objects.iter().map(|object| object.key.as_str()));
                assert!(keys.is_sorted_by(|before, key| before < key));
                assert!(page.objects.iter().all(|object| check_key(&object.key).is_ok()));
                assert!(!page.more || !page.objects.is_empty());
            }
            1 => assert!(told(store.get("blog/x", LIMIT).await).is_none_or(|bytes| bytes.len() as u64 <= LIMIT)),
            2 => assert!(told(store.get_range("blog/x", 5, LIMIT).await).is_none_or(|bytes| bytes.len() as u64 == LIMIT)),
            3 => drop(told(store.checksum("blog/x").await)),
            4 => drop(told(store.put_new("blog/x", Bytes::from_static(b"x"), [0; 32]).await)),
            5 => drop(told(store.delete(&["blog/x".to_owned()]).await)),
            6 => drop(told(store.expiring("blog").await).map(|rules| rules.iter().map(ToString::to_string).collect::<Vec<_>>())),
            _ => drop(told(store.default_lock().await)),
        }
    });
}

/// What was answered; a failure is told in words that are short, and harmless on a terminal.
fn told<T>(result: Result<T, StoreError>) -> Option<T> {
    let error = match result {
        Ok(answer) => return Some(answer),
        Err(error) => error,
    };
    let text = render(&error);
    assert!(text.len() <= 4096, "{} bytes of words", text.len());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    None
}
