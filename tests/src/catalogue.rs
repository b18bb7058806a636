//! The catalogue of the reference controller: what it must export, written down a second time and by hand, so that a slip
//! in its declarations is seen. The only list of its metrics that tests have.

use std::collections::BTreeSet;

use crate::exposition::{Exposition, key};

/// A family of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// Its TYPE.
    pub kind: &'static str,
    /// Its labels: name and every value.
    pub labels: &'static [Label],
    /// A histogram's bounds as they are exposed, without +Inf.
    pub bounds: &'static [&'static str],
}

type Label = (&'static str, &'static [&'static str]);

const ACTOR_TYPE: Label = ("actor_type", &["controller", "meeting", "connection"]);
const HEARTBEAT_TYPE: Label = ("heartbeat_type", &["fast", "comprehensive"]);
const ANSWER: Label = ("status", &["success", "error"]);
const OUTCOME: Label = ("status", &["success", "failure"]);

const B1: &[&str] = &["0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0"];
const B2: &[&str] = &["0.01", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0"];
const B3: &[&str] = &["0.01", "0.025", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0"];

const fn gauge(name: &'static str, labels: &'static [Label]) -> Listed {
    Listed { name, kind: "gauge", labels, bounds: &[] }
}

const fn counter(name: &'static str, labels: &'static [Label]) -> Listed {
    Listed { name, kind: "counter", labels, bounds: &[] }
}

const fn histogram(name: &'static str, labels: &'static [Label], bounds: &'static [&'static str]) -> Listed {
    Listed { name, kind: "histogram", labels, bounds }
}

/// The 21 of the catalogue, and what this controller has beyond it.
pub const CATALOGUE: &[Listed] = &[
    gauge("mc_connections_active", &[]),
    gauge("mc_meetings_active", &[]),
    gauge("mc_actor_mailbox_depth", &[ACTOR_TYPE]),
    counter("mc_actor_panics_total", &[ACTOR_TYPE]),
    counter("mc_messages_dropped_total", &[ACTOR_TYPE]),
    counter("mc_gc_heartbeats_total", &[ANSWER, HEARTBEAT_TYPE]),
    histogram("mc_gc_heartbeat_latency_seconds", &[HEARTBEAT_TYPE], B1),
    histogram(
        "mc_redis_latency_seconds",
        &[("operation", &["get", "set", "del", "incr", "hset", "hget", "eval", "zadd", "zrange"])],
        B1,
    ),
    counter("mc_fenced_out_total", &[("reason", &["stale_generation", "concurrent_write"])]),
    counter("mc_token_refresh_total", &[ANSWER]),
    histogram("mc_token_refresh_duration_seconds", &[], B2),
    counter(
        "mc_token_refresh_failures_total",
        &[(
            "error_type",
            &["http", "auth_rejected", "invalid_response", "acquisition_failed", "configuration", "channel_closed"],
        )],
    ),
    counter("mc_webtransport_connections_total", &[("status", &["accepted", "rejected", "error"])]),
    counter(
        "mc_jwt_validations_total",
        &[
            ("result", &["success", "failure"]),
            ("token_type", &["meeting", "guest", "service"]),
            (
                "failure_reason",
                &["none", "signature_invalid", "expired", "missing_token", "scope_mismatch", "malformed"],
            ),
        ],
    ),
    counter("mc_session_joins_total", &[OUTCOME]),
    histogram("mc_session_join_duration_seconds", &[OUTCOME], B3),
    counter(
        "mc_session_join_failures_total",
        &[(
            "error_type",
            &[
                "redis",
                "grpc",
                "not_registered",
                "config",
                "invalid_argument",
                "session_binding",
                "meeting_not_found",
                "participant_not_found",
                "meeting_capacity_exceeded",
                "mc_capacity_exceeded",
                "draining",
                "migrating",
                "fenced_out",
                "conflict",
                "jwt_validation",
                "permission_denied",
                "mh_assignment_missing",
                "internal",
                "token_acquisition",
                "token_acquisition_timeout",
            ],
        )],
    ),
    counter("mc_register_meeting_total", &[ANSWER]),
    histogram("mc_register_meeting_duration_seconds", &[], B1),
    counter("mc_mh_notifications_received_total", &[("event_type", &["connected", "disconnected"])]),
    counter(
        "mc_caller_type_rejected_total",
        &[
            ("grpc_service", &["MeetingControllerService", "MediaCoordinationService"]),
            ("expected_type", &["global-controller", "media-handler"]),
            ("actual_type", &["global-controller", "media-handler", "meeting-controller", "unknown"]),
        ],
    ),
    // Beyond the catalogue.
    gauge("mc_participants_active", &[]),
    counter("mc_actor_messages_total", &[ACTOR_TYPE]),
    gauge("mc_actor_mailbox_depth_peak", &[ACTOR_TYPE]),
];

impl Listed {
    /// Its sample lines, as keys of [`Exposition::values`]: every one that there is, whatever happened.
    pub fn keys(&self) -> BTreeSet<String> {
        let lines = self.sets().into_iter().flat_map(|labels| {
            if self.bounds.is_empty() {
                return vec![series(self.name, "", &labels)];
            }
            let bucket = |bound: &&str| {
                let labels = [&labels[..], &[format!("le=\"{bound}\"")]].concat();
                series(self.name, "_bucket", &labels)
            };
            let mut lines: Vec<String> = self.bounds.iter().chain(&["+Inf"]).map(bucket).collect();
            lines.extend(["_sum", "_count"].map(|suffix| series(self.name, suffix, &labels)));
            lines
        });
        lines.map(|line| key(&line)).collect()
    }

    /// The label sets: each a list of `name="value"`.
    fn sets(&self) -> Vec<Vec<String>> {
        self.labels.iter().fold(vec![Vec::new()], |sets, (name, values)| {
            let longer = |set: &Vec<String>| {
                let with = |value: &&str| [&set[..], &[format!("{name}=\"{value}\"")]].concat();
                values.iter().map(with).collect::<Vec<_>>()
            };
            sets.iter().flat_map(longer).collect()
        })
    }

    /// What a histogram shows, a series each.
    ///
    /// # Panics
    /// Where a line is missing or is no number.
    pub fn histograms(&self, shown: &Exposition) -> Vec<Shown> {
        assert!(!self.bounds.is_empty(), "{} is no histogram", self.name);
        let of = |labels: Vec<String>| {
            let integer = |suffix: &str, labels: &[String]| shown.integer(&key(&series(self.name, suffix, labels)));
            let upper = |bound: &str| if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
            let bucket = |bound: &&str| {
                let labels = [&labels[..], &[format!("le=\"{bound}\"")]].concat();
                (upper(bound), integer("_bucket", &labels))
            };
            let sum = key(&series(self.name, "_sum", &labels));
            Shown {
                cumulative: self.bounds.iter().chain(&["+Inf"]).map(bucket).collect(),
                count: integer("_count", &labels),
                sum_ns: (shown.values[&sum].parse::<f64>().expect("a number") * 1e9).round() as u64,
                sum,
            }
        };
        self.sets().into_iter().map(of).collect()
    }
}

/// A histogram's series as it is exposed.
#[derive(Debug)]
pub struct Shown {
    /// Key of the sum.
    pub sum: String,
    /// The sum in nanoseconds.
    pub sum_ns: u64,
    /// The count.
    pub count: i128,
    /// Upper bounds in seconds, each with how many are at or below it.
    pub cumulative: Vec<(f64, i128)>,
}

impl Shown {
    /// The least and the most, in seconds, that the sum of what the buckets hold can be, if nothing is over `longest`.
    pub fn sum_bounds(&self, longest: f64) -> (f64, f64) {
        let (mut least, mut most, mut lower, mut before) = (0.0, 0.0, 0.0, 0);
        for &(upper, cumulative) in &self.cumulative {
            let here = (cumulative - before) as f64;
            least += here * lower;
            most += here * upper.min(longest);
            (lower, before) = (upper, cumulative);
        }
        (least, most)
    }
}

fn series(name: &str, suffix: &str, labels: &[String]) -> String {
    if labels.is_empty() { format!("{name}{suffix}") } else { format!("{name}{suffix}{{{}}}", labels.join(",")) }
}
