//! Tachograph and its peers, side by side in one run.
//!
//! `cargo run --release -p tachograph-benches -- [--json] [--quick] [ROW..]` prints a table, or with `--json` one object
//! a line. `ratio` is the peer's time divided by ours: above 1 we are faster. `--quick` only shows that the benches work.

mod activity_mark;
mod adopted;
mod closed_label_inc;
mod contest;
mod counter_inc;
mod facade_counter_literal;
mod gauge_set;
mod histogram_bounds_f64;
mod histogram_duration_ns;
mod histogram_exponential_f64;
mod inputs;
mod merge;
mod modes;
mod note;
mod render;
mod render_peers;
mod sampled;
mod start;
mod subject;

use std::process::ExitCode;

use contest::{Effort, Line};
use tachograph_benches::recorder::{self, Load};

/// A row: its name, and what makes its lines.
type Row = (&'static str, fn(Effort) -> Vec<Line>);

const ROWS: [Row; 21] = [
    ("counter_inc", counter_inc::lines),
    ("closed_label_inc", closed_label_inc::lines),
    ("gauge_set", gauge_set::lines),
    ("histogram_bounds_f64", histogram_bounds_f64::lines),
    ("histogram_exponential_f64", histogram_exponential_f64::lines),
    ("histogram_duration_ns", histogram_duration_ns::lines),
    ("facade_counter_literal", facade_counter_literal::lines),
    ("activity_mark", activity_mark::lines),
    ("note", note::lines),
    ("render_text", render::text),
    ("render_text_histogram", render::text_histogram),
    ("render_openmetrics", render::openmetrics),
    ("render_protobuf", render::protobuf),
    ("scrape_read", render::read),
    ("merge_8x10k", merge::lines),
    ("sampled", sampled::lines),
    ("recorder", recorder_lines),
    ("start", start::start),
    ("start_adopting", adopted::start),
    ("registration", start::registration),
    ("registration_adopted", adopted::registration),
];

/// Row `recorder`: processor time a tick; it has no peer.
fn recorder_lines(effort: Effort) -> Vec<Line> {
    let ticks = effort.rounds as u64 * 4;
    [("tick_mostly_idle", Load::MostlyIdle), ("tick_mixed", Load::Mixed)]
        .map(|(mode, load)| start::alone("recorder", mode, vec![recorder::measure(load, ticks).tick_ns]))
        .into()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [sample, path, period] = arguments.as_slice()
        && sample == "--sample"
    {
        // This program as the reader of row `sampled`.
        return match sampled::sample(path, period) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    if let [facade, mode] = arguments.as_slice()
        && let Some(library) = facade.strip_prefix("--facade=")
    {
        // This program as a library's child in row `facade_counter_literal`.
        return match facade_counter_literal::facade(library, mode) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let (mut json, mut effort, mut wanted) = (false, Effort::FULL, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => effort = Effort::QUICK,
            row if ROWS.iter().any(|(name, _)| *name == row) => wanted.push(argument),
            other => {
                let rows = ROWS.map(|(name, _)| name).join(" ");
                eprintln!("unknown argument {other}: [--json] [--quick] [ROW..], a ROW is one of: {rows}");
                return ExitCode::from(2);
            }
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("a debug build: its figures mean nothing; use cargo run --release");
    }
    if !json {
        println!("{:<27}{:<16}{:>10}  {:<29}{:>10}{:>9}", "row", "mode", "ours ns", "peer", "peer ns", "ratio");
    }
    for (name, lines) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|row| row == name) {
            lines(effort).iter().for_each(|line| print(line, json));
        }
    }
    ExitCode::SUCCESS
}

fn print(line: &Line, json: bool) {
    let Line { row, mode, ours_ns, peer, peer_ns } = line;
    let ratio = peer_ns.map(|peer_ns| peer_ns / ours_ns);
    if json {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        println!(
            "{}",
            serde_json::json!({
                "row": row, "mode": mode, "ours_ns": rounded(*ours_ns), "peer": peer,
                "peer_ns": peer_ns.map(rounded), "ratio": ratio.map(rounded),
            })
        );
    } else {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let (peer_ns, ratio) = (shown(*peer_ns), shown(ratio));
        println!("{row:<27}{mode:<16}{ours_ns:>10.2}  {peer:<29}{peer_ns:>10}{ratio:>9}");
    }
}
