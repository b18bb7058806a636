//! The report as text, 80 columns wide. Renders the model, decides nothing; whatever stands in it is printed without a
//! character that drives a terminal.

use std::fmt;

use super::timeline::said;
use super::words::{self, at};
use super::{Frames, List, Report};
use crate::table::{printable, span};

/// Columns of a page.
const WIDTH: usize = 80;
/// Lines of the timeline that a page has room for: the latest.
const LINES: usize = 40;
/// Entries of other lists that are printed.
const ENTRIES: usize = 12;
/// Frames that are printed.
const FRAMES: usize = 16;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        self.head(&mut page);
        self.death(&mut page);
        self.surroundings(&mut page);
        self.basis(&mut page);
        self.story(&mut page);
        self.history(&mut page);
        self.ends(&mut page);
        f.write_str(&page.text)
    }
}

/// A page under way.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(&title.to_uppercase(), "", "");
    }

    /// A line, and where it is too long others, indented by `rest`.
    fn line(&mut self, text: &str, first: &str, rest: &str) {
        let text = printable(text);
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(first)
            .subsequent_indent(rest)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(&text, options) {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn entry(&mut self, text: &str) {
        self.line(text, "  ", "    ");
    }

    /// A name and what there is to say of it.
    fn field(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.line(text, &format!("  {name:<10} "), &" ".repeat(13));
        }
    }

    fn more(&mut self, shown: usize, entries: usize, more: u64) {
        let more = more + entries.saturating_sub(shown) as u64;
        if more > 0 {
            self.entry(&format!("and {more} more; --json has up to {} of each", super::MOST));
        }
    }

    fn list<T>(&mut self, list: &List<T>, none: &str, text: impl Fn(&T) -> String) {
        if list.entries.is_empty() {
            self.entry(none);
        }
        for entry in list.entries.iter().take(ENTRIES) {
            self.entry(&text(entry));
        }
        self.more(ENTRIES, list.entries.len(), list.more);
    }
}

impl Report {
    fn head(&self, page: &mut Page) {
        page.line(&words::headline(self), "", "  ");
        if let Some(burst) = words::burst(self) {
            page.entry(&burst);
        }
        if let Some(others) = words::others(self) {
            page.entry(&others);
        }
        page.entry(&format!("lived {}; read from {}", span(self.headline.lived_seconds), self.headline.path));
    }

    fn death(&self, page: &mut Page) {
        page.title("Died of");
        words::death(self).iter().for_each(|line| page.entry(line));
        page.title("Frames");
        match &self.frames {
            Some(frames) => {
                page.entry(&frames.heading());
                let shown = frames.shown(FRAMES);
                page.line(&shown, "    ", "    ");
                page.entry(&format!("build id {}", frames.build_id));
                Frames::outside(&shown).iter().for_each(|text| page.entry(text));
                if let Some(command) = &frames.command {
                    page.entry("to name them, with the executable of that build id:");
                    // To be copied whole, so it is not wrapped.
                    page.text.push_str(&format!("    {}\n", printable(command)));
                }
            }
            None => page.entry(words::no_frames(self)),
        }
        page.title("Panics survived");
        if self.caught_panics.entries.is_empty() {
            page.entry("none");
        }
        for panic in self.caught_panics.entries.iter().take(ENTRIES) {
            page.entry(&format!("{}  {}", at(panic.at.realtime_ns as f64 / 1e9), said(panic)));
            if let Some(frames) = words::survived_frames(self, panic) {
                page.line(&frames, "    ", "      ");
            }
        }
        let told = self.caught_panics.entries.get(..ENTRIES).unwrap_or(&self.caught_panics.entries);
        if let Some(command) = words::survived_command(self, told) {
            page.entry("to name those:");
            page.text.push_str(&format!("    {}\n", printable(&command)));
        }
        page.more(ENTRIES, self.caught_panics.entries.len(), self.caught_panics.more);
        if let Some(lost) = words::panics_lost(self) {
            page.entry(&lost);
        }
    }

    fn surroundings(&self, page: &mut Page) {
        let process = &self.process;
        page.title("Process, build, host");
        let boot = if process.this_boot { "" } else { ", in another boot or on another machine" };
        page.field("pid", &format!("{}, started {}{boot}", process.pid, at(process.started_seconds)));
        page.field("exe", &process.exe);
        page.field("version", &process.version);
        page.field("build id", &process.build_id);
        page.field("host", &process.host);
        if process.restarts > 0 {
            page.field("restarts", &format!("{} with its counters continued", process.restarts));
        }
        page.title("Memory");
        page.entry(&words::memory(self));
        page.title("Started again");
        page.entry(&words::successor(self));
    }

    fn basis(&self, page: &mut Page) {
        page.title("Evidence");
        for (name, text) in words::basis(self) {
            page.field(name, &text);
        }
        for finding in self.evidence.findings.entries.iter().take(ENTRIES) {
            page.entry(&format!("{}: {}", finding.place, finding.what));
        }
        page.more(ENTRIES, self.evidence.findings.entries.len(), self.evidence.findings.more);
        self.evidence.problems.iter().take(ENTRIES).for_each(|problem| page.entry(problem));
        self.not_known.iter().for_each(|text| page.field("not known", text));
    }

    fn story(&self, page: &mut Page) {
        page.title("What happened");
        let entries = &self.timeline.entries;
        let from = entries.len().saturating_sub(LINES);
        let before = self.timeline.more + from as u64;
        if before > 0 {
            page.entry(&format!("({before} older lines; --json has up to {})", super::MOST));
        }
        for line in entries.iter().skip(from) {
            let when = line.from_end_seconds;
            let sign = if when > 0.0005 { '+' } else { '-' };
            let when = if when.abs() < 10.0 {
                format!("{sign}{:.3}s", when.abs())
            } else {
                format!("{sign}{}", span(when.abs()))
            };
            let mark = format!("  {when:>9}  {:<8}  ", line.source.as_str());
            page.line(&line.text, &mark, &" ".repeat(mark.len()));
        }
        page.title(if self.headline.died { "Unfinished at death" } else { "Unfinished" });
        page.list(&self.unfinished, "no actor was busy, as far as is told", words::unfinished);
    }

    fn history(&self, page: &mut Page) {
        let none = words::no_history(self);
        page.title("Stopped first");
        match &self.stopped_first {
            Some(list) => page.list(list, words::NONE_SILENT, words::silent),
            None => page.entry(none),
        }
        page.title("Moved most");
        match &self.moved_most {
            Some(list) => page.list(list, words::NONE_MOVED, words::moved),
            None => page.entry(none),
        }
        page.title("Last values at an extreme");
        page.list(&self.extremes, "none", words::extreme);
    }

    fn ends(&self, page: &mut Page) {
        page.title("What it may mean (inferred, not known)");
        if self.may_mean.is_empty() {
            page.entry("nothing is inferred");
        }
        self.may_mean.iter().for_each(|text| page.entry(text));
        if !self.not_linked.is_empty() {
            page.entry("The data does not tell:");
            self.not_linked.iter().for_each(|text| page.line(text, "  - ", "    "));
        }
    }
}
