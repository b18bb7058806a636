//! The load's own totals against the region's: what was answered and what was counted must be equal, exactly.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meeting_controller::load::{Load, LoadConfig, Totals};
use meeting_controller::metrics::{
    FailureReason, JoinError, JoinStatus, JwtValidation, MediaEvent, RpcStatus, StoreOperation, TokenType,
};
use meeting_controller::{
    ActorMetrics, ActorType, Controller, ControllerConfig, CountedSeries, Fact, McMetrics, Witness,
};
use tachograph::{LabelValue, Region};
use tokio_util::sync::CancellationToken;

fn config(seed: u64) -> LoadConfig {
    LoadConfig {
        meetings: 4,
        connections_per_meeting: 5,
        rate: 5_000.0,
        churn: 300.0,
        seed,
        duration: Some(Duration::from_secs(2)),
        panic_meeting_every: None,
        no_replacement: false,
        stall_meeting: None,
    }
}

async fn run(config: LoadConfig) -> (Totals, McMetrics, Arc<Witness>, Region) {
    let region = Region::private("test").unwrap();
    let metrics = region.metrics::<McMetrics>().unwrap();
    let witness = Arc::new(Witness::unlimited());
    let actors = ActorMetrics::new(metrics).with_witness(Arc::clone(&witness));
    let controller = Controller::spawn(ControllerConfig::default(), &actors);
    let totals = Load::new(config, controller.clone(), &actors, CancellationToken::new()).run().await;
    controller.shutdown().await;
    (totals, metrics, witness, region)
}

#[tokio::test(start_paused = true)]
async fn totals_equal_the_region() {
    let (totals, metrics, witness, _region) = run(config(3)).await;
    assert_eq!((totals.sent, totals.dropped), (10_000, 0));
    let asked = totals.joined + totals.left + totals.disconnected + totals.reconnected;
    assert_eq!((totals.refused, totals.unanswered), (0, 0));
    assert_eq!(metrics.actors.messages.at(ActorType::Meeting).get(), totals.sent + asked);
    assert_eq!(metrics.actors.messages.at(ActorType::Controller).get(), totals.created + totals.removed);
    assert!(totals.left > 0 && totals.reconnected > 0);
    for actor in [ActorType::Controller, ActorType::Meeting, ActorType::Connection] {
        assert_eq!(metrics.actors.messages.at(actor).get(), witness.done(Fact::Message(actor)));
        assert_eq!(metrics.actors.dropped.at(actor).get(), witness.done(Fact::Dropped(actor)));
        assert_eq!(metrics.actors.mailbox_depth.at(actor).get(), 0);
    }
    for series in CountedSeries::all() {
        assert!(series.sum_name().is_some() || witness.nanoseconds(series) == 0, "{}", series.name());
    }
    let delivered = metrics.actors.messages.at(ActorType::Connection).get()
        + metrics.actors.dropped.at(ActorType::Connection).get();
    assert!(delivered > 0 && delivered <= totals.sent);
}

#[tokio::test(start_paused = true)]
async fn faults_are_counted_exactly() {
    let mut config = config(5);
    config.panic_meeting_every = Some(Duration::from_millis(300));
    config.stall_meeting = Some(Duration::from_secs(1));
    let (totals, metrics, _witness, _region) = run(config).await;
    assert_eq!((totals.panicked + 1, totals.stalled), (totals.created - 4 - totals.removed + 1, 1));
    assert_eq!(metrics.actors.panics.at(ActorType::Meeting).get(), totals.panicked);
    assert!(totals.panicked > 0 && totals.dropped >= 100);
    assert_eq!(metrics.actors.dropped.at(ActorType::Meeting).get(), totals.dropped);
    assert_eq!(metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get(), Some(500));
    assert_eq!((metrics.meetings.get(), metrics.connections.get(), metrics.participants.get()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_the_same_run() {
    let (one, _, one_witness, _region) = run(config(11)).await;
    let (two, _, two_witness, _region) = run(config(11)).await;
    let (other, _, other_witness, _region) = run(config(12)).await;
    assert_eq!(one, two);
    assert_ne!(one, other);
    // What is simulated too, to the nanosecond.
    let books = |witness: &Witness| -> Vec<(String, u64, u64)> {
        CountedSeries::all().map(|at| (at.name(), witness.done(at), witness.nanoseconds(at))).collect()
    };
    assert_eq!(books(&one_witness), books(&two_witness));
    assert_ne!(books(&one_witness), books(&other_witness));
}

/// Every family of the catalogue has its events in a load with faults, and they are told by the load's own totals.
#[tokio::test(start_paused = true)]
async fn every_family_is_driven() {
    let mut config = config(2);
    // Long enough for what happens once in a hundred times.
    config.meetings = 20;
    config.connections_per_meeting = 30;
    config.rate = 200.0;
    config.churn = 100.0;
    config.duration = Some(Duration::from_secs(60));
    config.panic_meeting_every = Some(Duration::from_secs(5));
    config.stall_meeting = Some(Duration::from_secs(59));
    let (totals, metrics, witness, _region) = run(config).await;
    let done = |part: &str| -> u64 {
        let series = CountedSeries::all().filter(|series| series.name().starts_with(part));
        series.map(|series| witness.done(series)).sum()
    };
    let families: BTreeSet<String> =
        CountedSeries::all().map(|series| series.name().split('{').next().unwrap().to_owned()).collect();
    for family in &families {
        // Heartbeats are sent by a task of their own, which this test has not.
        assert_eq!(done(family) > 0, !family.starts_with("mc_gc_"), "{family}");
    }
    // Where every value of the labels is one that this workload has events for, each was there.
    for family in [
        "mc_redis_latency_seconds_count",
        "mc_token_refresh_total",
        "mc_webtransport_connections_total",
        "mc_session_joins_total",
        "mc_session_join_duration_seconds_count",
        "mc_register_meeting_total",
        "mc_mh_notifications_received_total",
    ] {
        assert!(families.contains(family), "{family}");
        for series in CountedSeries::all().filter(|series| series.name().starts_with(family)) {
            assert!(witness.done(series) > 0, "{}", series.name());
        }
    }
    for error in [JoinError::Redis, JoinError::JwtValidation, JoinError::MhAssignmentMissing] {
        assert!(metrics.sessions.join_failures.at(error).get() > 0, "{error:?}");
    }
    for token in [TokenType::Meeting, TokenType::Guest, TokenType::Service] {
        let of = |reason| metrics.sessions.validations.at(JwtValidation::failure(token, reason)).get();
        assert!(metrics.sessions.validations.at(JwtValidation::success(token)).get() > 0, "{token:?}");
        assert!(FailureReason::all().iter().any(|&reason| of(reason) > 0), "{token:?}");
        assert_eq!(of(FailureReason::None), 0, "a failure has a reason");
    }

    // One event, several families: they agree.
    let joins = |status| metrics.sessions.joins.at(status).get();
    assert_eq!(joins(JoinStatus::Success), totals.joined);
    assert_eq!(metrics.sessions.join_duration.at(JoinStatus::Success).count(), totals.joined);
    assert_eq!(metrics.sessions.join_duration.at(JoinStatus::Failure).count(), joins(JoinStatus::Failure));
    assert_eq!(done("mc_session_join_failures_total"), joins(JoinStatus::Failure));
    assert_eq!(metrics.store.latency.at(StoreOperation::Hset).count(), totals.joined);
    assert_eq!(metrics.store.latency.at(StoreOperation::Del).count(), totals.removed);
    assert_eq!(
        metrics.media.mh_notifications_received.at(MediaEvent::Connected).get(),
        totals.joined + totals.reconnected
    );
    assert_eq!(metrics.media.register_meeting.at(RpcStatus::Success).get(), totals.created);
    assert_eq!(metrics.media.register_meeting_duration.count(), done("mc_register_meeting_total"));
    assert_eq!(metrics.token.refresh_duration.count(), done("mc_token_refresh_total"));
    assert_eq!(metrics.token.refresh.at(RpcStatus::Error).get(), done("mc_token_refresh_failures_total"));
    // The books and the region: counts and sums, exactly.
    let join = metrics.sessions.join_duration.at(JoinStatus::Success);
    let book = Fact::JoinTook(JoinStatus::Success, Duration::ZERO);
    assert_eq!((join.count(), join.sum().as_nanos()), (witness.done(book), u128::from(witness.nanoseconds(book))));
}
