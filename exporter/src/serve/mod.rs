//! The HTTP server of `tacho serve`: `/metrics`, a live page, the JSON behind it, and health.
//!
//! Called by the binary; an application may run it, too. [`Server::bind`] takes the addresses first, so that whoever
//! starts it knows at once whether it can serve; [`Server::run`] serves until it is told to end and then lets requests
//! in flight finish. Regions are read on a thread that may block, never on the runtime's own.

mod answer;
mod answer_time;
mod coalesce;
mod compress;
mod connections;
mod death_metrics;
mod listen;
mod merge_metrics;
mod negotiate;
mod pages;
mod recorder_metrics;
mod routes;
mod scrape;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Directories;
use crate::deaths::Deaths;
use crate::plan::{Options, REGION_LABEL};
use crate::recording::{Recorder, RecorderConfig, RecorderError};
use crate::self_metrics::SelfMetricsError;

pub use compress::Compression;
pub use connections::Limits;
pub use listen::{BindError, Listen, ListenError};
pub use pages::{Pages, Pieces};
pub use scrape::{ScrapeError, Scraper};

use connections::Connections;
use listen::Listener;

/// What the operator chose.
///
/// ```
/// let config = tachograph_exporter::serve::Config::default();
/// assert_eq!(config.listen[0].to_string(), "127.0.0.1:10110");
/// assert!(config.problems().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on, at least one.
    pub listen: Vec<Listen>,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Scrapes that may be answered at a time; 0 for no limit.
    pub max_requests: usize,
    /// What connections may cost.
    pub limits: Limits,
    /// Region directories; none for the default ones.
    pub region_dirs: Vec<PathBuf>,
    /// Name of the label that says which region a series comes from; empty for none.
    pub region_label: String,
    /// When a body is compressed for who takes gzip.
    pub compression: Compression,
    /// How much: 1 (fast) to 9 (small).
    pub compression_level: u32,
    /// Whether OpenMetrics has `_created` lines.
    pub created: bool,
    /// How long an actor may be busy with one message before it counts as stuck.
    pub stuck_after: Duration,
    /// Whether regions are added up instead of told apart; needs the recorder's directory, where the ledger is.
    pub merge: bool,
    /// The flight recorder; none where nothing is to be recorded.
    pub recorder: Option<RecorderConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listen::default()],
            telemetry_path: "/metrics".to_owned(),
            max_requests: 40,
            limits: Limits::default(),
            region_dirs: Vec::new(),
            region_label: REGION_LABEL.to_owned(),
            compression: Compression::default(),
            compression_level: 1,
            created: false,
            stuck_after: scrape::STUCK_AFTER,
            merge: false,
            recorder: None,
        }
    }
}

impl Config {
    /// Everything that is wrong with it; empty where it can be served.
    ///
    /// ```
    /// use tachograph_exporter::serve::Config;
    /// let config = Config { telemetry_path: "metrics".into(), region_label: "le".into(), ..Config::default() };
    /// assert_eq!(config.problems().len(), 2);
    /// ```
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.listen.is_empty() {
            problems.push("--web.listen-address: at least one is needed".to_owned());
        }
        let path = &self.telemetry_path;
        if !path.starts_with('/')
            || path.contains(|c: char| c.is_whitespace() || c.is_control() || "{}?#*:".contains(c))
        {
            problems.push(format!("--web.telemetry-path {path:?}: a path such as /metrics is needed"));
        } else if routes::is_taken(path) {
            problems.push(format!("--web.telemetry-path {path}: the exporter answers that path itself"));
        }
        if self.limits.connections == 0 {
            problems.push("--web.max-connections 0: at least 1 is needed".to_owned());
        }
        if !(1..=9).contains(&self.compression_level) {
            problems.push(format!("--web.compression-level {}: 1 to 9 is needed", self.compression_level));
        }
        if !self.options().is_usable() {
            let label = &self.region_label;
            problems.push(format!(
                "--region-label {label:?}: a label name is needed ([a-zA-Z_][a-zA-Z0-9_]*, not le, quantile, job, instance or overflow)"
            ));
        }
        if self.merge && self.recorder.is_none() {
            problems.push(
                "--merge: the totals of writers that are gone need a place that outlives them: name one with --recorder.dir"
                    .to_owned(),
            );
        }
        problems.extend(self.recorder.iter().flat_map(RecorderConfig::problems));
        problems
    }

    fn directories(&self) -> Directories {
        Directories::from_args(self.region_dirs.clone())
    }

    fn options(&self) -> Options {
        Options { region_label: self.region_label.clone() }
    }
}

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration is wrong; all of its problems, joined by `; `.
    #[error("{0}")]
    Config(String),
    /// An address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The exporter's own metrics can't be had.
    #[error(transparent)]
    SelfMetrics(#[from] SelfMetricsError),
    /// Nothing can be recorded.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
}

/// How often regions that come and go are noted between scrapes, where they are added up.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(500);

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    app: Arc<routes::App>,
    limits: Limits,
    /// Samples until the server is gone.
    _recorder: Option<Recorder>,
}

impl Server {
    /// Checks the configuration and takes all addresses.
    ///
    /// # Errors
    /// [`ServeError`] naming the address and what helps, or everything that is wrong with the configuration.
    pub async fn bind(config: &Config) -> Result<Self, ServeError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ServeError::Config(problems.join("; ")));
        }
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.push(address.bind().await?);
        }
        let recorder = config.recorder.clone().map(|recorder| Recorder::start(recorder, config.directories()));
        let recorder = recorder.transpose()?;
        let mut deaths = Deaths::new(config.recorder.as_ref().map(|recorder| recorder.directory.as_path()));
        if let Some(recorder) = &recorder {
            let oom = recorder.oom();
            deaths = deaths.watching(Arc::new(move |uuid| oom.kills(uuid)));
        }
        let scraper = Scraper::new(config.directories(), config.options())?;
        let mut scraper = scraper.stuck_after(config.stuck_after).counting(deaths);
        if let Some(recorder) = config.recorder.as_ref().filter(|_| config.merge) {
            scraper = scraper.merging(&recorder.directory)?;
        }
        if let Some(recorder) = &recorder {
            scraper.show_recorder(recorder.stats())?;
        }
        let scraper = Arc::new(scraper);
        let app = routes::App::new(scraper, config);
        Ok(Self { listeners, app: Arc::new(app), limits: config.limits.clone(), _recorder: recorder })
    }

    /// The addresses it listens on, with the ports that the system chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// The first URL that leads to it, without a path; `None` where it listens on unix sockets only.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.listeners.iter().find_map(Listener::url)
    }

    /// What it renders from.
    #[must_use]
    pub fn scraper(&self) -> Arc<Scraper> {
        self.app.scraper()
    }

    /// Serves until `end` is ready, then takes no more connections and lets requests in flight finish, for as long as
    /// [`Limits::drain`] says.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let ending = CancellationToken::new();
        let connections = Arc::new(Connections::new(self.limits.clone(), self.app.in_flight()));
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            tracing::info!(address = %listener.address(), "Listening on");
            let router = routes::router(Arc::clone(&self.app), listener.is_private());
            listening.spawn(listener.serve(router, Arc::clone(&connections), ending.clone()));
        }
        let scraper = self.app.scraper();
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BETWEEN_SCRAPES);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let scraper = Arc::clone(&scraper);
                // Where it panics, scrapes still do the same.
                let _ = tokio::task::spawn_blocking(move || scraper.look_between()).await;
            }
        });
        end.await;
        looking.abort();
        ending.cancel();
        while listening.join_next().await.is_some() {}
        if !connections.drain().await {
            tracing::warn!(seconds = self.limits.drain.as_secs(), "requests still in flight are cut off");
        }
    }
}
