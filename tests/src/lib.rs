//! What the end-to-end tests stand on: the built binaries, the controller under load, a scrape, a parsed exposition.
//!
//! Everything a test starts here is ended by it, by its own process id, on drop. Servers bind to loopback ports of the
//! kernel's choice. A tool that is missing is an error that names the line that installs it, never a skipped test.

pub mod body;
pub mod campaign;
pub mod catalogue;
pub mod controller;
pub mod exposition;
pub mod http;
pub mod ledger;
pub mod lineage;
mod messages;
pub mod process;
#[allow(unsafe_code)]
pub mod raw;
pub mod readers;
pub mod rules;
pub mod scraper;
pub mod tmpfs;

/// The README's code, compiled and run.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;
