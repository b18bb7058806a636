//! The facts that are counted: something that happens, in exactly one series, of a counter or of a histogram's count.
//!
//! A fact names the series it is counted in, which is a place in the arrays of a `Witness`. Made by whoever counts; holds
//! no state. The list below is the only place that says which fact goes into which family.

use std::time::Duration;

use tachograph::LabelSet;

use crate::metrics::{
    ActorType, CallerTypeRejected, ConnectionStatus, FenceReason, HeartbeatStatus, HeartbeatType, JoinError,
    JoinStatus, JwtValidation, McMetrics, MediaEvent, RefreshError, RpcStatus, StoreOperation,
};

macro_rules! facts {
    (
        counted { $($(#[$counted_doc:meta])* $counted:ident($counted_labels:ty) = $counted_name:literal, $($counted_handle:ident).+;)+ }
        timed { $($(#[$timed_doc:meta])* $timed:ident($timed_labels:ty) = $timed_name:literal, $($timed_handle:ident).+;)+ }
        timed_without_labels { $($(#[$bare_doc:meta])* $bare:ident = $bare_name:literal, $($bare_handle:ident).+;)+ }
    ) => {
        /// Something that happens and is counted, in exactly one series. One that takes time says how long it took.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fact {
            $($(#[$counted_doc])* $counted($counted_labels),)+
            $($(#[$timed_doc])* $timed($timed_labels, Duration),)+
            $($(#[$bare_doc])* $bare(Duration),)+
        }

        /// The families by number.
        #[derive(Clone, Copy)]
        enum Number { $($counted,)+ $($timed,)+ $($bare,)+ }

        const FIRST_TIMED: usize = [$(stringify!($counted)),+].len();
        const FAMILY_COUNT: usize = [$(stringify!($counted),)+ $(stringify!($timed),)+ $(stringify!($bare),)+].len();

        const FAMILIES: [CountedFamily; FAMILY_COUNT] = [
            $(CountedFamily::of::<$counted_labels>($counted_name),)+
            $(CountedFamily::of::<$timed_labels>($timed_name),)+
            $(CountedFamily::bare($bare_name),)+
        ];

        impl Fact {
            /// The series that it is counted in.
            #[must_use]
            pub fn series(self) -> CountedSeries {
                match self {
                    $(Self::$counted(labels) => CountedSeries::of(Number::$counted, LabelSet::index(labels)),)+
                    $(Self::$timed(labels, _) => CountedSeries::of(Number::$timed, LabelSet::index(labels)),)+
                    $(Self::$bare(_) => CountedSeries::of(Number::$bare, 0),)+
                }
            }

            /// How long it took, where that is observed.
            #[must_use]
            pub const fn took(self) -> Option<Duration> {
                match self {
                    $(Self::$counted(_) => None,)+
                    $(Self::$timed(_, took) => Some(took),)+
                    $(Self::$bare(took) => Some(took),)+
                }
            }

            /// Counts it, by one store or two.
            pub(crate) fn record(self, metrics: &McMetrics) {
                match self {
                    $(Self::$counted(labels) => metrics.$($counted_handle).+.at(labels).inc(),)+
                    $(Self::$timed(labels, took) => metrics.$($timed_handle).+.at(labels).observe(took),)+
                    $(Self::$bare(took) => metrics.$($bare_handle).+.observe(took),)+
                }
            }
        }
    };
}

facts! {
    counted {
    /// An actor handled a message.
    Message(ActorType) = "mc_actor_messages_total", actors.messages;
    /// A mailbox of an actor refused a message.
    Dropped(ActorType) = "mc_messages_dropped_total", actors.dropped;
    /// An actor panicked.
    Panic(ActorType) = "mc_actor_panics_total", actors.panics;
    /// A heartbeat was sent.
    Heartbeat((HeartbeatStatus, HeartbeatType)) = "mc_gc_heartbeats_total", gc.heartbeats;
    /// The store refused a write.
    FencedOut(FenceReason) = "mc_fenced_out_total", store.fenced_out;
    /// The token was asked for.
    TokenRefresh(RpcStatus) = "mc_token_refresh_total", token.refresh;
    /// The token was asked for and not given.
    TokenRefreshFailure(RefreshError) = "mc_token_refresh_failures_total", token.refresh_failures;
    /// A client connected, or tried to.
    ClientConnection(ConnectionStatus) = "mc_webtransport_connections_total", sessions.connections;
    /// A token was validated.
    Validation(JwtValidation) = "mc_jwt_validations_total", sessions.validations;
    /// A client tried to join.
    Join(JoinStatus) = "mc_session_joins_total", sessions.joins;
    /// A client tried to join, and could not.
    JoinFailure(JoinError) = "mc_session_join_failures_total", sessions.join_failures;
    /// A meeting was registered with a media handler.
    RegisterMeeting(RpcStatus) = "mc_register_meeting_total", media.register_meeting;
    /// A media handler sent a notification.
    MediaNotification(MediaEvent) = "mc_mh_notifications_received_total", media.mh_notifications_received;
    /// A call of a service that is not for the caller was refused.
    CallerRejected(CallerTypeRejected) = "mc_caller_type_rejected_total", media.caller_type_rejected;
    }
    timed {
    /// A heartbeat went there and back.
    HeartbeatTook(HeartbeatType) = "mc_gc_heartbeat_latency_seconds", gc.heartbeat_latency;
    /// A call to the store went there and back.
    StoreTook(StoreOperation) = "mc_redis_latency_seconds", store.latency;
    /// An attempt to join was answered.
    JoinTook(JoinStatus) = "mc_session_join_duration_seconds", sessions.join_duration;
    }
    timed_without_labels {
    /// The token was given, or not.
    TokenRefreshTook = "mc_token_refresh_duration_seconds", token.refresh_duration;
    /// A media handler answered to a registration.
    RegisterMeetingTook = "mc_register_meeting_duration_seconds", media.register_meeting_duration;
    }
}

/// A family that facts are counted in.
struct CountedFamily {
    name: &'static str,
    labels: &'static [&'static str],
    sets: fn() -> Vec<Vec<&'static str>>,
    series: usize,
}

impl CountedFamily {
    const fn of<L: LabelSet>(name: &'static str) -> Self {
        Self { name, labels: L::NAMES, sets: L::sets, series: L::COUNT }
    }

    const fn bare(name: &'static str) -> Self {
        Self { name, labels: &[], sets: || vec![Vec::new()], series: 1 }
    }
}

/// How many series are before those of each family, and in all.
const STARTS: [usize; FAMILY_COUNT + 1] = {
    let mut starts = [0; FAMILY_COUNT + 1];
    let mut family = 0;
    while family < FAMILY_COUNT {
        starts[family + 1] = starts[family] + FAMILIES[family].series;
        family += 1;
    }
    starts
};

/// A series that facts are counted in: a counter, or the count of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountedSeries {
    family: usize,
    /// The place among the family's series.
    within: usize,
}

impl CountedSeries {
    /// How many there are.
    pub const COUNT: usize = STARTS[FAMILY_COUNT];

    const fn of(family: Number, within: usize) -> Self {
        Self { family: family as usize, within }
    }

    /// Every one, in index order.
    pub fn all() -> impl Iterator<Item = Self> {
        let families = FAMILIES.iter().enumerate();
        families.flat_map(|(family, counted)| (0..counted.series).map(move |within| Self { family, within }))
    }

    /// Its place: below [`CountedSeries::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        STARTS[self.family] + self.within
    }

    /// Its name as Prometheus shows it. A histogram's is that of its count.
    ///
    /// ```
    /// use std::time::Duration;
    /// use meeting_controller::{ActorType, Fact, HeartbeatType};
    /// assert_eq!(Fact::Panic(ActorType::Meeting).series().name(), r#"mc_actor_panics_total{actor_type="meeting"}"#);
    /// let beat = Fact::HeartbeatTook(HeartbeatType::Fast, Duration::from_millis(3));
    /// assert_eq!(beat.series().name(), r#"mc_gc_heartbeat_latency_seconds_count{heartbeat_type="fast"}"#);
    /// ```
    #[must_use]
    pub fn name(self) -> String {
        FAMILIES[self.family].named(if self.is_timed() { "_count" } else { "" }, self.within)
    }

    /// The name of its sum, where it is a histogram's.
    #[must_use]
    pub fn sum_name(self) -> Option<String> {
        self.is_timed().then(|| FAMILIES[self.family].named("_sum", self.within))
    }

    const fn is_timed(self) -> bool {
        self.family >= FIRST_TIMED
    }
}

impl CountedFamily {
    fn named(&self, suffix: &str, series: usize) -> String {
        let sets = (self.sets)();
        let values = sets.get(series).map_or(&[][..], Vec::as_slice);
        let pairs: Vec<String> =
            self.labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        format!("{}{suffix}{labels}", self.name)
    }
}

impl From<Fact> for CountedSeries {
    fn from(fact: Fact) -> Self {
        fact.series()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::{CountedSeries, Fact};
    use crate::metrics::{ActorType, JoinStatus, RpcStatus};

    #[test]
    fn each_series_has_a_name_of_its_own() {
        let names: HashSet<String> = CountedSeries::all().map(CountedSeries::name).collect();
        assert_eq!(names.len(), CountedSeries::COUNT);
        assert_eq!(CountedSeries::all().filter_map(CountedSeries::sum_name).count(), 15);
    }

    #[test]
    fn a_fact_is_counted_in_its_own_series() {
        let took = Duration::from_millis(1);
        for (fact, name) in [
            (Fact::Message(ActorType::Controller), r#"mc_actor_messages_total{actor_type="controller"}"#),
            (Fact::Panic(ActorType::Connection), r#"mc_actor_panics_total{actor_type="connection"}"#),
            (Fact::RegisterMeeting(RpcStatus::Error), r#"mc_register_meeting_total{status="error"}"#),
            (Fact::JoinTook(JoinStatus::Failure, took), r#"mc_session_join_duration_seconds_count{status="failure"}"#),
            (Fact::TokenRefreshTook(took), "mc_token_refresh_duration_seconds_count"),
            (Fact::RegisterMeetingTook(took), "mc_register_meeting_duration_seconds_count"),
        ] {
            assert_eq!(fact.series().name(), name);
        }
        assert_eq!(Fact::RegisterMeetingTook(took).series().index(), CountedSeries::COUNT - 1);
    }
}
