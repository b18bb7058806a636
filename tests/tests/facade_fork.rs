//! A forked child and the recorder of the `metrics` crate: its macros go nowhere, whatever locks it inherited.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use metrics::{counter, gauge, histogram};
use tachograph::{Region, recorder};
use tachograph_exporter::{RegionReader, Value};
use tachograph_tests::raw::{exit_code, fork_child};
use tachograph_tests::tmpfs;

/// Ends the threads of the test, whether it passed or not.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn the_macros_of_a_child_touch_nothing_of_its_parent() {
    let folder = tmpfs::folder();
    let region = Region::builder("parent").dir(folder.path()).build().expect("a region");
    recorder::install(&region).expect("the first recorder");
    counter!("served", "kind" => "a").increment(5);
    gauge!("depth").set(7.0);
    histogram!("wait").record(0.5);
    let values = || {
        let snapshot = RegionReader::open(region.path().expect("a file")).expect("it opens").snapshot().expect("read");
        let families = snapshot.schema.families.iter().map(|family| family.name.clone()).collect::<Vec<_>>();
        let values: Vec<String> =
            (0..snapshot.schema.series.len()).map(|n| format!("{:?}", snapshot.value(n))).collect();
        assert!(matches!(snapshot.value(0), Value::U64(5)), "{values:?}");
        (families, values)
    };
    let before = values();
    // Threads that use keys for the first time hold the recorder's locks when the process forks, sooner or later.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Relaxed) {
                        return;
                    }
                    // Beyond the total budget: not kept, and so under the lock each time; refused label, no new series.
                    counter!("served", "kind" => "a", "other" => format!("{thread}-{n}")).increment(0);
                }
            });
        }
        let _stop = Stop(&stop);
        for _ in 0..40 {
            let child = fork_child(|| {
                // A lock that was inherited locked would be waited for in vain: then this ends the child.
                nix::unistd::alarm::set(10);
                for n in 0..100 {
                    counter!("served", "kind" => "a").increment(100);
                    counter!("served", "kind" => "a").absolute(1_000_000);
                    counter!("served", "kind" => format!("{n}")).increment(1);
                    counter!(format!("new_{n}")).increment(1);
                    gauge!("depth").set(-1.0);
                    histogram!("wait").record(2.0);
                    metrics::describe_counter!("later", "In the child");
                }
                0
            });
            assert_eq!(exit_code(child), 0);
        }
    });
    let (families, after) = values();
    assert_eq!(families, before.0);
    // The overflow series that the parent's own threads went to is the only one more.
    assert_eq!(after.iter().filter(|value| !before.1.contains(value)).count(), 1, "{after:?} {before:?}");
}
