//! Checks what readers see, each time: the structure against what the writer registers, each value against its series,
//! and all of it against the time before.

use std::collections::HashMap;
use std::time::Duration;

use tachograph_exporter::{Snapshot, Value};
use tachograph_tests::exposition::{Exposition, key};

use crate::workload::{Expected, Sort, expected};

/// What one reader has seen so far.
pub(crate) struct Checker {
    families: Vec<Expected>,
    by_name: HashMap<String, usize>,
    /// Family and series by the key of an exposition.
    by_key: HashMap<String, (usize, usize)>,
    /// How often each series was written, as seen last; `None` while the family was not there.
    before: Vec<Option<Vec<u64>>>,
    /// How many series there were, each time that it was another number.
    pub(crate) counts: Vec<usize>,
}

impl Checker {
    pub(crate) fn new() -> Self {
        let families = expected();
        let by_name = families.iter().enumerate().map(|(index, family)| (family.name.clone(), index)).collect();
        let mut by_key = HashMap::new();
        for (index, family) in families.iter().enumerate() {
            for series in 0..family.blocks.len() {
                by_key.insert(key(&family.key(series)), (index, series));
            }
        }
        let before = families.iter().map(|_| None).collect();
        Self { families, by_name, by_key, before, counts: vec![0] }
    }

    /// A snapshot of the library's, which took so long.
    pub(crate) fn snapshot(&mut self, snapshot: &Snapshot, took: Duration) {
        let schema = &snapshot.schema;
        assert_eq!(schema.damaged_count(), 0, "{:?}", schema.damaged);
        let mut now: Vec<Option<Vec<u64>>> = self.families.iter().map(|_| None).collect();
        for family in &schema.families {
            let index = *self.by_name.get(&family.name).unwrap_or_else(|| panic!("nobody registers {:?}", family.name));
            let expected = &self.families[index];
            assert_eq!(family.help, expected.help, "{}", family.name);
            assert_eq!(family.label_names, expected.label_names, "{}", family.name);
            assert_eq!((family.kind, family.number), expected.kind(), "{}", family.name);
            assert!(family.unit.is_empty() && !family.open && family.scale == 1.0, "{family:?}");
            if family.series.is_empty() {
                // Published a moment before its series.
                continue;
            }
            let blocks: Vec<&str> = schema.series.range(family.series.clone()).map(|series| series.labels).collect();
            assert_eq!(blocks, expected.blocks, "{} is not whole", family.name);
            let times = family.series.clone().enumerate().map(|(series, at)| {
                let value = match snapshot.value(at) {
                    Value::U64(value) => value as f64,
                    Value::I64(value) => value as f64,
                    Value::F64(value) => value,
                    other => panic!("{}: {other:?}", family.name),
                };
                expected.times(series, value, took).unwrap_or_else(|error| panic!("{error}"))
            });
            assert!(now[index].is_none(), "{} is there twice", family.name);
            now[index] = Some(times.collect());
        }
        self.compare(now);
    }

    /// A scrape, which took so long.
    pub(crate) fn scrape(&mut self, scrape: &Exposition, took: Duration) {
        let mut now: Vec<Option<Vec<Option<u64>>>> = self.families.iter().map(|_| None).collect();
        // What the exporter says of the region and of its writer's process is none of the region's.
        let own = |key: &str| key.starts_with("tacho_") || key.starts_with("process_");
        for (key, value) in scrape.values.iter().filter(|(key, _)| !own(key)) {
            let (index, series) = *self.by_key.get(key).unwrap_or_else(|| panic!("nobody registers {key:?}"));
            let family = &self.families[index];
            let wanted = if matches!(family.sort, Sort::Counter | Sort::Float) { "counter" } else { "gauge" };
            assert_eq!(scrape.types.get(&family.name).map(String::as_str), Some(wanted), "{}", family.name);
            assert!(scrape.helps.contains(&family.name), "{} has no HELP", family.name);
            let value = value.parse().unwrap_or_else(|_| panic!("{key} is {value}"));
            let times = family.times(series, value, took).unwrap_or_else(|error| panic!("{error}"));
            let of_family = now[index].get_or_insert_with(|| vec![None; family.blocks.len()]);
            of_family[series] = Some(times);
        }
        let whole = |(index, times): (usize, Option<Vec<Option<u64>>>)| {
            times.map(|times| {
                let times: Option<Vec<u64>> = times.into_iter().collect();
                times.unwrap_or_else(|| panic!("{} is not whole", self.families[index].name))
            })
        };
        let now = now.into_iter().enumerate().map(whole).collect();
        self.compare(now);
    }

    /// Nothing seen vanishes, and nothing that only grows falls.
    fn compare(&mut self, now: Vec<Option<Vec<u64>>>) {
        for ((family, before), now) in self.families.iter().zip(&self.before).zip(&now) {
            let Some(before) = before else { continue };
            let now = now.as_ref().unwrap_or_else(|| panic!("{} vanished", family.name));
            if family.sort == Sort::UpDown {
                continue;
            }
            for (series, (before, now)) in before.iter().zip(now).enumerate() {
                assert!(now >= before, "{} fell from {before} to {now} times", family.key(series));
            }
        }
        let count = now.iter().flatten().map(Vec::len).sum();
        if self.counts.last() != Some(&count) {
            self.counts.push(count);
        }
        self.before = now;
    }

    /// Begins anew, with another region.
    pub(crate) fn forget(&mut self) {
        self.before.iter_mut().for_each(|times| *times = None);
        self.counts = vec![0];
    }

    /// How many series there were last.
    pub(crate) fn count(&self) -> usize {
        self.counts.last().copied().unwrap_or(0)
    }

    /// All is there, exactly.
    pub(crate) fn end(&self) {
        for (family, times) in self.families.iter().zip(&self.before) {
            let times = times.as_ref().unwrap_or_else(|| panic!("{} is missing", family.name));
            for (series, times) in times.iter().enumerate() {
                assert_eq!(*times, family.end(), "times that {} was written", family.key(series));
            }
        }
    }
}
