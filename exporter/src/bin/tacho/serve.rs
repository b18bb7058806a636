//! `tacho serve`: the exporter.

use std::process::ExitCode;

use tachograph_exporter::serve::{Compression, Config, Limits, ServeError, Server};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{CompressionChoice, Log, LogFormat, LogLevel, Serve};
use crate::output;

pub(crate) fn run(args: &Serve) -> ExitCode {
    let config = Config {
        listen: args.listen.clone(),
        telemetry_path: args.telemetry_path.clone(),
        max_requests: args.max_requests,
        limits: Limits { connections: args.max_connections, ..Limits::default() },
        region_dirs: args.directories.region_dirs.clone(),
        region_label: args.region_label.clone(),
        compression: match args.compression {
            CompressionChoice::Auto => Compression::Auto,
            CompressionChoice::Always => Compression::Always,
            CompressionChoice::Never => Compression::Never,
        },
        compression_level: args.compression_level,
        created: args.created,
        stuck_after: args.stuck_after,
        merge: args.merge,
        recorder: args.recorder.config(),
    };
    let problems = config.problems();
    for problem in &problems {
        output::say(problem);
    }
    if !problems.is_empty() {
        return ExitCode::from(output::USAGE);
    }
    if args.check {
        return output::print("the configuration can be served\n", ExitCode::SUCCESS);
    }
    log_to_stderr(&args.log);
    raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&error),
    };
    match runtime.block_on(serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code =
                if matches!(error, ServeError::Config(_)) { ExitCode::from(output::USAGE) } else { output::FOUND };
            output::fail(&error);
            code
        }
    }
}

async fn serve(config: &Config) -> Result<(), ServeError> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = tachograph_exporter::self_metrics::REVISION,
        "Starting tacho"
    );
    if nix::unistd::geteuid().is_root() {
        tracing::warn!("tacho runs as root; reading regions needs their group only");
    }
    let end = ended();
    let server = Server::bind(config).await?;
    let directories = tachograph_exporter::Directories::from_args(config.region_dirs.clone()).paths();
    tracing::info!(directories = ?directories, "Looking for regions");
    if let Some(recorder) = &config.recorder {
        tracing::info!(directory = %recorder.directory.display(), "Recording");
    }
    server.run(end).await;
    tracing::info!("Ended");
    Ok(())
}

/// Lets the process open as many files as it may: each region and each connection takes some.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// Ready when the process is told to end: SIGTERM or SIGINT. The handlers stand once this returns.
pub(crate) fn ended() -> impl Future<Output = ()> {
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        match (term, int) {
            (Ok(mut term), Ok(mut int)) => {
                let name = tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = int.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "Ending");
            }
            // Without handlers the signals end the process by themselves.
            _ => std::future::pending().await,
        }
    }
}

/// Sends what is logged to standard error.
pub(crate) fn log_to_stderr(log: &Log) {
    let level = match log.level {
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
