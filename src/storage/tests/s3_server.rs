//! An S3 server in this process: s3s-fs behind hyper on a loopback port. It checks signatures and checksums.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{Credentials, S3Settings, Secret};

/// Runs until it is dropped.
pub(in crate::storage) struct S3Server {
    pub(in crate::storage) endpoint: String,
    _tasks: JoinSet<()>,
}

impl S3Server {
    /// Serves the directories in `root` as buckets.
    pub(in crate::storage) async fn start(root: &Path) -> Self {
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        service.set_auth(SimpleAuth::from_single("test-access-key", "test-secret-key"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { endpoint, _tasks: tasks }
    }
}

/// How to reach the bucket `bucket` of such a server.
pub(in crate::storage) fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "bucket".into(),
        prefix: "some/prefix".into(),
        region: None,
        endpoint: Some(endpoint.into()),
        path_style: true,
        credentials: Credentials::Keys { id: "test-access-key".into(), secret: Secret::new("test-secret-key".into()) },
        object_lock: None,
    }
}
