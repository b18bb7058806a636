//! What commands print, and how they end. A reader that closes the pipe early (`tacho show mc-0 | head`) is no error.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use tachograph_exporter::listing::chain;
use tachograph_exporter::table::printable;

/// Something was found.
pub(crate) const FOUND: ExitCode = ExitCode::FAILURE;
/// It was asked for in a wrong way.
pub(crate) const USAGE: u8 = 2;

/// Writes to standard output, then ends with `code`; with 1 where it can't be written.
pub(crate) fn print(text: impl AsRef<[u8]>, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error),
        _ => code,
    }
}

/// Says an error with its causes on standard error.
pub(crate) fn fail(error: &dyn Error) -> ExitCode {
    say(&chain(error));
    FOUND
}

/// Says an error on standard error, and as one JSON object on standard output where that was asked for.
pub(crate) fn fail_as(error: &dyn Error, json: bool) -> ExitCode {
    if json {
        let object = serde_json::json!({ "version": 1, "error": chain(error) });
        print(format!("{object}\n"), FOUND);
    }
    fail(error)
}

/// As [`fail_as`], for what was asked for in a wrong way.
pub(crate) fn misused(error: &dyn Error, json: bool) -> ExitCode {
    let _ = fail_as(error, json);
    ExitCode::from(USAGE)
}

/// Says what is wrong on standard error.
pub(crate) fn say(text: &str) {
    // Where standard error is gone, there is nobody to tell.
    let _ = writeln!(io::stderr(), "tacho: {}", text.split('\n').map(printable).collect::<Vec<_>>().join("\n"));
}
