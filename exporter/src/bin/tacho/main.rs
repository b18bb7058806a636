//! `tacho`: reads Tachograph regions, living and dead, and serves their metrics.
//!
//! Parses the command line and hands over; each command is a file of its own. Exit codes: 0 ok, 1 found a problem,
//! 2 bad usage.

mod case;
mod cli;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod gc;
mod history;
mod ls;
mod output;
mod plot;
mod postmortem;
mod serve;
mod show;
mod snapshot;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Postmortem(args) => postmortem::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Case(args) => case::run(&args),
        Command::History(args) => history::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        #[cfg(feature = "demo")]
        Command::ControllerWorkload { args } => demo::workload(args),
    }
}
