//! Tables for people: what `tacho ls` and `tacho show` print, and how times and values read in them.
//!
//! Plain text with two spaces between columns; the same on a terminal and in a pipe, so that what is seen can be cut.

use std::fmt::Write as _;

use crate::filter::Filter;
use crate::json::RegionEntry;
use crate::number;
use crate::schema::Family;
use crate::{Snapshot, Value, distribution};

/// Rows under a header. Columns are as wide as their widest cell.
///
/// ```
/// let mut table = tachograph_exporter::table::Table::new(&["NAME", ">PID"]);
/// table.row(vec!["mc-0".into(), "7".into()]);
/// assert_eq!(table.to_string(), "NAME  PID\nmc-0    7\n");
/// ```
#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names; those that begin with `>` are aligned to the right.
    #[must_use]
    pub fn new(columns: &[&'static str]) -> Self {
        Self {
            header: columns.iter().map(|name| name.trim_start_matches('>')).collect(),
            right: columns.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Control characters are shown as escapes: what a file says must not drive a terminal.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        let all = || std::iter::once(&header).chain(&self.rows);
        let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
        for row in all() {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                if *right {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A text without control characters and those that change the direction of text or break lines, which are shown as
/// escapes.
///
/// ```
/// assert_eq!(tachograph_exporter::table::printable("a\u{1b}[2J"), "a\\u{1b}[2J");
/// assert_eq!(tachograph_exporter::table::printable("\u{202e}"), "\\u{202e}");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    let escape = |char: char| if drives(char) { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(escape).collect()
}

/// Whether a character moves a cursor, breaks a line or changes the direction of text.
pub(crate) fn drives(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A span of time in at most two units.
///
/// ```
/// use tachograph_exporter::table::span;
/// assert_eq!(span(0.25), "250ms");
/// assert_eq!(span(3.5), "3.5s");
/// assert_eq!(span(125.0), "2m05s");
/// assert_eq!(span(90_000.0), "1d01h");
/// ```
#[must_use]
pub fn span(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{:.0}ms", seconds.max(0.0) * 1e3);
    }
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds as u64;
    match whole {
        ..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h{:02}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A moment in UTC to the second.
///
/// ```
/// assert_eq!(tachograph_exporter::table::moment(1_700_000_000_000_000_000), "2023-11-14 22:13:20 UTC");
/// ```
#[must_use]
pub fn moment(realtime_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(realtime_ns)).map_or_else(
        |_| format!("{realtime_ns} ns after the epoch"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// The list of `tacho ls`.
///
/// ```
/// assert!(tachograph_exporter::table::regions(&[]).starts_with("NAME  VERDICT  WHY"));
/// ```
#[must_use]
pub fn regions(entries: &[RegionEntry]) -> String {
    let mut table = Table::new(&[
        "NAME",
        "VERDICT",
        "WHY",
        ">PID",
        ">UPTIME",
        ">SERIES",
        ">LANES",
        ">HEARTBEAT",
        ">CRASHES",
        "PATH",
    ]);
    for entry in entries {
        let region = &entry.region;
        let usage = |usage: crate::Usage| format!("{}/{}", usage.used, usage.capacity);
        table.row(vec![
            region.name.clone(),
            region.verdict.to_string(),
            region.why().unwrap_or_else(|| "-".to_owned()),
            region.pid.to_string(),
            span(entry.uptime_seconds),
            usage(region.capacity.series),
            usage(region.capacity.lanes),
            entry.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{} ago", span(age))),
            entry.crashes.to_string(),
            region.path.display().to_string(),
        ]);
    }
    table.to_string()
}

/// The table of `tacho show`: a line a series. A histogram shows its count, sum, mean and two quantiles, as the upper
/// bound of the bucket that holds each.
#[must_use]
pub fn values(snapshot: &Snapshot, filter: &Filter) -> String {
    let mut table = Table::new(&["METRIC", "KIND", "VALUE"]);
    for family in snapshot.schema.families.iter().filter(|family| filter.matches(&family.name)) {
        for index in family.series.clone() {
            let Some(series) = snapshot.schema.series.get(index) else { continue };
            let braces = if series.labels.is_empty() { String::new() } else { format!("{{{}}}", series.labels) };
            let mut value = value_text(family, snapshot.value(index));
            if let Some((extreme, at)) = snapshot.since_start(index) {
                let _ = write!(value, " (since start {} at {})", value_text(family, extreme), moment(at));
            }
            if series.retired {
                value.push_str(" (retired)");
            }
            table.row(vec![format!("{}{braces}", family.name), family.kind.as_str().to_owned(), value]);
        }
    }
    table.to_string()
}

fn value_text(family: &Family, value: Value<'_>) -> String {
    match value {
        Value::U64(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::F64(value) => shown(value),
        Value::Info => "1".to_owned(),
        Value::States(states) => {
            let on = (0..).zip(&family.states).filter(|(bit, _)| *bit < 64_u32 && states >> bit & 1 == 1);
            let on: Vec<&str> = on.map(|(_, state)| state.as_str()).collect();
            if on.is_empty() { "none".to_owned() } else { on.join(", ") }
        }
        Value::Histogram { buckets, sum } => histogram_text(family, buckets, sum),
    }
}

fn histogram_text(family: &Family, buckets: &[u64], sum: f64) -> String {
    let count = distribution::count(buckets);
    let quantile = |share| distribution::quantile(&family.bounds, buckets, share);
    let (Some(p50), Some(p99)) = (quantile(0.5), quantile(0.99)) else { return "count 0".to_owned() };
    let bound = |bound: f64| {
        if bound == f64::INFINITY { "past the last bound".to_owned() } else { format!("<= {}", rounded(bound)) }
    };
    let mean = sum / count as f64;
    format!("count {count}, sum {}, mean {}, p50 {}, p99 {}", shown(sum), rounded(mean), bound(p50), bound(p99))
}

/// A float for the eye: six digits, where it is no whole number. JSON and the metrics formats have all of it.
///
/// ```
/// use tachograph_exporter::table::rounded;
/// assert_eq!(rounded(0.1 + 0.2), "0.3");
/// assert_eq!(rounded(0.009290680585958758), "0.00929068");
/// assert_eq!((rounded(123456789.0), rounded(f64::INFINITY)), (String::from("1.23456789e+08"), String::from("+Inf")));
/// ```
#[must_use]
pub fn rounded(value: f64) -> String {
    digits(value, 6)
}

/// A value as it stands in a table of values: twelve digits, which leaves out what binary floats add.
fn shown(value: f64) -> String {
    digits(value, 12)
}

fn digits(value: f64, digits: usize) -> String {
    if value.fract() == 0.0 || !value.is_finite() {
        return float(value);
    }
    float(format!("{value:.*e}", digits - 1).parse().unwrap_or(value))
}

/// A float as Prometheus writes it.
///
/// ```
/// assert_eq!(tachograph_exporter::table::float(0.5), "0.5");
/// ```
#[must_use]
pub fn float(value: f64) -> String {
    let mut text = Vec::new();
    number::push_f64(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}
