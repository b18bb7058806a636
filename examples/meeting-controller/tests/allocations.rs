//! Scenario 25: once a thread has its lane, no emission allocates. Counted on the thread itself, in a test of its own
//! because the counting allocator is the whole process's.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use meeting_controller::metrics::{
    CallerType, CallerTypeRejected, ConnectionStatus, ExpectedCaller, FailureReason, FenceReason, GrpcService,
    HeartbeatStatus, HeartbeatType, JoinError, JoinStatus, JwtValidation, MediaEvent, RefreshError, RpcStatus,
    StoreOperation, TokenType,
};
use meeting_controller::{ActorMetrics, ActorType, CountedSeries, Fact, MailboxMonitor, McMetrics, Witness};
use tachograph::{LabelValue, Region};

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing to wait for"),
    }
}

#[test]
fn scenario_25_no_allocation_per_emission() {
    let region = Region::private("test").unwrap();
    let plain = ActorMetrics::new(region.metrics::<McMetrics>().unwrap());
    let witnessed = plain.clone().with_witness(Witness::unlimited().into());
    let monitors = ActorType::all().iter().map(|&actor| MailboxMonitor::new(actor, "m", 600, &plain));
    let monitors: Vec<MailboxMonitor> = monitors.collect();
    // One of each family: together they are every kind of cell that facts are counted in.
    let took = Duration::from_millis(30);
    let one_of_each = [
        Fact::Dropped(ActorType::Meeting),
        Fact::Panic(ActorType::Meeting),
        Fact::Heartbeat((HeartbeatStatus::Success, HeartbeatType::Fast)),
        Fact::FencedOut(FenceReason::StaleGeneration),
        Fact::TokenRefresh(RpcStatus::Success),
        Fact::TokenRefreshFailure(RefreshError::Http),
        Fact::ClientConnection(ConnectionStatus::Accepted),
        Fact::Validation(JwtValidation::failure(TokenType::Guest, FailureReason::Expired)),
        Fact::Join(JoinStatus::Success),
        Fact::JoinFailure(JoinError::Redis),
        Fact::RegisterMeeting(RpcStatus::Success),
        Fact::MediaNotification(MediaEvent::Connected),
        Fact::CallerRejected(CallerTypeRejected {
            grpc_service: GrpcService::MeetingController,
            expected_type: ExpectedCaller::GlobalController,
            actual_type: CallerType::Unknown,
        }),
        Fact::HeartbeatTook(HeartbeatType::Fast, took),
        Fact::StoreTook(StoreOperation::Get, took),
        Fact::JoinTook(JoinStatus::Success, took),
        Fact::TokenRefreshTook(took),
        Fact::RegisterMeetingTook(took),
    ];
    let families = |facts: &[Fact]| -> BTreeSet<String> {
        facts.iter().map(|fact| fact.series().name().split('{').next().unwrap().to_owned()).collect()
    };
    let all: BTreeSet<String> =
        CountedSeries::all().map(|series| series.name().split('{').next().unwrap().to_owned()).collect();
    assert_eq!(families(&[&one_of_each[..], &[Fact::Message(ActorType::Meeting)]].concat()), all);
    // The counter itself works.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total > 0);
    tachograph::enter_thread();
    let allocations = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            plain.meeting_created();
            plain.meeting_removed();
            plain.connection_created();
            plain.connection_closed();
            plain.participant_joined();
            plain.participant_left();
            for fact in [ActorType::Controller, ActorType::Meeting, ActorType::Connection].map(Fact::Message) {
                plain.record(fact);
                at_once(plain.count(fact));
                at_once(witnessed.count(fact));
            }
            for fact in one_of_each {
                plain.record(fact);
                at_once(plain.count(fact));
                at_once(witnessed.count(fact));
            }
            for monitor in &monitors {
                // Over every edge, up and down again, and a refusal.
                (0..600).for_each(|_| assert!(monitor.put()));
                at_once(monitor.refuse());
                (0..600).for_each(|_| monitor.take());
            }
        }
    });
    assert_eq!((allocations.count_total, allocations.bytes_total), (0, 0));
    // They were counted: three times a round.
    let latency = plain.metrics().store.latency.at(StoreOperation::Get);
    assert_eq!((latency.count(), latency.sum()), (3_000, took * 3_000));
}
