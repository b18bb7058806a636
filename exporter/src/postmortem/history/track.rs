//! One series on its way through the samples of a recording: what it was at the marks, and what follows from that.
//!
//! Its memory does not grow with the samples. Called by `history.rs`.

use super::{BEFORE_NS, Extreme, LAST_NS, Moved, Silent, seconds};
use crate::Value;
use crate::diff::Name;
use crate::distribution::{self, between};
use crate::schema::{Family, Kind};

/// Silent for so many times its own median gap: it stopped.
const SILENT: u64 = 10;
/// Changes that a series must have shown before its pace counts as known.
const FEWEST_CHANGES: usize = 6;
/// A rate or level must differ by this factor to have moved.
const MOVED: f64 = 1.5;
/// Latest gaps that the median is taken of.
const GAPS: usize = 64;

/// A series on its way through the samples.
pub(super) struct Track {
    name: Name,
    kind: Kind,
    bounds: Vec<f64>,
    value: f64,
    buckets: Vec<u64>,
    first_seen_ns: u64,
    changed_ns: Option<u64>,
    gaps: Vec<u64>,
    next_gap: usize,
    /// Values at the start of the five minutes and of the last ten seconds.
    marks: [Option<Mark>; 2],
    /// Sum and count of the values in each.
    levels: [(f64, u64); 2],
    highest: (f64, u64),
    lowest: (f64, u64),
    pub(super) seen_ns: u64,
}

struct Mark {
    at_ns: u64,
    value: f64,
    buckets: Vec<u64>,
}

impl Track {
    pub(super) fn new(name: Name, family: &Family, now_ns: u64) -> Self {
        Self {
            name,
            kind: family.kind,
            bounds: family.bounds.clone(),
            value: f64::NAN,
            buckets: Vec::new(),
            first_seen_ns: now_ns,
            changed_ns: None,
            gaps: Vec::new(),
            next_gap: 0,
            marks: [None, None],
            levels: [(0.0, 0); 2],
            highest: (f64::NEG_INFINITY, 0),
            lowest: (f64::INFINITY, 0),
            seen_ns: now_ns,
        }
    }

    pub(super) fn take(&mut self, now_ns: u64, end_ns: u64, value: Value<'_>) {
        let (value, buckets): (f64, &[u64]) = match value {
            Value::U64(value) | Value::States(value) => (value as f64, &[]),
            Value::I64(value) => (value as f64, &[]),
            Value::F64(value) => (value, &[]),
            Value::Histogram { buckets, .. } => (distribution::count(buckets) as f64, buckets),
            Value::Info => return,
        };
        if now_ns > self.first_seen_ns && value.to_bits() != self.value.to_bits() {
            if let Some(changed_ns) = self.changed_ns {
                let gap = now_ns.saturating_sub(changed_ns);
                match self.gaps.get_mut(self.next_gap) {
                    Some(oldest) => *oldest = gap,
                    None => self.gaps.push(gap),
                }
                self.next_gap = (self.next_gap + 1) % GAPS;
            }
            self.changed_ns = Some(now_ns);
        }
        self.value = value;
        self.seen_ns = now_ns;
        self.buckets.clear();
        self.buckets.extend_from_slice(buckets);
        let starts = [end_ns.saturating_sub(LAST_NS + BEFORE_NS), end_ns.saturating_sub(LAST_NS)];
        for (start, mark) in starts.into_iter().zip(&mut self.marks) {
            if now_ns >= start && mark.is_none() {
                *mark = Some(Mark { at_ns: now_ns, value, buckets: buckets.to_vec() });
            }
        }
        if let Some((sum, count)) =
            self.levels.get_mut(usize::from(now_ns >= starts[1])).filter(|_| now_ns >= starts[0])
        {
            *sum += value;
            *count += 1;
        }
        if value > self.highest.0 {
            self.highest = (value, now_ns);
        }
        if value < self.lowest.0 {
            self.lowest = (value, now_ns);
        }
    }

    /// Silent for longer than its pace allows: it stopped.
    pub(super) fn silent(&self, now_ns: u64, interval_ns: u64) -> Option<Silent> {
        let changed_ns = self.changed_ns.filter(|_| self.gaps.len() >= FEWEST_CHANGES)?;
        let usual = median(&self.gaps)?.max(interval_ns);
        let silent = now_ns.saturating_sub(changed_ns);
        (silent > usual.saturating_mul(SILENT)).then(|| Silent {
            series: self.name.clone(),
            last_change_seconds: seconds(changed_ns),
            silent_seconds: seconds(silent),
            usual_gap_seconds: seconds(usual),
        })
    }

    /// How the last ten seconds differ from the five minutes before, and by what factor.
    pub(super) fn moved(&self, now_ns: u64) -> Option<(f64, Moved)> {
        let (start, last) = (self.marks[0].as_ref()?, self.marks[1].as_ref()?);
        let before_ns = last.at_ns.checked_sub(start.at_ns).filter(|ns| *ns >= 3 * LAST_NS)?;
        let last_ns = now_ns.checked_sub(last.at_ns).filter(|ns| *ns > 0)?;
        let moved = |what, before: f64, last: f64, least: f64| {
            let factor = (last.abs() + least) / (before.abs() + least);
            let factor = if factor < 1.0 { factor.recip() } else { factor };
            let series = self.name.clone();
            (factor.is_finite() && factor >= MOVED).then_some((factor, Moved { series, what, before, last }))
        };
        let (before_s, last_s) = (seconds(before_ns), seconds(last_ns));
        match self.kind {
            Kind::Counter => {
                let rate =
                    |from: f64, to: f64, seconds: f64| if to < from { to / seconds } else { (to - from) / seconds };
                // One event more or less in the last seconds is no move.
                let rates = (rate(start.value, last.value, before_s), rate(last.value, self.value, last_s));
                moved("rate", rates.0, rates.1, 2.0 / last_s)
            }
            Kind::HistogramBounds | Kind::HistogramExponential => {
                let (early, late) = (between(&start.buckets, &last.buckets), between(&last.buckets, &self.buckets));
                if distribution::count(&early) < 10 || distribution::count(&late) < 5 {
                    let rate = |buckets: &[u64], seconds: f64| distribution::count(buckets) as f64 / seconds;
                    return moved("rate", rate(&early, before_s), rate(&late, last_s), 2.0 / last_s);
                }
                let p99 = |buckets: &[u64]| distribution::quantile(&self.bounds, buckets, 0.99);
                let (early, late) = (p99(&early)?, p99(&late)?);
                // Past the last bound there is no number: it is larger than any.
                let finite = |bound: f64| if bound.is_finite() { bound } else { f64::MAX.sqrt() };
                let least = self.bounds.iter().copied().find(|bound| *bound > 0.0).unwrap_or(f64::MIN_POSITIVE);
                let (factor, moved) = moved("p99", finite(early), finite(late), least)?;
                Some((factor.min(1e6), Moved { before: early, last: late, ..moved }))
            }
            Kind::Gauge | Kind::UpDownCounter => {
                let mean = |(sum, count): (f64, u64)| (count > 0).then(|| sum / count as f64);
                let (early, late) = (mean(self.levels[0])?, mean(self.levels[1])?);
                moved("level", early, late, 1.0_f64.min(self.highest.0.abs().max(f64::MIN_POSITIVE)))
            }
            // The window of a watermark is longer than the last ten seconds, and empty where nothing was recorded in it.
            Kind::WatermarkMax | Kind::WatermarkMin | Kind::Info | Kind::StateSet => None,
        }
    }

    /// Where its last value is the highest or lowest there was, and it came to that only lately.
    pub(super) fn extreme(&self, now_ns: u64) -> Option<Extreme> {
        if !matches!(self.kind, Kind::Gauge | Kind::UpDownCounter) || self.highest.0 <= self.lowest.0 {
            return None;
        }
        let (which, since_ns) = match self.value {
            value if value >= self.highest.0 => ("highest", self.highest.1),
            value if value <= self.lowest.0 => ("lowest", self.lowest.1),
            _ => return None,
        };
        let later = since_ns > self.first_seen_ns && now_ns.saturating_sub(since_ns) <= BEFORE_NS;
        let (series, value, since_seconds) = (self.name.clone(), self.value, seconds(since_ns));
        later.then_some(Extreme { series, which, value, since_seconds, since_start: false })
    }
}

/// The middle one of them; the upper one of two.
pub(super) fn median(values: &[u64]) -> Option<u64> {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}
