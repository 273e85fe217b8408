//! What systemd hears: readiness, the one-line status, and the watchdog's sign of life.

use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::queue::{Handle, SiteQueue};
use crate::config::SiteName;
use crate::config::schedule::Schedule;

/// A run that gives no sign of life for so long hangs: all that it waits for has a shorter timeout.
const HANGS_AFTER: Duration = Duration::from_secs(45 * 60);
/// How long the queue may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Tells systemd that the daemon serves. Without systemd nothing happens.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Tells systemd that the daemon ends.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("Stopping")]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd can't be told: {error}");
    }
}

/// Feeds the watchdog and keeps the status line, until stopped. Both come from the queue's answer and the run's own events,
/// never from a bare timer: a daemon that hangs falls silent and is restarted.
pub(super) async fn keep_informed(queue: Handle, schedules: Vec<(SiteName, Option<Schedule>)>, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let period = sd_notify::watchdog_enabled().map_or(STATUS_EVERY, |limit| (limit / 4).min(STATUS_EVERY));
    let mut shown = String::new();
    loop {
        let sites = tokio::time::timeout(ANSWER, queue.sites()).await.ok().flatten();
        match &sites {
            Some(sites) if is_alive(sites) => send(&[NotifyState::Watchdog]),
            Some(_) => tracing::error!("the run under way gave no sign of life for {} minutes", HANGS_AFTER.as_secs() / 60),
            None => tracing::error!("the run queue doesn't answer"),
        }
        if let Some(sites) = sites {
            let text = describe(&sites, &schedules, Timestamp::now());
            if text != shown {
                send(&[NotifyState::Status(&text)]);
                shown = text;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn is_alive(sites: &[SiteQueue]) -> bool {
    sites.iter().filter_map(|site| site.running.as_ref()).all(|live| live.silence() < HANGS_AFTER)
}

fn describe(sites: &[SiteQueue], schedules: &[(SiteName, Option<Schedule>)], now: Timestamp) -> String {
    if let Some(live) = sites.iter().find_map(|site| site.running.as_ref()) {
        let figures = live.figures();
        let waiting = sites.iter().filter(|site| site.queued.is_some()).count();
        let more = if waiting > 0 { format!("; {waiting} queued") } else { String::new() };
        let step = serde_json::to_string(&figures.phase).unwrap_or_default();
        return format!("Running {}: {}{more}", live.site(), step.trim_matches('"'));
    }
    let next = schedules
        .iter()
        .filter_map(|(site, schedule)| Some((schedule.as_ref()?.next_after(now)?, site)))
        .min_by_key(|(next, _)| *next);
    match next {
        Some((next, site)) => format!("Idle; next run: {site} at {}", next.strftime("%Y-%m-%d %H:%M UTC")),
        None => "Idle; runs on request only".into(),
    }
}
