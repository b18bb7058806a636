//! The binary `meeting-controller`: see the library's `cli` module.

use std::process::ExitCode;

fn main() -> ExitCode {
    match meeting_controller::runtime() {
        Ok(runtime) => runtime.block_on(meeting_controller::main_from(std::env::args_os())),
        Err(error) => {
            eprintln!("meeting-controller: no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
