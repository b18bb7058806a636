//! 50,000 series in families of many shapes, each of whose values tells by itself whether it is right.
//!
//! A series' key (its name and labels) gives a number; a counter only ever holds multiples of it, and a gauge nothing
//! but it. So a value under the wrong series, a torn one, or one of another moment than its structure shows.

use std::sync::LazyLock;
use std::time::Duration;

use tachograph::{Counter, Desc, Family, FloatCounter, Gauge, LabelValue, Needs, Region, Registrable, UpDownCounter};
use tachograph_exporter::{Kind, Number};

/// All series.
pub(crate) const SERIES: usize = 50_000;
/// All families: 255 times each shape of each kind in turn, and 20 without labels.
pub(crate) const FAMILIES: usize = 255 * 5 + 20;
/// Threads that write each series.
pub(crate) const THREADS: u64 = 2;
/// How often each of them does; up-down counters are raised and lowered all the time.
pub(crate) const ROUNDS: u64 = 50;

/// How long each thread pauses at least between two writes of a series.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// The K-th label, with N values.
#[derive(Clone, Copy)]
pub(crate) struct Label<const K: usize, const N: usize>(usize);

const KEYS: [&str; 4] = ["zone", "path", "shard", "mode"];
/// Every character that a label block escapes, too.
const VALUES: [&[&str]; 4] = [
    &["north", "middle east", "süd"],
    &["/plain", "/quo\"te", "/back\\slash", "/line\nfeed"],
    &["s0", "s1", "s2", "s3", "s4"],
    &["a,b=\"c\"", "{}"],
];

impl<const K: usize, const N: usize> Label<K, N> {
    const ALL: [Self; N] = {
        let mut all = [Self(0); N];
        let mut index = 0;
        while index < N {
            all[index] = Self(index);
            index += 1;
        }
        all
    };
}

impl<const K: usize, const N: usize> LabelValue for Label<K, N> {
    const KEY: &'static str = KEYS[K];
    const VALUES: &'static [&'static str] = VALUES[K];
    const COUNT: usize = N;

    fn all() -> &'static [Self] {
        &Self::ALL
    }

    fn index(self) -> usize {
        self.0
    }
}

type A = Label<0, 3>;
type B = Label<1, 4>;
type C = Label<2, 5>;
type D = Label<3, 2>;

/// How many labels a family has.
const fn labels(index: usize) -> usize {
    if index < 255 * 5 { index % 5 } else { 0 }
}

/// What a series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Counter,
    Float,
    UpDown,
    Integer,
    Real,
}

const fn sort(index: usize) -> Sort {
    match index / 5 % 5 {
        0 => Sort::Counter,
        1 => Sort::Float,
        2 => Sort::UpDown,
        3 => Sort::Integer,
        _ => Sort::Real,
    }
}

/// A family as a reader must find it.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) sort: Sort,
    pub(crate) label_names: Vec<&'static str>,
    /// Label blocks, in order.
    pub(crate) blocks: Vec<String>,
    /// The number of each series.
    pub(crate) numbers: Vec<u64>,
}

impl Expected {
    pub(crate) fn kind(&self) -> (Kind, Number) {
        match self.sort {
            Sort::Counter => (Kind::Counter, Number::U64),
            Sort::Float => (Kind::Counter, Number::F64),
            Sort::UpDown => (Kind::UpDownCounter, Number::I64),
            Sort::Integer => (Kind::Gauge, Number::I64),
            Sort::Real => (Kind::Gauge, Number::F64),
        }
    }

    /// A series as text shows it.
    pub(crate) fn key(&self, series: usize) -> String {
        if self.label_names.is_empty() {
            self.name.clone()
        } else {
            format!("{}{{{}}}", self.name, self.blocks[series])
        }
    }

    /// How often a series was written, by its value as a reader found it that took so long; an error where the value
    /// is none that the series may hold.
    pub(crate) fn times(&self, series: usize, value: f64, took: Duration) -> Result<u64, String> {
        let number = self.numbers[series] as f64;
        let times = match self.sort {
            Sort::Counter | Sort::UpDown => value / number,
            Sort::Float => value / (number * 0.25),
            Sort::Integer => value / -number,
            Sort::Real => value / (number * 0.5),
        };
        // All numbers are small enough for an f64 to be exact.
        if times < 0.0 || times.fract() != 0.0 || times > self.most(took) as f64 {
            return Err(format!("{} is {value}: not 0 to {} times {number}", self.key(series), self.most(took)));
        }
        Ok(times as u64)
    }

    /// How often a series was written at most, ever; of an up-down counter, how often it was raised and not lowered as
    /// a reader may find it.
    fn most(&self, took: Duration) -> u64 {
        match self.sort {
            Sort::Counter | Sort::Float => THREADS * ROUNDS,
            // A reader counts ups later than downs, so it may find those that came meanwhile, and what was up before.
            Sort::UpDown => THREADS * (2 + (took.as_nanos() / PAUSE.as_nanos()) as u64),
            Sort::Integer | Sort::Real => 1,
        }
    }

    /// How often it was written once all is done.
    pub(crate) const fn end(&self) -> u64 {
        match self.sort {
            Sort::Counter | Sort::Float => THREADS * ROUNDS,
            Sort::UpDown => THREADS,
            Sort::Integer | Sort::Real => 1,
        }
    }
}

/// Every family, in the order of registration.
pub(crate) fn expected() -> Vec<Expected> {
    (0..FAMILIES).map(expected_family).collect()
}

fn expected_family(index: usize) -> Expected {
    let (name, help) = (name(index), help(index));
    let label_names = KEYS[..labels(index)].to_vec();
    let mut blocks = vec![String::new()];
    for (key, values) in KEYS.iter().zip(VALUES).take(labels(index)) {
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let pair = |value: &&str| format!("{key}=\"{}\"", escaped(value));
        let longer = |block: &String, value: &&str| {
            if block.is_empty() { pair(value) } else { format!("{block},{}", pair(value)) }
        };
        blocks = blocks.iter().flat_map(|block| values.iter().map(move |value| longer(block, value))).collect();
    }
    let numbers = (0..blocks.len()).map(|series| number(index, series)).collect();
    Expected { name, help, sort: sort(index), label_names, blocks, numbers }
}

fn name(index: usize) -> String {
    let ending = if matches!(sort(index), Sort::Counter | Sort::Float) { "_total" } else { "" };
    format!("reg_{:?}_{index:04}_{:x}{ending}", sort(index), scattered(index as u64) >> 40).to_lowercase()
}

fn help(index: usize) -> String {
    format!("Help {index} of {}: \\ and \"quotes\"", name(index))
}

/// The number of a series: a prime of its own within its neighbourhood.
pub(crate) fn number(family: usize, series: usize) -> u64 {
    static PRIMES: LazyLock<Vec<u64>> = LazyLock::new(|| {
        let prime =
            |n: &u64| (2..).take_while(|divisor| divisor * divisor <= *n).all(|divisor| !n.is_multiple_of(divisor));
        (100_003..).filter(prime).take(4096).collect()
    });
    PRIMES[scattered((family * 1_000 + series) as u64) as usize % PRIMES.len()]
}

const fn scattered(value: u64) -> u64 {
    let value = (value + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3
}

/// A handle and the number of its series.
#[derive(Clone, Copy)]
pub(crate) enum Handle {
    Counter(Counter, u64),
    Float(FloatCounter, f64),
    UpDown(UpDownCounter, u64),
    Integer(Gauge<i64>, i64),
    Real(Gauge<f64>, f64),
}

impl Handle {
    /// Writes the series once.
    pub(crate) fn write(self) {
        match self {
            Self::Counter(counter, number) => counter.add(number),
            Self::Float(counter, number) => counter.add(number),
            Self::UpDown(level, number) => {
                level.add(number);
                level.sub(number);
            }
            Self::Integer(gauge, number) => gauge.set(number),
            Self::Real(gauge, number) => gauge.set(number),
        }
    }

    /// Leaves an up-down counter raised.
    pub(crate) fn end(self) {
        if let Self::UpDown(level, number) = self {
            level.add(number);
        }
    }
}

/// Does `$what!(handle type, label set)` for a family's kind and shape.
macro_rules! by_shape {
    ($index:expr, $metric:ty, $one:ident, $family:ident) => {
        match labels($index) {
            0 => $one!($metric),
            1 => $family!($metric, A),
            2 => $family!($metric, (A, B)),
            3 => $family!($metric, (A, B, C)),
            _ => $family!($metric, (A, B, C, D)),
        }
    };
}

macro_rules! by_sort {
    ($index:expr, $one:ident, $family:ident) => {
        match sort($index) {
            Sort::Counter => by_shape!($index, Counter, $one, $family),
            Sort::Float => by_shape!($index, FloatCounter, $one, $family),
            Sort::UpDown => by_shape!($index, UpDownCounter, $one, $family),
            Sort::Integer => by_shape!($index, Gauge<i64>, $one, $family),
            Sort::Real => by_shape!($index, Gauge<f64>, $one, $family),
        }
    };
}

/// What all families need.
pub(crate) fn needs() -> Needs {
    let mut needs = Needs::default();
    for index in 0..FAMILIES {
        let desc = Desc::new(name(index), help(index));
        macro_rules! one {
            ($metric:ty) => {
                <$metric>::needs(&desc)
            };
        }
        macro_rules! family {
            ($metric:ty, $labels:ty) => {
                Family::<$metric, $labels>::needs(&desc)
            };
        }
        needs += by_sort!(index, one, family);
    }
    needs
}

/// Made of a handle and its number.
trait Numbered {
    fn numbered(self, number: u64) -> Handle;
}

impl Numbered for Counter {
    fn numbered(self, number: u64) -> Handle {
        Handle::Counter(self, number)
    }
}

impl Numbered for FloatCounter {
    fn numbered(self, number: u64) -> Handle {
        Handle::Float(self, number as f64 * 0.25)
    }
}

impl Numbered for UpDownCounter {
    fn numbered(self, number: u64) -> Handle {
        Handle::UpDown(self, number)
    }
}

impl Numbered for Gauge<i64> {
    fn numbered(self, number: u64) -> Handle {
        Handle::Integer(self, -number.cast_signed())
    }
}

impl Numbered for Gauge<f64> {
    fn numbered(self, number: u64) -> Handle {
        Handle::Real(self, number as f64 * 0.5)
    }
}

/// Registers a family; the handles of all its series, in order.
pub(crate) fn register(region: &Region, index: usize) -> Vec<Handle> {
    let desc = Desc::new(name(index), help(index));
    macro_rules! one {
        ($metric:ty) => {
            vec![region.register::<$metric>(desc).expect("a metric").numbered(number(index, 0))]
        };
    }
    macro_rules! family {
        ($metric:ty, $labels:ty) => {
            every::<$metric, $labels>(region.family(desc).expect("a family"), index)
        };
    }
    by_sort!(index, one, family)
}

/// Label sets by their index.
trait ByIndex: tachograph::LabelSet {
    fn by_index(index: usize) -> Self;
}

impl ByIndex for A {
    fn by_index(index: usize) -> Self {
        Self(index)
    }
}

impl ByIndex for (A, B) {
    fn by_index(index: usize) -> Self {
        (Label(index / 4), Label(index % 4))
    }
}

impl ByIndex for (A, B, C) {
    fn by_index(index: usize) -> Self {
        (Label(index / 20), Label(index / 5 % 4), Label(index % 5))
    }
}

impl ByIndex for (A, B, C, D) {
    fn by_index(index: usize) -> Self {
        (Label(index / 40), Label(index / 10 % 4), Label(index / 2 % 5), Label(index % 2))
    }
}

fn every<M: tachograph::Metric + Numbered, L: ByIndex>(family: Family<M, L>, index: usize) -> Vec<Handle> {
    (0..L::COUNT).map(|series| family.at(L::by_index(series)).numbered(number(index, series))).collect()
}
