//! The paths that the server answers.
//!
//! Every answer has a Content-Length; what goes wrong is said with a status before the first byte of a body, never by a
//! body that is cut. `HEAD` works wherever `GET` does; other methods get 405 with Allow.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::coalesce::Coalescer;
use super::compress::Compression;
use super::listen::Peer;
use super::pages::Pieces;
use super::scrape::{ScrapeError, Scraper};
use super::{Config, negotiate};
use crate::exposition::{Exposition, Selection};
use crate::filter::Filter;

/// What all requests share.
pub(super) struct App {
    scraper: Arc<Scraper>,
    renders: Coalescer<Wanted, Result<Pieces, Failed>>,
    telemetry_path: String,
    max_requests: usize,
    compression: Compression,
    created: bool,
    places: Arc<Semaphore>,
    /// Answers that are not sent yet.
    in_flight: TaskTracker,
    /// The page asks for whole listings, one at a time.
    listings: Semaphore,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("telemetry_path", &self.telemetry_path).finish_non_exhaustive()
    }
}

/// What a request to `/metrics` wants: requests that want the same share its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    exposition: Exposition,
    gzip: bool,
}

/// Why there is no body.
#[derive(Debug, Clone)]
struct Failed {
    status: StatusCode,
    reason: Arc<str>,
}

impl App {
    pub(super) fn new(scraper: Arc<Scraper>, config: &Config) -> Self {
        let rendering = Arc::clone(&scraper);
        let level = config.compression_level;
        let renders = Coalescer::new(move |wanted: &Wanted| {
            let level = wanted.gzip.then_some(level);
            rendering.body(&wanted.exposition, level).map_err(|error| {
                let unknown = matches!(error, ScrapeError::UnknownRegion { .. } | ScrapeError::AddedUp { .. });
                if !unknown {
                    tracing::error!(%error, "a scrape failed");
                }
                let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::INTERNAL_SERVER_ERROR };
                Failed { status, reason: Arc::from(error.to_string()) }
            })
        });
        let max_requests = config.max_requests;
        let places = if max_requests == 0 { Semaphore::MAX_PERMITS } else { max_requests.min(Semaphore::MAX_PERMITS) };
        Self {
            scraper,
            renders,
            telemetry_path: config.telemetry_path.clone(),
            max_requests,
            compression: config.compression,
            created: config.created,
            places: Arc::new(Semaphore::new(places)),
            in_flight: TaskTracker::new(),
            listings: Semaphore::new(1),
        }
    }

    pub(super) fn scraper(&self) -> Arc<Scraper> {
        Arc::clone(&self.scraper)
    }

    /// What counts answers that are not sent yet.
    pub(super) fn in_flight(&self) -> TaskTracker {
        self.in_flight.clone()
    }
}

/// Whether a path is one of the exporter's own, apart from `/`, where the metrics may stand instead of the page.
pub(super) fn is_taken(path: &str) -> bool {
    path.starts_with("/-/") || path.starts_with("/api/")
}

/// All routes. Ids of actors, what they do, and notes are told only where the listener is private to this machine.
pub(super) fn router(app: Arc<App>, private: bool) -> Router {
    let mut router = Router::new()
        .route("/-/healthy", get(async || plain(StatusCode::OK, "tacho is healthy\n")))
        .route("/-/ready", get(async || plain(StatusCode::OK, "tacho is ready\n")))
        .route("/api/v1/regions", get(regions))
        .route("/api/v1/regions/{name}", get(values))
        .route("/api/v1/regions/{name}/evidence", if private { get(evidence) } else { get(withheld) });
    if app.telemetry_path != "/" {
        router = router.route("/", get(page));
    }
    router
        .route(&app.telemetry_path, get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(app)
}

async fn metrics(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Ok(place) = Arc::clone(&app.places).try_acquire_owned() else {
        let text = format!("limit of concurrent requests reached ({}), try again later\n", app.max_requests);
        return plain(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let selection = match selection(query.as_deref().unwrap_or_default()) {
        Ok(selection) => selection,
        Err(reason) => return plain(StatusCode::BAD_REQUEST, reason),
    };
    let (format, content_type) = negotiate::format(&list(&headers, header::ACCEPT));
    let takes_gzip = negotiate::takes_gzip(&list(&headers, header::ACCEPT_ENCODING));
    let gzip = takes_gzip && app.compression.applies(peer);
    let wanted = Wanted { exposition: Exposition { format, created: app.created, selection }, gzip };
    let render = app.renders.take(wanted);
    let rendered = match scrape_timeout(&headers) {
        None => render.await,
        Some(timeout) => match tokio::time::timeout(timeout, render).await {
            Ok(rendered) => rendered,
            // The scraper is about to give up: it gets a reason instead of a broken connection.
            Err(_) => return plain(StatusCode::SERVICE_UNAVAILABLE, "not rendered within the scrape timeout\n"),
        },
    };
    match rendered {
        Some(Ok(body)) => {
            let mut response = sent(
                StatusCode::OK,
                &content_type,
                body.len(),
                // A client that does not read keeps its place, not only its memory, for as long as its connection stands.
                Body::new(body.keeping((place, app.in_flight.token()))),
            );
            let headers = response.headers_mut();
            headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
            if gzip {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        Some(Err(Failed { status, reason })) => plain(status, format!("{reason}\n")),
        None => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error: rendering failed; the log says more\n"),
    }
}

/// All values of a header that is a list.
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    // A byte that is no ASCII spoils its own element only.
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(",")
}

/// Most different names of either kind that a query selects: more than a scraper has use for.
const MOST_NAMES: usize = 1_000;

/// What a query selects: `region=` and `name[]=`, each any number of times.
fn selection(query: &str) -> Result<Selection, String> {
    let mut selection = Selection::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let names = match &*key {
            "region" | "region[]" => &mut selection.regions,
            "name[]" | "name" => &mut selection.names,
            _ => {
                return Err(format!(
                    "unknown parameter {key:?}: ?region=NAME and ?name[]=METRIC may be given, each repeatedly\n"
                ));
            }
        };
        if value.is_empty() {
            return Err(format!("parameter {key:?} is empty: it needs a name\n"));
        }
        // The same selection in another order is the same.
        names.insert(value.into_owned());
        if names.len() > MOST_NAMES {
            return Err(format!("parameter {key:?} names more than {MOST_NAMES}\n"));
        }
    }
    Ok(selection)
}

/// How long Prometheus waits for this scrape, less what the way back takes.
fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    const WAY_BACK: f64 = 0.1;
    let text = headers.get("x-prometheus-scrape-timeout-seconds")?.to_str().ok()?;
    let seconds: f64 = text.trim().parse().ok()?;
    if seconds > 0.0 { Duration::try_from_secs_f64((seconds - WAY_BACK).max(seconds / 2.0)).ok() } else { None }
}

async fn regions(State(app): State<Arc<App>>) -> Response {
    json(&app, |scraper| Some(scraper.regions())).await
}

/// What may be asked of a region's values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesWanted {
    filter: Option<String>,
    limit: Option<usize>,
}

/// Most series that one answer of the API lists.
const MOST_SERIES: usize = 10_000;

async fn values(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    wanted: Result<Query<ValuesWanted>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return plain(StatusCode::BAD_REQUEST, format!("{}\n", error.body_text())),
    };
    let filter = wanted.filter.as_deref().map_or_else(Filter::default, Filter::new);
    let limit = wanted.limit.unwrap_or(MOST_SERIES).min(MOST_SERIES);
    json(&app, move |scraper| scraper.values(&name, &filter, limit)).await
}

/// What a region holds beside its values.
async fn evidence(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    json(&app, move |scraper| scraper.evidence(&name)).await
}

async fn withheld() -> Response {
    let text = "activities, notes and panics are told on loopback addresses and unix sockets only\n";
    plain(StatusCode::FORBIDDEN, text)
}

async fn json(app: &Arc<App>, make: impl FnOnce(&Scraper) -> Option<serde_json::Value> + Send + 'static) -> Response {
    let Ok(_turn) = app.listings.acquire().await else { return not_found().await };
    let scraper = app.scraper();
    match tokio::task::spawn_blocking(move || make(&scraper)).await {
        Ok(Some(value)) => reply(StatusCode::OK, "application/json", value.to_string()),
        Ok(None) => plain(StatusCode::NOT_FOUND, "no such region\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error; the log says more\n"),
    }
}

/// The page with the path of the metrics put in.
async fn page(State(app): State<Arc<App>>) -> Response {
    const PAGE: &str = include_str!("page.html");
    let mut path = String::new();
    for char in app.telemetry_path.chars() {
        match char {
            '&' => path.push_str("&amp;"),
            '<' => path.push_str("&lt;"),
            '"' => path.push_str("&quot;"),
            char => path.push(char),
        }
    }
    // Relative, so that it works behind a proxy with a prefix.
    let page =
        PAGE.replace("{{METRICS}}", path.trim_start_matches('/')).replace("{{VERSION}}", env!("CARGO_PKG_VERSION"));
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "not found\n")
}

async fn not_allowed() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response {
    reply(status, "text/plain; charset=utf-8", text)
}

fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    let body = body.into();
    sent(status, content_type, body.len() as u64, Body::from(body))
}

fn sent(status: StatusCode, content_type: &str, length: u64, body: Body) -> Response {
    // Always ASCII: it is made of our own words.
    let content_type = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static("text/plain"));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directories;
    use crate::plan::Options;

    fn app(max_requests: usize) -> (tempfile::TempDir, App) {
        let directory = tempfile::tempdir().unwrap();
        let directories = Directories::from_args(vec![directory.path().to_owned()]);
        let scraper = Arc::new(Scraper::new(directories, Options::default()).unwrap());
        (directory, App::new(scraper, &Config { max_requests, ..Config::default() }))
    }

    async fn ask(app: &Arc<App>, headers: HeaderMap) -> Response {
        metrics(State(Arc::clone(app)), ConnectInfo(Peer::Local), RawQuery(None), headers).await
    }

    #[tokio::test]
    async fn past_the_limit_is_503() {
        let (_directory, app) = app(1);
        let app = Arc::new(app);
        let place = app.places.try_acquire().unwrap();
        let refused = ask(&app, HeaderMap::new()).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(place);
        // A body that is not sent keeps its place.
        let unsent = ask(&app, HeaderMap::new()).await;
        assert_eq!(unsent.status(), StatusCode::OK);
        let refused = ask(&app, HeaderMap::new()).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(unsent);
        assert_eq!(ask(&app, HeaderMap::new()).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_the_scraper_would_not_wait_for_is_503() {
        let (_directory, mut app) = app(0);
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        app.renders = Coalescer::new(move |_: &Wanted| {
            // Whoever waits for it all the same gets it in the end, and with it the wrong status.
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
            Ok(Pieces::default())
        });
        let mut headers = HeaderMap::new();
        headers.insert("x-prometheus-scrape-timeout-seconds", HeaderValue::from_static("0.02"));
        let late = ask(&Arc::new(app), headers).await;
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(let_go);
    }

    #[test]
    fn a_query_selects_or_says_what_is_wrong_with_it() {
        let picked = selection("region=b&name%5B%5D=x_total&region=a&region=b").expect("a selection");
        assert_eq!(picked, Selection { regions: ["a".into(), "b".into()].into(), names: ["x_total".into()].into() });
        assert!(selection("").expect("all").is_all());
        // Percent-encoded, as `+` for a space, in bytes that are no text, and beside each other.
        for (query, names) in [
            ("region=a%20b", "a b"),
            ("region=a+b", "a b"),
            ("region[]=%C3%BC%26%3d", "ü&="),
            ("region=%ff", "\u{fffd}"),
            ("&&region=x&", "x"),
            ("region=%zz%", "%zz%"),
            ("region=%00", "\0"),
        ] {
            let picked = selection(query).expect(query);
            assert_eq!((picked.regions, picked.names), ([names.to_owned()].into(), [].into()), "{query}");
        }
        let many = |count: usize| (0..count).map(|index| format!("name[]={index}&")).collect::<String>();
        assert_eq!(selection(&many(MOST_NAMES)).expect("as many as may be").names.len(), MOST_NAMES);
        for (query, said) in [
            ("names[]=x", "\"names[]\""),
            ("region=", "empty"),
            ("region=a&name[]=", "empty"),
            ("x", "?region=NAME"),
            ("Region=a", "\"Region\""),
            ("=a", "\"\""),
            (&many(MOST_NAMES + 1), "more than 1000"),
        ] {
            let reason = selection(query).expect_err(query);
            assert!(reason.contains(said), "{query}: {reason}");
        }
    }

    #[test]
    fn only_a_sensible_timeout_is_taken() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-prometheus-scrape-timeout-seconds", HeaderValue::from_static(text));
            scrape_timeout(&headers)
        };
        assert_eq!(of("10"), Some(Duration::from_secs_f64(9.9)));
        assert_eq!(of("2.000"), Some(Duration::from_secs_f64(1.9)));
        for text in ["", "x", "-1", "0", "NaN", "inf"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
