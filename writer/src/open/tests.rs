//! Open families against a simple model: what leases read and what stands in the region, after any sequence of events.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use tachograph_layout::{Control, SeriesRecord, SlotState};

use super::slots::Slots;
use super::{Lease, Open, OpenFamily, OpenRules};
use crate::register::label_hash;
use crate::{Counter, Desc, Region};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

const BUDGET: u32 = 3;
const LINGER: u64 = 10;
/// Longer than a label area of 32 bytes.
const LONG: &str = "a value that is longer than its area";
const LABELS: [&str; 7] = ["a", "b", "c", "d", "e\"\\\n", "", LONG];

#[derive(Debug, Clone)]
enum Event {
    With(usize),
    Clone(Index),
    Drop(Index),
    Write(Index, u64),
    Advance(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..LABELS.len()).prop_map(Event::With),
        1 => any::<Index>().prop_map(Event::Clone),
        4 => any::<Index>().prop_map(Event::Drop),
        3 => (any::<Index>(), 1..100_u64).prop_map(|(lease, n)| Event::Write(lease, n)),
        2 => (1..2 * LINGER).prop_map(Event::Advance),
    ];
    prop::collection::vec(event, 1..120)
}

/// What should be so.
#[derive(Debug, Default)]
struct Model {
    series: BTreeMap<&'static str, Held>,
    overflow: u64,
    overflows: u64,
    retirements: u64,
}

#[derive(Debug, Default)]
struct Held {
    value: u64,
    leases: u32,
    /// When, and the how manieth retirement it was.
    retired: Option<(u64, u64)>,
}

impl Model {
    /// The label of the series that the set gets; `None` for the overflow series.
    fn with(&mut self, label: &'static str, now: u64) -> Option<&'static str> {
        if !self.series.contains_key(label) {
            let over = |held: &Held| held.retired.filter(|(at, _)| now - at >= LINGER);
            let oldest = self.series.iter().filter_map(|(name, held)| Some((over(held)?.1, *name))).min();
            if label == LONG || (self.series.len() == BUDGET as usize && oldest.is_none()) {
                self.overflows += 1;
                return None;
            }
            if let Some((_, oldest)) = oldest.filter(|_| self.series.len() == BUDGET as usize) {
                self.series.remove(oldest);
            }
        }
        let held = self.series.entry(label).or_default();
        held.leases += 1;
        held.retired = None;
        Some(label)
    }

    fn drop(&mut self, label: Option<&'static str>, now: u64) {
        let Some(held) = label.and_then(|label| self.series.get_mut(label)) else { return };
        held.leases -= 1;
        if held.leases == 0 {
            self.retirements += 1;
            held.retired = Some((now, self.retirements));
        }
    }

    fn value(&mut self, label: Option<&'static str>) -> &mut u64 {
        match label.and_then(|label| self.series.get_mut(label)) {
            Some(held) => &mut held.value,
            None => &mut self.overflow,
        }
    }
}

/// A series as it stands in the region.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    labels: String,
    state: SlotState,
    retired_at: u64,
    value: u64,
}

fn found(slots: &Slots) -> Vec<(u32, Option<Found>)> {
    let (attached, site) = slots.ground();
    let map = attached.map;
    let view = map.view();
    (0..slots.rules().slots())
        .map(|slot| {
            let record = view.record::<SeriesRecord>(slots.record_word(slot, 0)).expect("inside the region");
            let state = record.slot().state().expect("a known state");
            let shown = record.slot().is_readable().then(|| {
                let at = site.areas + u64::from(record.labels.offset);
                let bytes = view.bytes(at, u64::from(record.labels.len)).expect("inside the region");
                let labels = String::from_utf8(bytes).expect("UTF-8");
                assert_eq!(record.labels_hash, label_hash(&labels));
                assert_eq!((record.family, record.cells), (site.family, site.cells));
                let cell = map.lane_block::<1>(record.cell, 1).expect("a cell").series(0).cell::<0>();
                Found { labels, state, retired_at: record.retired_monotonic_ns, value: crate::tally::sum(cell) }
            });
            (record.slot().generation(), shown)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Every lease reads its own series, every series stands in the region under its own labels and state, a slot
    /// changes its labels exactly with its generation, and nothing else of the region is used up.
    #[test]
    fn an_open_family_behaves_as_its_model(events in events()) {
        NOW.set(1_000);
        let region = Region::builder("model").lanes(16).private().expect("private memory");
        let rules = OpenRules::new(BUDGET).label_area(32).linger(Duration::from_nanos(LINGER));
        let open = Open { rules, clock: || NOW.get() };
        let family: OpenFamily<Counter, 1> =
            region.create_open(&Desc::new("app_sent_total", "Sent"), ["peer"], open).expect("there is room");
        let control = |offset| family.slots.ground().0.control(offset).load(std::sync::atomic::Ordering::Relaxed);
        let marks = || [Control::STRINGS_USED, Control::SERIES_USED, Control::CELLS_USED, Control::LABEL_AREAS_USED]
            .map(control);
        let marks_before = marks();

        let mut model = Model::default();
        let mut leases: Vec<(Option<&'static str>, Lease<Counter>)> = Vec::new();
        let mut before = found(family.slots);
        let mut structure = control(Control::STRUCTURE);
        for event in events {
            let now = NOW.get();
            match event {
                Event::With(label) => {
                    let expected = model.with(LABELS[label], now);
                    let lease = family.with([LABELS[label]]);
                    prop_assert_eq!(lease.is_overflow(), expected.is_none());
                    leases.push((expected, lease));
                }
                Event::Advance(by) => NOW.set(now + by),
                _ if leases.is_empty() => {}
                Event::Clone(index) => {
                    let (label, lease) = index.get(&leases).clone();
                    if let Some(held) = label.and_then(|label| model.series.get_mut(label)) {
                        held.leases += 1;
                    }
                    leases.push((label, lease));
                }
                Event::Drop(index) => {
                    let (label, lease) = leases.swap_remove(index.index(leases.len()));
                    drop(lease);
                    model.drop(label, now);
                }
                Event::Write(index, n) => {
                    let (label, lease) = index.get(&leases);
                    lease.add(n);
                    *model.value(*label) += n;
                }
            }
            for (label, lease) in &leases {
                prop_assert_eq!(lease.get(), *model.value(*label));
            }
            let after = found(family.slots);
            let mut shown: Vec<Found> = after.iter().filter_map(|(_, found)| found.clone()).collect();
            let mut expected: Vec<Found> = model
                .series
                .iter()
                .map(|(label, held)| Found {
                    labels: crate::naming::label_block(&["peer"], &[label]),
                    state: if held.retired.is_some() { SlotState::Retired } else { SlotState::Live },
                    retired_at: held.retired.map_or(0, |(at, _)| at),
                    value: held.value,
                })
                .collect();
            if model.overflows > 0 {
                let labels = "overflow=\"true\"".to_owned();
                expected.push(Found { labels, state: SlotState::Live, retired_at: 0, value: model.overflow });
            }
            shown.sort_by(|a, b| a.labels.cmp(&b.labels));
            expected.sort_by(|a, b| a.labels.cmp(&b.labels));
            prop_assert_eq!(shown, expected);
            for ((generation, was), (now, is)) in before.iter().zip(&after) {
                let labels = |found: &Option<Found>| found.as_ref().map(|found| found.labels.clone());
                let given_away = was.is_some() && labels(was) != labels(is);
                prop_assert_eq!(*now, generation + u32::from(given_away));
                structure += 2 * u64::from(given_away);
            }
            prop_assert_eq!(control(Control::STRUCTURE), structure);
            prop_assert_eq!(control(Control::LABEL_OVERFLOWS), model.overflows);
            before = after;
        }
        prop_assert_eq!(marks(), marks_before);
    }
}
