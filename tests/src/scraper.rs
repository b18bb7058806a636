//! Real scrapers: Debian's Prometheus and VictoriaMetrics, each told to scrape one exporter every second, and asked by its API.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http::{free_port, get};
use crate::process::{Running, eventually, tool};

/// How long a server may take to start and to scrape.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A server of Prometheus' API; it ends when this is dropped.
#[derive(Debug)]
pub struct Api {
    _process: Running,
    /// Where it listens.
    pub port: u16,
    _data: tempfile::TempDir,
}

impl Api {
    fn start(program: &str, exporter: u16, arguments: impl FnOnce(&Path, &Path, u16) -> Vec<String>) -> Self {
        let data = tempfile::tempdir().expect("a folder for the server");
        let config = data.path().join("scrape.yml");
        let targets = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: tacho\n  static_configs:\n  - targets: ['127.0.0.1:{exporter}']\n"
        );
        std::fs::write(&config, targets).expect("a config");
        let port = free_port();
        let mut command = Command::new(tool(program));
        command.args(arguments(&config, &data.path().join("data"), port));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { _process: Running::start(&mut command), port, _data: data }
    }

    /// Debian's Prometheus, with these features: with `native-histograms` it asks for protobuf, without for OpenMetrics.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn prometheus(exporter: u16, features: &str) -> Self {
        Self::start("prometheus", exporter, |config, data, port| {
            let mut arguments = vec![
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", data.display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ];
            arguments.extend((!features.is_empty()).then(|| format!("--enable-feature={features}")));
            arguments
        })
    }

    /// VictoriaMetrics, which asks for text.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn victoria_metrics(exporter: u16) -> Self {
        Self::start("victoria-metrics", exporter, |config, data, port| {
            vec![
                format!("-promscrape.config={}", config.display()),
                format!("-storageDataPath={}", data.display()),
                format!("-httpListenAddr=127.0.0.1:{port}"),
                "-search.latencyOffset=0s".to_owned(),
            ]
        })
    }

    /// The series that a query gives now.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let reply = get(self.port, &format!("/api/v1/query?query={escaped}"));
        let value: Option<Value> = reply.and_then(|reply| serde_json::from_str(reply.body.trim()).ok());
        value.and_then(|value| value["data"]["result"].as_array().cloned()).unwrap_or_default()
    }

    /// The number of the only series that a query gives, once it gives one.
    ///
    /// # Panics
    /// Where it gives none, or several, all the time.
    pub fn number(&self, query: &str) -> f64 {
        eventually(query, PATIENCE, || match self.query(query).as_slice() {
            [one] => one["value"][1].as_str()?.parse().ok(),
            _ => None,
        })
    }

    /// How many lines VictoriaMetrics called invalid.
    ///
    /// # Panics
    /// Where its own metrics can't be had.
    pub fn invalid_rows(&self) -> f64 {
        let own = eventually("its own metrics", PATIENCE, || get(self.port, "/metrics")).body;
        let lines = own.lines().filter_map(|line| line.strip_prefix("vm_rows_invalid_total{type=\"prometheus\"}"));
        let counts: Vec<f64> = lines.map(|value| value.trim().parse().expect("a number")).collect();
        assert!(!counts.is_empty(), "no vm_rows_invalid_total");
        counts.iter().sum()
    }

    /// Its only target is up and was never in error.
    ///
    /// # Panics
    /// Where it is not, with what the server says of it.
    pub fn assert_healthy(&self) {
        let lowest = self.number("min_over_time(up[1h])");
        let targets = get(self.port, "/api/v1/targets").expect("targets");
        let targets: Value = serde_json::from_str(targets.body.trim()).expect("JSON");
        let target = &targets["data"]["activeTargets"][0];
        assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
        assert_eq!(lowest, 1.0, "it was down");
    }
}
