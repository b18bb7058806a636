//! A series drawn with block characters: its shape at a glance, with its least and largest value and when it begins and ends.

use std::fmt;

use tachograph_exporter::table;

use crate::history::short;

/// Columns and rows that a plot takes.
const WIDTH: usize = 64;
const HEIGHT: usize = 6;

/// Values over time; NaN where nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Plot {
    points: Vec<(u64, f64)>,
}

impl Plot {
    pub(crate) fn push(&mut self, realtime_ns: u64, value: f64) {
        self.points.push((realtime_ns, value));
    }

    /// A value a column: the mean of the points that fall into it; NaN where none does.
    fn columns(&self) -> Vec<f64> {
        let (Some((first, _)), Some((last, _))) = (self.points.first(), self.points.last()) else { return Vec::new() };
        let width = WIDTH.min(self.points.len()).max(1);
        let span = last.saturating_sub(*first).max(1) as f64;
        let mut sums = vec![(0.0, 0_u32); width];
        for (time, value) in self.points.iter().filter(|(_, value)| value.is_finite()) {
            let column = (time.saturating_sub(*first) as f64 / span * (width - 1) as f64).round() as usize;
            if let Some((sum, count)) = sums.get_mut(column) {
                (*sum, *count) = (*sum + value, *count + 1);
            }
        }
        sums.into_iter().map(|(sum, count)| if count == 0 { f64::NAN } else { sum / f64::from(count) }).collect()
    }
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let known = || columns.iter().copied().filter(|value| value.is_finite());
        let (low, high) = (known().fold(f64::INFINITY, f64::min).min(0.0), known().fold(f64::NEG_INFINITY, f64::max));
        if !high.is_finite() {
            return writeln!(f, "  no values");
        }
        let scale = if high > low { high - low } else { 1.0 };
        let eighths: Vec<Option<usize>> = columns
            .iter()
            .map(|value| value.is_finite().then(|| ((value - low) / scale * (HEIGHT * 8) as f64).round() as usize))
            .collect();
        for row in (0..HEIGHT).rev() {
            let label = match row {
                0 => short(low),
                row if row == HEIGHT - 1 => short(high),
                _ => String::new(),
            };
            write!(f, "{label:>10} │")?;
            for filled in &eighths {
                let block = match filled.map(|filled| filled.saturating_sub(row * 8)) {
                    None => ' ',
                    // What is known to be at the bottom is not nothing.
                    Some(0) if row == 0 => '▁',
                    Some(0) => ' ',
                    Some(filled) => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'].get(filled - 1).copied().unwrap_or('█'),
                };
                write!(f, "{block}")?;
            }
            writeln!(f)?;
        }
        let moment = |point: Option<&(u64, f64)>| point.map_or_else(String::new, |(time, _)| table::moment(*time));
        writeln!(f, "{:>10} └{} to {}", "", moment(self.points.first()), moment(self.points.last()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_rises_and_a_gap_stays_empty() {
        let mut plot = Plot::default();
        (0..64_u64).for_each(|n| plot.push(n * 1_000_000_000, if (20..30).contains(&n) { f64::NAN } else { n as f64 }));
        let text = plot.to_string();
        let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().skip(12).collect()).collect();
        assert_eq!(rows[0][63], '█');
        assert!(rows[0][..50].iter().all(|block| *block == ' '), "{text}");
        assert!(rows.iter().take(6).all(|row| row[25] == ' '), "{text}");
        assert_eq!((rows[5][0], rows[5][40]), ('▁', '█'));
    }
}
