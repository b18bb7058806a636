//! Heartbeats to the global controller: a fast one every 10 s, a comprehensive one every 30 s, both from the start on.
//!
//! Each tells what `ControllerMetrics::snapshot` reads at that moment, from the very cells that are scraped. They go to
//! a sink: the binary's logs and answers after a while, a test's collects. A sink that refuses is counted, and the next heartbeat comes as planned.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::actor_metrics::ActorMetrics;
use crate::controller::ControllerConfig;
use crate::controller_metrics::ControllerMetrics;
use crate::fact::Fact;
use crate::metrics::{HeartbeatStatus, HeartbeatType};
use crate::process_usage::ProcessUsage;

/// What a heartbeat says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heartbeat {
    /// Who.
    pub controller_id: String,
    /// Meetings now.
    pub current_meetings: u64,
    /// Meetings at most.
    pub max_meetings: u64,
    /// Participants now.
    pub current_participants: u64,
    /// Participants at most.
    pub max_participants: u64,
    /// How it is.
    pub health: Health,
    /// In a comprehensive heartbeat only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Heartbeat {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> HeartbeatType {
        if self.usage.is_some() { HeartbeatType::Comprehensive } else { HeartbeatType::Fast }
    }
}

/// How the controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Health {
    /// Takes new meetings.
    Healthy,
    /// As many meetings or participants as it may hold.
    Full,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Usage {
    /// Percent of all cores since the last one; none where it could not be read.
    pub cpu_percent: Option<f64>,
    /// Percent of the machine's memory; none where it could not be read.
    pub memory_percent: Option<f64>,
}

/// Where heartbeats go.
pub trait HeartbeatSink: Send + 'static {
    /// Why a heartbeat was not taken.
    type Error: std::fmt::Display + Send;

    /// Takes a heartbeat.
    fn send(&mut self, heartbeat: &Heartbeat) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Between fast heartbeats.
    pub fast: Duration,
    /// Between comprehensive ones.
    pub comprehensive: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { fast: Duration::from_secs(10), comprehensive: Duration::from_secs(30) }
    }
}

/// Sends heartbeats until cancelled.
pub async fn run(
    config: ControllerConfig,
    intervals: Intervals,
    metrics: ActorMetrics,
    mut sink: impl HeartbeatSink,
    cancel: CancellationToken,
) {
    let view = ControllerMetrics::new(*metrics.metrics());
    let mut process = ProcessUsage::start();
    let mut fast = tokio::time::interval(intervals.fast);
    let mut comprehensive = tokio::time::interval(intervals.comprehensive);
    // After a pause one heartbeat, not all that were missed.
    fast.set_missed_tick_behavior(MissedTickBehavior::Skip);
    comprehensive.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let usage = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            _ = fast.tick() => None,
            _ = comprehensive.tick() => {
                Some(Usage { cpu_percent: process.cpu_percent(), memory_percent: ProcessUsage::memory_percent() })
            }
        };
        let now = view.snapshot();
        let full = now.meetings >= config.max_meetings || now.participants >= config.max_participants;
        let heartbeat = Heartbeat {
            controller_id: config.id.clone(),
            current_meetings: now.meetings,
            max_meetings: config.max_meetings,
            current_participants: now.participants,
            max_participants: config.max_participants,
            health: if full { Health::Full } else { Health::Healthy },
            usage,
        };
        let sent = Instant::now();
        let status = match sink.send(&heartbeat).await {
            Ok(()) => HeartbeatStatus::Success,
            Err(error) => {
                tracing::warn!(%error, "heartbeat not taken");
                HeartbeatStatus::Error
            }
        };
        let took = sent.elapsed();
        metrics.count(Fact::HeartbeatTook(heartbeat.kind(), took)).await;
        metrics.count(Fact::Heartbeat((status, heartbeat.kind()))).await;
    }
}
