//! What a server or the SDK said, turned into a kind of failure and into words for a person.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::primitives::ByteStreamError;

use super::super::{Failure, StoreErrorKind};

/// An answer that refuses the request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    code: String,
    message: String,
    request_id: Option<String>,
    /// Where the bucket really is, which S3 tells who asks in another region.
    bucket_region: Option<String>,
}

impl Refusal {
    /// The answer behind an error, if there was one.
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Self> {
        let response = error.raw_response()?;
        let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
        let said = |text: Option<&str>| text.map(harmless).unwrap_or_default();
        Some(Self {
            status: response.status().as_u16(),
            code: said(metadata.and_then(|metadata| metadata.code())),
            message: said(metadata.and_then(|metadata| metadata.message())),
            request_id: metadata.and_then(|metadata| metadata.request_id()).map(harmless),
            bucket_region: response.headers().get("x-amz-bucket-region").map(harmless),
        })
    }

    /// Whether the server may have refused because it doesn't know `If-None-Match`. One that refuses for another
    /// reason refuses the same request without it too.
    pub(super) fn may_mean_the_condition(&self) -> bool {
        match self.code.as_str() {
            "NotImplemented" | "InvalidArgument" | "InvalidRequest" | "UnsupportedArgument" | "UnsupportedHeader" => true,
            "" | "BadRequest" | "UnknownError" => matches!(self.status, 400 | 501),
            _ => self.status == 501,
        }
    }

    /// `missing` is what a plain 404 means for the request.
    fn kind(&self, missing: &StoreErrorKind) -> StoreErrorKind {
        match (self.code.as_str(), self.status) {
            ("NoSuchKey", _) => StoreErrorKind::NotFound,
            ("NoSuchBucket", _) => StoreErrorKind::NoBucket,
            // Refusals by another status than what they mean: the host's clock is off, the object is in cold storage.
            ("RequestTimeTooSkewed" | "InvalidObjectState", _) => StoreErrorKind::Other(self.to_string()),
            ("InvalidToken" | "ExpiredToken" | "TokenRefreshRequired" | "InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => {
                StoreErrorKind::Denied
            }
            ("NotSignedUp" | "AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) => StoreErrorKind::Denied,
            ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity", _) => StoreErrorKind::Full,
            ("InvalidRange", _) | (_, 416) => StoreErrorKind::Damaged("it ends before the bytes that were asked for".into()),
            (_, 401 | 403) => StoreErrorKind::Denied,
            (_, 404) => missing.clone(),
            (_, 507) => StoreErrorKind::Full,
            (_, 501) => StoreErrorKind::Other(self.to_string()),
            (_, 408 | 429 | 500..=599) => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Other(self.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let (Some(region), 301 | 307 | 400) = (&self.bucket_region, self.status) {
            write!(f, "; the bucket is in {region}: set `store.region` to that")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl Error for Refusal {}

/// Turns the SDK's error into ours. `missing` is what a plain 404 means for the request.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>, missing: &StoreErrorKind) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Some(refusal) = Refusal::of(&error) {
        return match &error {
            SdkError::ServiceError(_) => Failure::because(refusal.kind(missing), refusal),
            // An answer that nobody could read, from something that isn't S3, say.
            _ if refusal.status < 400 => other(&error),
            _ => Failure::because(refusal.kind(missing), refusal),
        };
    }
    if chain(&error).any(|reason| reason.is::<CredentialsError>()) {
        return Failure::because(StoreErrorKind::NoCredentials, words(&error));
    }
    match &error {
        SdkError::TimeoutError(_) => Failure::because(StoreErrorKind::Unreachable, words(&error)),
        SdkError::DispatchFailure(dispatch)
            if dispatch.is_io()
                || dispatch.is_timeout()
                || dispatch.as_other().is_some()
                // Something that doesn't speak HTTP answers there.
                || chain(&error).any(|reason| reason.is::<hyper::Error>()) =>
        {
            Failure::because(StoreErrorKind::Unreachable, words(&error))
        }
        _ => other(&error),
    }
}

/// A body that ended early, stopped, or isn't what its checksum says.
pub(super) fn broken_body(error: ByteStreamError) -> Failure {
    let words = words(&error);
    if words.contains("checksum mismatch") {
        return StoreErrorKind::Damaged(words).into();
    }
    Failure::because(StoreErrorKind::Unreachable, words)
}

fn other(error: &(dyn Error + 'static)) -> Failure {
    StoreErrorKind::Other(words(error)).into()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The chain of reasons in one line, without the layers that only say that there is a reason.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for reason in chain(error).map(ToString::to_string) {
        if matches!(reason.as_str(), "dispatch failure" | "io error" | "other" | "streaming error") || text.contains(&reason) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&reason);
    }
    if text.is_empty() { error.to_string() } else { harmless(&text) }
}

/// What a server said, fit for a terminal and a log line.
pub(super) fn harmless(text: &str) -> String {
    text.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
