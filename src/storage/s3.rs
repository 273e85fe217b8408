//! S3 and what speaks its protocol.
//!
//! The SDK retries what it knows to be passing. Here are added: the retry of a body that broke off, of a create that
//! met another one (HTTP 409), and a limit to every wait, the SDK having none of its own for a server that falls silent.

mod client;
mod clock;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod lock;
mod patience;
mod probe;
mod refusal;
mod span;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, Object};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};

use super::key::{check_key, check_prefix};
use super::{Deleter, Failure, Listed, Page, Put, Sha256, Store, StoreError, StoreErrorKind};
use crate::config::S3Settings;
use clock::ServerClock;
use lock::Lock;
use patience::Patience;
pub use probe::{DefaultLock, Expiry};
use refusal::{Refusal, failure};
use span::Span;

/// Deletions under way at a time.
const DELETING: usize = 16;

/// A store in an S3 bucket.
pub struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or ends with a slash.
    prefix: String,
    patience: Patience,
    /// The server has shown that it doesn't know `If-None-Match`: creates are sent without it. Names are made of content
    /// or are unique, so nothing but the server's own guard against overwriting is lost.
    unconditional: AtomicBool,
    lock: Lock,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client would show its configuration.
        f.debug_tuple("S3Store").field(&self.url()).finish()
    }
}

impl S3Store {
    /// A store in a bucket. Makes no request to it; only where neither the settings nor the environment name a
    /// region, the host's metadata service is asked for one.
    pub async fn new(settings: &S3Settings) -> Result<Self, StoreError> {
        Self::with_patience(settings, Patience::default()).await
    }

    async fn with_patience(settings: &S3Settings, patience: Patience) -> Result<Self, StoreError> {
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        match client::client(settings, &patience).await {
            Ok(client) => Ok(Self {
                client,
                bucket: settings.bucket.clone(),
                prefix,
                patience,
                unconditional: AtomicBool::new(false),
                lock: Lock::new(settings.object_lock),
            }),
            Err(failure) => Err(failure.of("opening", "the client", url(&settings.bucket, &prefix))),
        }
    }

    /// Bounds all of a request, whose body may have so many bytes, by [`Patience::overall`].
    async fn bounded<T>(
        &self,
        request: &'static str,
        key: &str,
        body: u64,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, StoreError> {
        let limit = self.patience.overall(body);
        let result = match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::because(StoreErrorKind::Unreachable, format!("not done after {} s", limit.as_secs()))),
        };
        result.map_err(|failure| failure.of(request, key, self.url()))
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, Failure> {
        check_prefix(prefix)?;
        let prefix = self.full_key(prefix);
        let mut after = after.map(|after| self.full_key(after));
        let clock = ServerClock::default();
        loop {
            let output = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .set_start_after(after.clone())
                .max_keys(1000)
                .customize()
                .interceptor(clock.clone())
                .send()
                .await
                .map_err(|error| failure(error, &StoreErrorKind::NoBucket))?;
            let last = output.contents().last().and_then(Object::key).map(str::to_owned);
            let objects = output.contents.unwrap_or_default().into_iter();
            let objects: Vec<_> = objects.filter_map(|object| self.listed(object).transpose()).collect::<Result<_, _>>()?;
            // Whoever lists goes on from the last key: a server that repeats itself would keep it at that for ever.
            let before = after.as_deref().and_then(|after| after.strip_prefix(&self.prefix));
            let keys = before.into_iter().chain(objects.iter().map(|object| object.key.as_str()));
            if !keys.is_sorted_by(|before, key| before < key) || last.is_some() && last <= after {
                return Err(StoreErrorKind::Other("the listing is not in ascending order".to_owned()).into());
            }
            let more = output.is_truncated == Some(true);
            // A page of nothing but other programs' objects would end the listing for who asks.
            if !objects.is_empty() || !more {
                return Ok(Page { objects, more, clock: clock.get() });
            }
            if last.is_none() {
                let what = "the listing is cut off without telling where it goes on".to_owned();
                return Err(Failure::from(StoreErrorKind::Other(what)));
            }
            after = last;
        }
    }

    /// An object as listed; `None` when its key can't be one of ours (a directory marker made in a console, say).
    fn listed(&self, object: Object) -> Result<Option<Listed>, Failure> {
        let Some(key) = object.key.as_deref().and_then(|key| key.strip_prefix(&self.prefix)) else { return Ok(None) };
        if check_key(key).is_err() {
            return Ok(None);
        }
        let incomplete = |what| Failure::from(StoreErrorKind::Other(format!("the listing tells no {what} of {key}")));
        let size = object.size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| incomplete("size"))?;
        let modified = object.last_modified.and_then(|time| {
            let whole = Duration::from_secs(u64::try_from(time.secs()).ok()?);
            UNIX_EPOCH.checked_add(whole + Duration::from_nanos(u64::from(time.subsec_nanos())))
        });
        Ok(Some(Listed { key: key.to_owned(), size, modified: modified.ok_or_else(|| incomplete("time"))? }))
    }

    /// Gets an object or a range of it, again from the start when the body breaks off.
    async fn object(&self, key: &str, limit: u64, range: Option<Span>) -> Result<Bytes, Failure> {
        check_key(key)?;
        let mut attempt = 0;
        loop {
            let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
            let request = request.set_range(range.map(|span| span.header()));
            let output = request.send().await.map_err(|error| failure(error, &StoreErrorKind::NotFound))?;
            if let Some(span) = range {
                span.check(&output)?;
            }
            match self.body(output, limit).await {
                Err(failure) if attempt + 1 < self.patience.attempts && is_passing(&failure.kind) => {
                    tokio::time::sleep(self.patience.before_retry(attempt)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn body(&self, output: GetObjectOutput, limit: u64) -> Result<Bytes, Failure> {
        let announced = output.content_length.and_then(|length| u64::try_from(length).ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(StoreErrorKind::TooLarge(limit).into());
        }
        // What is announced is believed up to the size of ordinary objects; a larger body grows as it comes.
        let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(announced.min(32 << 20));
        let mut body = output.body;
        loop {
            let piece = match tokio::time::timeout(self.patience.answer, body.try_next()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(bytes.freeze()),
                Ok(Err(error)) => return Err(refusal::broken_body(error)),
                Err(_) => return Err(Failure::because(StoreErrorKind::Unreachable, "the object stopped coming")),
            };
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(StoreErrorKind::TooLarge(limit).into());
            }
            bytes.extend_from_slice(&piece);
        }
    }

    async fn kept_checksum(&self, key: &str) -> Result<Option<Sha256>, Failure> {
        check_key(key)?;
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).checksum_mode(ChecksumMode::Enabled);
        let output = request.send().await.map_err(|error| failure(error, &StoreErrorKind::NotFound))?;
        // One of parts sent apart is no SHA-256 of the whole.
        let kept = output.checksum_sha256.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        Ok(kept.and_then(|sum| sum.try_into().ok()))
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        check_key(key)?;
        match self.client.delete_object().bucket(&self.bucket).key(self.full_key(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match failure(error, &StoreErrorKind::NotFound) {
                Failure { kind: StoreErrorKind::NotFound, .. } => Ok(()),
                failure => Err(failure),
            },
        }
    }

    async fn create(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, Failure> {
        check_key(key)?;
        let length = i64::try_from(body.len()).map_err(|_| StoreErrorKind::TooLarge(i64::MAX.unsigned_abs()))?;
        let checksum = base64::engine::general_purpose::STANDARD.encode(sha256);
        let timeouts = self.patience.timeouts(body.len() as u64);
        let (lock, until) = self.lock.of(key).unzip();
        let mut conditional = !self.unconditional.load(Ordering::Relaxed);
        let mut conflicts = 0;
        loop {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
            let sent = request
                .body(body.clone().into())
                .content_length(length)
                .checksum_sha256(&checksum)
                .set_if_none_match(conditional.then(|| "*".to_owned()))
                .set_object_lock_mode(lock.clone())
                .set_object_lock_retain_until_date(until)
                .customize()
                .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts.clone()))
                .send()
                .await;
            let Err(error) = sent else {
                if !conditional {
                    self.unconditional.store(true, Ordering::Relaxed);
                }
                return Ok(Put::Created);
            };
            match Refusal::of(&error) {
                Some(refusal) if refusal.status == 412 && conditional => return Ok(Put::Existed),
                Some(refusal) if refusal.status == 409 && conflicts + 1 < self.patience.attempts => {
                    tokio::time::sleep(self.patience.before_retry(conflicts)).await;
                    conflicts += 1;
                }
                Some(refusal) if conditional && refusal.may_mean_the_condition() => {
                    tracing::info!(store = self.url(), %refusal, "the store doesn't take If-None-Match; trying without");
                    conditional = false;
                }
                _ => return Err(failure(error, &StoreErrorKind::NoBucket)),
            }
        }
    }
}

#[async_trait]
impl Store for S3Store {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.bounded("LIST", prefix, 0, self.page(prefix, after)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.bounded("GET", key, limit, self.object(key, limit, None)).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.bounded("GET", key, length, async {
            let Some(span) = Span::new(offset, length)? else { return Ok(Bytes::new()) };
            let bytes = self.object(key, length, Some(span)).await?;
            if bytes.len() as u64 == length { Ok(bytes) } else { Err(span.damaged(&format!("{} bytes came", bytes.len()))) }
        })
        .await
    }

    async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
        self.bounded("HEAD", key, 0, self.kept_checksum(key)).await
    }

    async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
        self.bounded("PUT", key, body.len() as u64, self.create(key, body, sha256)).await
    }

    fn url(&self) -> String {
        url(&self.bucket, &self.prefix)
    }
}

#[async_trait]
impl Deleter for S3Store {
    /// One request for each object, which every server knows; a request for many needs a checksum of a kind on which they differ.
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let keys = futures::stream::iter(keys.to_vec()).map(Ok);
        keys.try_for_each_concurrent(DELETING, |key| async move { self.bounded("DELETE", &key, 0, self.remove(&key)).await })
            .await
    }
}

fn url(bucket: &str, prefix: &str) -> String {
    format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned()
}

/// Whether the same request may well succeed a moment later.
fn is_passing(kind: &StoreErrorKind) -> bool {
    *kind == StoreErrorKind::Unreachable
}

#[cfg(test)]
mod tests;
