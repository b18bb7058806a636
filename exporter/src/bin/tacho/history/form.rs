//! What `tacho history` prints: rows as a table, a plot, CSV or JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tachograph_exporter::recording::RecordedRegion;
use tachograph_exporter::recording::history::Row;
use tachograph_exporter::table;

use super::Found;
use super::cells::{Cells, float, short};
use crate::cli::History;
use crate::output;
use crate::plot::Plot;

/// What is printed, in the form that was asked for.
pub(super) struct Output {
    form: Form,
    pub(super) rows: usize,
    regions: Vec<Json>,
}

enum Form {
    Table(table::Table),
    Plot(Vec<(String, Plot)>),
    Csv,
    Json(Vec<Json>),
}

impl Output {
    pub(super) fn new(args: &History) -> Self {
        let form = if args.json {
            Form::Json(Vec::new())
        } else if args.csv {
            output::print("time,region,metric,labels,value,rate,mean,p50,p90,p99,gap_seconds\n", ExitCode::SUCCESS);
            Form::Csv
        } else if args.plot {
            Form::Plot(Vec::new())
        } else {
            Form::Table(table::Table::new(&["TIME", "SERIES", ">VALUE", ">RATE/S", ">MEAN", ">P50", ">P99", "GAP"]))
        };
        Self { form, rows: 0, regions: Vec::new() }
    }

    /// Another region took the place of the one before.
    pub(super) fn replaced(&mut self, region: &RecordedRegion, realtime_ns: u64) {
        let restarted = format!("-- {} restarted, pid {} --", region.origin().name, region.origin().pid);
        match &mut self.form {
            Form::Table(table) => table.row(vec![time(realtime_ns), restarted]),
            Form::Plot(plots) => plots.iter_mut().for_each(|(_, plot)| plot.push(realtime_ns, f64::NAN)),
            Form::Csv | Form::Json(_) => {}
        }
    }

    pub(super) fn row(&mut self, row: &Row, region: &RecordedRegion) -> Result<(), ()> {
        self.rows += 1;
        let series = if row.labels.is_empty() { row.name.clone() } else { format!("{}{{{}}}", row.name, row.labels) };
        let cells = Cells::of(&row.point);
        match &mut self.form {
            Form::Table(table) => {
                let gap = row.gap_ns.map_or_else(String::new, |gap| format!("{} not recorded", span(gap)));
                let [p50, _, p99] = cells.quantiles.map(short);
                table.row(vec![
                    time(row.realtime_ns),
                    series,
                    cells.value,
                    short(cells.rate),
                    short(cells.mean),
                    p50,
                    p99,
                    gap,
                ]);
            }
            Form::Plot(plots) => {
                let value = if cells.is_rate { cells.rate } else { cells.number };
                if !plots.iter().any(|(known, _)| *known == series) {
                    plots.push((series.clone(), Plot::default()));
                }
                if let Some((_, plot)) = plots.iter_mut().find(|(known, _)| *known == series) {
                    if row.gap_ns.is_some() {
                        plot.push(row.realtime_ns, f64::NAN);
                    }
                    plot.push(row.realtime_ns, value);
                }
            }
            Form::Csv => {
                let exact = |value: f64| if value.is_nan() { String::new() } else { float(value) };
                let [p50, p90, p99] = cells.quantiles.map(exact);
                let fields = [
                    exact_time(row.realtime_ns),
                    region.origin().name.clone(),
                    row.name.clone(),
                    row.labels.clone(),
                    cells.value,
                    exact(cells.rate),
                    exact(cells.mean),
                    p50,
                    p90,
                    p99,
                    row.gap_ns.map_or_else(String::new, |gap| float(gap as f64 / 1e9)),
                ];
                let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
                return written(&format!("{}\n", line.join(",")));
            }
            Form::Json(rows) => {
                let mut object = json!({
                    "time_seconds": row.realtime_ns as f64 / 1e9,
                    "uuid": region.origin().uuid,
                    "metric": row.name,
                    "labels": row.labels,
                });
                cells.put(&row.point, &mut object);
                if let Some(gap) = row.gap_ns {
                    object["gap_seconds"] = json!(gap as f64 / 1e9);
                }
                rows.push(object);
            }
        }
        Ok(())
    }

    pub(super) fn end(mut self, found: &Found, code: ExitCode) -> ExitCode {
        match self.form {
            Form::Table(_) | Form::Plot(_) if self.rows == 0 => code,
            Form::Table(table) => output::print(table.to_string(), code),
            Form::Plot(plots) => {
                let mut text = String::new();
                for (series, plot) in plots.iter().take(MOST_PLOTS) {
                    let _ = writeln!(text, "{}\n{plot}", table::printable(series));
                }
                if plots.len() > MOST_PLOTS {
                    let _ = writeln!(text, "{} more series; name fewer", plots.len() - MOST_PLOTS);
                }
                output::print(text, code)
            }
            Form::Csv => code,
            Form::Json(rows) => {
                for region in &found.regions {
                    let spans: Vec<Json> = region
                        .spans()
                        .iter()
                        .map(|span| {
                            json!({
                                "interval_seconds": span.interval_ns as f64 / 1e9,
                                "first_seconds": span.first_ns as f64 / 1e9,
                                "last_seconds": span.last_ns as f64 / 1e9,
                            })
                        })
                        .collect();
                    self.regions.push(json!({"origin": region.origin(), "spans": spans}));
                }
                let object = json!({"version": 1, "regions": self.regions, "rows": rows});
                output::print(format!("{object}\n"), code)
            }
        }
    }
}

/// Most series that are drawn.
const MOST_PLOTS: usize = 12;

fn written(text: &str) -> Result<(), ()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes()).map_err(drop)
}

/// A field of CSV.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn span(ns: u64) -> String {
    table::span(ns as f64 / 1e9)
}

fn time(realtime_ns: u64) -> String {
    stamp(realtime_ns, "%Y-%m-%d %H:%M:%S%.3f UTC")
}

fn exact_time(realtime_ns: u64) -> String {
    stamp(realtime_ns, "%Y-%m-%dT%H:%M:%S%.9fZ")
}

fn stamp(realtime_ns: u64, form: &str) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(realtime_ns))
        .map_or_else(|_| realtime_ns.to_string(), |time| time.strftime(form).to_string())
}
