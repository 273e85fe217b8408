//! The SDK's client, with nothing left to its defaults that could hang or surprise.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, Builder, Config, Credentials as Keys, Region, RequestChecksumCalculation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};

use super::super::{Failure, StoreErrorKind};
use super::Patience;
use crate::config::{Credentials, S3Settings};

/// What servers other than AWS take when they don't care.
const REGION_OF_NO_MATTER: &str = "us-east-1";

pub(super) async fn client(settings: &S3Settings, patience: &Patience) -> Result<Client, Failure> {
    Ok(Client::from_conf(configuration(settings, patience).await?.build()))
}

/// What the client is made of.
pub(super) async fn configuration(settings: &S3Settings, patience: &Patience) -> Result<Builder, Failure> {
    // mysql_async takes the process's provider too; whoever comes first sets the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let region = match (&settings.region, &settings.endpoint) {
        (Some(region), _) => Region::new(region.clone()),
        (None, Some(_)) => Region::from_static(REGION_OF_NO_MATTER),
        (None, None) => DefaultRegionChain::builder().build().region().await.ok_or_else(|| {
            StoreErrorKind::Other("no region is known; set `store.region`, or AWS_REGION in the environment".into())
        })?,
    };
    let credentials = match &settings.credentials {
        Credentials::Keys { id, secret } => {
            SharedCredentialsProvider::new(Keys::new(id, secret.reveal(), None, None, "configuration"))
        }
        Credentials::Chain => {
            SharedCredentialsProvider::new(DefaultCredentialsChain::builder().region(region.clone()).build().await)
        }
    };
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region)
        .credentials_provider(credentials)
        .force_path_style(settings.path_style)
        .timeout_config(patience.timeouts(0))
        .retry_config(RetryConfig::standard().with_max_attempts(patience.attempts).with_initial_backoff(patience.backoff))
        // Its grace periods have failed slow uplinks, and it doesn't see a server that stops reading; our own limits do.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Every write brings its own SHA-256; a CRC32 beside it makes some servers refuse the request.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    config.set_app_name(AppName::new(env!("CARGO_PKG_NAME")).ok());
    config.set_endpoint_url(settings.endpoint.clone());
    Ok(config)
}
