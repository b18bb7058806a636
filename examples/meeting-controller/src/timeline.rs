//! When the load does what: a sequence of steps that depends on the rates alone, however it is asked.

use crate::load::LoadConfig;

/// What comes next on the timeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Signal,
    Churn,
    PanicMeeting,
    RefreshToken,
    StallMeeting,
}

/// How often the controller's token is refreshed, in seconds.
const REFRESH_PERIOD: f64 = 2.0;

/// Steps by their times, in seconds: of two at the same time, the one named first above comes first.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Step, seconds between two of it, how many came.
    streams: Vec<(Step, f64, u64)>,
    stall_at: Option<f64>,
}

impl Timeline {
    pub(crate) fn new(config: &LoadConfig) -> Self {
        let every = config.panic_meeting_every.map_or(0.0, |every| 1.0 / every.as_secs_f64());
        let rates = [
            (Step::Signal, config.rate),
            (Step::Churn, config.churn),
            (Step::PanicMeeting, every),
            (Step::RefreshToken, 1.0 / REFRESH_PERIOD),
        ];
        let streams = rates.into_iter().filter(|(_, rate)| *rate > 0.0 && rate.is_finite());
        Self {
            streams: streams.map(|(step, rate)| (step, 1.0 / rate, 0)).collect(),
            stall_at: config.stall_meeting.map(|at| at.as_secs_f64()),
        }
    }

    /// The next step before `end`.
    pub(crate) fn next_before(&mut self, end: f64) -> Option<Step> {
        let due = |(_, period, came): &(Step, f64, u64)| (*came + 1) as f64 * period;
        let next = self.streams.iter_mut().min_by(|one, other| due(one).total_cmp(&due(other)));
        let at = next.as_ref().map_or(f64::INFINITY, |stream| due(stream));
        if let Some(stall) = self.stall_at.filter(|stall| *stall < at.min(end)) {
            self.stall_at = None;
            tracing::info!(at = stall, "a meeting stalls");
            return Some(Step::StallMeeting);
        }
        // Up to and with the end, give or take what the sum of the periods is off.
        let stream = next.filter(|_| at <= end + 1e-9)?;
        stream.2 += 1;
        Some(stream.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Step, Timeline};
    use crate::load::LoadConfig;

    #[test]
    fn the_timeline_does_not_depend_on_when_it_is_asked() {
        let config = LoadConfig {
            meetings: 1,
            connections_per_meeting: 1,
            rate: 1000.0,
            churn: 30.0,
            seed: 1,
            duration: None,
            panic_meeting_every: Some(Duration::from_millis(700)),
            no_replacement: false,
            stall_meeting: Some(Duration::from_millis(500)),
        };
        let mut at_once = Timeline::new(&config);
        let all: Vec<Step> = std::iter::from_fn(|| at_once.next_before(2.0)).collect();
        let mut in_parts = Timeline::new(&config);
        let parts: Vec<Step> = (1..=200)
            .flat_map(|tick| {
                let end = f64::from(tick) / 100.0;
                std::iter::from_fn(|| in_parts.next_before(end)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(all, parts);
        assert_eq!(all.iter().filter(|step| **step == Step::Signal).count(), 2000);
        assert_eq!(all.iter().filter(|step| **step == Step::Churn).count(), 60);
        assert_eq!(all.iter().filter(|step| **step == Step::PanicMeeting).count(), 2);
        assert_eq!(all.iter().filter(|step| **step == Step::RefreshToken).count(), 1);
        assert_eq!(all.iter().filter(|step| **step == Step::StallMeeting).count(), 1);
    }
}
