//! Every limit in time that a request has.

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;

use super::super::OPERATION_TIMEOUT;

/// How long each thing may take, and how often it is tried.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// To connect, TLS included.
    pub(super) connect: Duration,
    /// To begin an answer, and between two pieces of it.
    pub(super) answer: Duration,
    /// To send one attempt's body, of a pack's ordinary size, and get its answer.
    pub(super) attempt: Duration,
    /// For all attempts of a small request together.
    pub(super) operation: Duration,
    /// The slowest uplink that a body is given time for, in bytes per second.
    pub(super) slowest_uplink: u64,
    /// Attempts of one request.
    pub(super) attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub(super) backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            attempt: Duration::from_secs(150),
            operation: OPERATION_TIMEOUT,
            // 16 MiB get 85 s beside the answer's time.
            slowest_uplink: 192 * 1024,
            attempts: 5,
            backoff: Duration::from_millis(500),
        }
    }
}

impl Patience {
    /// The SDK's limits for a request with a body of so many bytes.
    pub(super) fn timeouts(&self, body: u64) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            // The SDK counts the sending of the body in, and pools connections by this value: so it is the same for
            // all requests but those of very large bodies, and the attempt's limit is what differs.
            .read_timeout(self.attempt.max(self.for_body(body)))
            .operation_attempt_timeout(self.for_body(body))
            .operation_timeout(self.overall(body))
            .build()
    }

    /// For one attempt.
    pub(super) fn for_body(&self, length: u64) -> Duration {
        self.answer + Duration::from_secs(length / self.slowest_uplink)
    }

    /// For all attempts together: two at the slowest, and never less than for a small request.
    pub(super) fn overall(&self, length: u64) -> Duration {
        self.operation.max(self.for_body(length).saturating_mul(2))
    }

    pub(super) fn before_retry(&self, attempt: u32) -> Duration {
        self.backoff.saturating_mul(1 << attempt.min(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_get_more_time() {
        let patience = Patience::default();
        assert_eq!(patience.for_body(0), patience.answer);
        assert_eq!(patience.for_body(16 << 20), Duration::from_secs(30 + 85));
        assert_eq!(patience.for_body(1 << 30), Duration::from_secs(30 + 5461));
        assert_eq!((patience.overall(0), patience.overall(1 << 30)), (patience.operation, Duration::from_secs(2 * 5491)));
    }
}
