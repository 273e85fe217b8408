//! What AWS does and s3s-fs doesn't: a refused PUT leaves nothing behind, two conditional PUTs at once make one object,
//! a PUT into a bucket that isn't there makes none, and a listing has at most 1,000 keys.

use base64::Engine as _;
use bytes::BytesMut;
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

const CHECKSUM: &str = "x-amz-checksum-sha256";

pub(super) struct Strict {
    files: FileSystem,
    writing: Mutex<()>,
}

impl Strict {
    pub(super) fn new(files: FileSystem) -> Self {
        Self { files, writing: Mutex::new(()) }
    }
}

#[async_trait::async_trait]
impl S3 for Strict {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut body = BytesMut::new();
        if let Some(mut stream) = req.input.body.take() {
            while let Some(piece) = stream.next().await {
                body.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
            }
        }
        if req.input.content_length.is_some_and(|told| u64::try_from(told) != Ok(body.len() as u64)) {
            return Err(s3_error!(IncompleteBody));
        }
        let trailer = req.trailing_headers.as_ref().and_then(|trailers| {
            trailers.read(|headers| headers.get(CHECKSUM).and_then(|value| value.to_str().ok()).map(str::to_owned))
        });
        if let Some(told) = req.input.checksum_sha256.clone().or_else(|| trailer.flatten())
            && told != base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&body))
        {
            return Err(s3_error!(BadDigest, "The SHA-256 you specified did not match the calculated checksum."));
        }

        let _one_at_a_time = self.writing.lock().await;
        let bucket = HeadBucketInput { bucket: req.input.bucket.clone(), ..HeadBucketInput::default() };
        if self.files.head_bucket(asking(&req, bucket)).await.is_err() {
            return Err(s3_error!(NoSuchBucket));
        }
        req.input.body = Some(s3s::Body::from(body.freeze()).into());
        self.files.put_object(req).await
    }

    async fn list_objects_v2(&self, mut req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        req.input.max_keys = Some(req.input.max_keys.unwrap_or(1000).clamp(0, 1000));
        self.files.list_objects_v2(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files.create_bucket(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }
}

/// A request of our own, as who asked `of`.
fn asking<T, U>(of: &S3Request<T>, input: U) -> S3Request<U> {
    S3Request {
        input,
        method: of.method.clone(),
        uri: of.uri.clone(),
        headers: of.headers.clone(),
        extensions: Default::default(),
        credentials: of.credentials.clone(),
        region: of.region.clone(),
        service: of.service.clone(),
        trailing_headers: None,
    }
}
