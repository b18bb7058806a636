//! The report as one self-contained page: no script, nothing loaded from elsewhere, charts as inline SVG. Renders the model
//! in the words of `words.rs`; every text is escaped here, whatever it holds.

use std::fmt::Write as _;

use super::charts::Chart;
use super::timeline::said;
use super::{Frames, List, Report, words};
use crate::table::{drives, moment, rounded};

/// Size of a chart in CSS pixels.
const CHART: (f64, f64) = (640.0, 120.0);

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
h1{font-size:1.35rem}h2{font-size:1rem;margin:1.6rem 0 .4rem;border-bottom:1px solid #ccc}\
ul{margin:.2rem 0;padding-left:1.2rem}code,td.t{font-family:ui-monospace,monospace;font-size:13px}\
code{overflow-wrap:anywhere}table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}\
td.t{white-space:nowrap;color:#555}.inferred{background:#fff7e0;padding:.5rem 1rem}.crash td{color:#a00}\
svg{display:block;background:#f7f7f7}figure{margin:.8rem 0}figcaption{font-size:13px}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.inferred{background:#332b12}svg{background:#222}.crash td{color:#f77}td.t{color:#aaa}}";

/// The page.
///
/// Called by `tacho postmortem --html`.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = Page(String::new());
    let title = words::headline(report);
    page.0.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>");
    page.0.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let _ = write!(page.0, "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\"/>");
    let _ = writeln!(page.0, "<title>{}</title><style>{STYLE}</style></head><body>", escaped(&title));
    page.element("h1", &title);
    page.list(words::burst(report).into_iter().chain(words::others(report)));
    page.section("Died of", words::death(report));
    frames(report, &mut page);
    page.section(
        "Panics survived",
        entries(&report.caught_panics, "none", |panic| {
            let frames = words::survived_frames(report, panic).map_or_else(String::new, |frames| format!("; {frames}"));
            format!("{}  {}{frames}", moment(panic.at.realtime_ns), said(panic))
        })
        .into_iter()
        .chain(words::panics_lost(report)),
    );
    let process = &report.process;
    let started = moment((process.started_seconds * 1e9) as u64);
    page.section(
        "Process, build, host",
        [
            format!("pid {}, started {started}", process.pid),
            format!("{} version {}", process.exe, process.version),
            format!("build id {}", process.build_id),
            format!("host {}", process.host),
        ],
    );
    page.section("Memory", [words::memory(report)]);
    page.section("Started again", [words::successor(report)]);
    let mut basis: Vec<String> =
        words::basis(report).into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
    basis.extend(report.evidence.findings.entries.iter().map(|one| format!("{}: {}", one.place, one.what)));
    basis.extend(report.evidence.problems.iter().cloned());
    basis.extend(report.not_known.iter().map(|text| format!("not known: {text}")));
    page.section("Evidence", basis);
    timeline(report, &mut page);
    page.section("Unfinished", entries(&report.unfinished, "no actor was busy, as far as is told", words::unfinished));
    let unknown = || vec![words::no_history(report).to_owned()];
    let stopped = report.stopped_first.as_ref();
    page.section(
        "Stopped first",
        stopped.map_or_else(unknown, |list| entries(list, words::NONE_SILENT, words::silent)),
    );
    let moved = report.moved_most.as_ref();
    page.section("Moved most", moved.map_or_else(unknown, |list| entries(list, words::NONE_MOVED, words::moved)));
    report.charts.iter().for_each(|chart| page.chart(chart));
    page.section("Last values at an extreme", entries(&report.extremes, "none", words::extreme));
    page.0.push_str("<div class=\"inferred\">");
    let nothing = report.may_mean.is_empty().then(|| "nothing is inferred".to_owned());
    page.section("What it may mean (inferred, not known)", report.may_mean.iter().cloned().chain(nothing));
    page.section("The data does not tell", report.not_linked.iter().cloned());
    page.0.push_str("</div>\n");
    page.0.push_str("</body></html>\n");
    page.0
}

fn frames(report: &Report, page: &mut Page) {
    page.element("h2", "Frames");
    let Some(frames) = &report.frames else { return page.list([words::no_frames(report).to_owned()]) };
    page.list([frames.heading(), format!("build id {}", frames.build_id)]);
    let shown = frames.shown(usize::MAX);
    page.element("code", &shown);
    Frames::outside(&shown).iter().for_each(|text| page.element("p", text));
    if let Some(command) = &frames.command {
        page.element("p", "To name them:");
        page.element("code", command);
    }
}

fn timeline(report: &Report, page: &mut Page) {
    page.element("h2", "What happened");
    page.0.push_str("<table>\n");
    for line in &report.timeline.entries {
        let class = if line.source == super::Source::Crash { " class=\"crash\"" } else { "" };
        let _ = writeln!(
            page.0,
            "<tr{class}><td class=\"t\">{:+.3}s</td><td class=\"t\">{}</td><td class=\"t\">{}</td><td>{}</td></tr>",
            line.from_end_seconds,
            moment((line.at_seconds * 1e9) as u64),
            line.source.as_str(),
            escaped(&line.text)
        );
    }
    page.0.push_str("</table>\n");
}

fn entries<T>(list: &List<T>, none: &str, text: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> = list.entries.iter().map(text).collect();
    if lines.is_empty() {
        lines.push(none.to_owned());
    }
    if list.more > 0 {
        lines.push(format!("and {} more", list.more));
    }
    lines
}

struct Page(String);

impl Page {
    fn element(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "<{name}>{}</{name}>", escaped(text));
    }

    fn list(&mut self, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_some() {
            self.0.push_str("<ul>\n");
            lines.for_each(|line| self.element("li", &line));
            self.0.push_str("</ul>\n");
        }
    }

    fn section(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        self.element("h2", title);
        self.list(lines);
    }

    fn chart(&mut self, chart: &Chart) {
        let (width, height) = CHART;
        let (first, last) = match (chart.points.first(), chart.points.last()) {
            (Some(first), Some(last)) if last.0 > first.0 => (first.0, last.0),
            _ => return,
        };
        let values = || chart.points.iter().map(|(_, value)| *value);
        let (low, high) = (values().fold(0.0_f64, f64::min), values().fold(f64::MIN_POSITIVE, f64::max));
        let place = |(at, value): &(f64, f64)| {
            let x = (at - first) / (last - first) * width;
            let y = height - (value - low) / (high - low) * height;
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = chart.points.iter().map(place).collect();
        let caption = format!(
            "{} ({}): 0 to {}, {} to {}",
            chart.series,
            chart.what,
            rounded(high),
            moment((first * 1e9) as u64),
            moment((last * 1e9) as u64)
        );
        let _ = writeln!(
            self.0,
            "<figure><svg role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\
             <polyline fill=\"none\" stroke=\"#0a6\" stroke-width=\"1.5\" points=\"{}\"/></svg><figcaption>{}</figcaption></figure>",
            points.join(" "),
            escaped(&caption)
        );
    }
}

/// A text as HTML shows it: nothing in it is markup, and no character of it changes the direction of what follows.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char if drives(char) => out.push(char::REPLACEMENT_CHARACTER),
            char => out.push(char),
        }
    }
    out
}
