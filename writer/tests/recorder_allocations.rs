//! Macros of the `metrics` crate with keys of literals allocate nothing once their thread has used them. In a test of its
//! own, because the counting allocator is the whole process's.

use metrics::{counter, gauge, histogram, with_local_recorder};
use tachograph::Region;
use tachograph::recorder::{Builder, Matcher};

fn emit() {
    counter!("served").increment(1);
    counter!("logins", "kind" => "sso", "from" => "lan").increment(2);
    counter!("raised").absolute(17);
    gauge!("queue.depth").set(3.0);
    gauge!("queue.depth", "not" => "known").increment(3.0);
    histogram!("wait_seconds").record(0.012);
    histogram!("size_bytes", "kind" => "reply").record_many(300.0, 4);
    histogram!("served").record(1.0); // a clash: refused
}

#[test]
fn keys_of_literals_allocate_nothing() {
    let region = Region::private("test").unwrap();
    let bounds = tachograph::Buckets::bounds([100.0, 1_000.0]);
    let recorder =
        Builder::new().label("service", "api").buckets_for(Matcher::Suffix("_bytes".into()), bounds).build(&region);
    // The counter itself works.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total > 0);
    let measure = || {
        with_local_recorder(&recorder, || {
            tachograph::enter_thread();
            emit();
            allocation_counter::measure(|| (0..1_000).for_each(|_| emit()))
        })
    };
    let here = measure();
    assert_eq!((here.count_total, here.bytes_total), (0, 0));
    let there = std::thread::scope(|scope| scope.spawn(measure).join().unwrap());
    assert_eq!((there.count_total, there.bytes_total), (0, 0));
}
