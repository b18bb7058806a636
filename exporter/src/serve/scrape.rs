//! One scrape: find the regions, take snapshots of the living, render them with the exporter's own metrics.
//!
//! Called by the routes on a thread that may block. It keeps the plan between scrapes, gives snapshot buffers back, and
//! logs each change (a region that came, died or went; a file that can't be read; a family left out) once, not once a
//! scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::compress::gzip;
use super::death_metrics::DeathMetrics;
use super::merge_metrics::MergeMetrics;
use super::pages::{Pages, Pieces};
use super::recorder_metrics::RecorderMetrics;
use crate::deaths::Deaths;
use crate::exposition::Exposition;
use crate::json::{self, Now, RegionEntry};
use crate::ledger::{Clashes, InPlace, Ledger, Now as LedgerNow};
use crate::listing::Listing;
use crate::plan::{Options, Plan, PlanError, Source};
use crate::recording::RecorderStats;
use crate::said::Said;
use crate::self_metrics::{SelfMetrics, SelfMetricsError};
use crate::view::{View, Views};
use crate::{Directories, ReadError, RegionInfo, RegionReader, Verdict};

/// Why a scrape gave no body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// The regions can't be told apart.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The exporter's own metrics can't be had.
    #[error(transparent)]
    SelfMetrics(#[from] SelfMetricsError),
    /// None of the regions that were asked for is there.
    #[error("no region {names}: `tacho ls` lists those that are there")]
    UnknownRegion {
        /// Their names, quoted and joined by commas.
        names: String,
    },
    /// A region was asked for by its name where regions are added up.
    #[error("regions are added up (--merge), so none can be asked for by itself: `tacho show NAME` shows {names}")]
    AddedUp {
        /// Their names, quoted and joined by commas.
        names: String,
    },
    /// The plan that was just made does not fit its sources: a fault of the exporter.
    #[error("internal error: the plan does not fit its regions")]
    Misfit,
}

/// Renders all regions of its directories.
///
/// ```
/// use tachograph_exporter::exposition::{Exposition, Format};
/// use tachograph_exporter::{Directories, plan::Options, serve::Scraper};
/// let directory = tempfile::tempdir()?;
/// let scraper = Scraper::new(Directories::from_args(vec![directory.path().into()]), Options::default())?;
/// let body = String::from_utf8(scraper.metrics(&Exposition::new(Format::Text))?)?;
/// assert!(body.contains("tacho_scrapes_total 1\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scraper {
    directories: Directories,
    options: Options,
    own: SelfMetrics,
    deaths: Deaths,
    death_metrics: DeathMetrics,
    /// How long an actor may be busy with one message.
    stuck_after: Duration,
    merge_metrics: Option<MergeMetrics>,
    state: Mutex<State>,
}

/// What one scrape leaves for the next.
#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    /// Where regions are added up.
    ledger: Option<Ledger>,
    /// What bodies are written on.
    pages: Pages,
    /// Problems and clashes that were logged and still stand.
    said: Said,
    /// Regions by name and uuid, with the verdict that was logged.
    verdicts: BTreeMap<(String, [u8; 16]), Verdict>,
}

/// How long an actor may be busy with one message, unless the operator says otherwise.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(10);

impl Scraper {
    /// Renders the regions of these directories.
    ///
    /// # Errors
    /// [`SelfMetricsError`]: none is expected.
    pub fn new(directories: Directories, options: Options) -> Result<Self, SelfMetricsError> {
        let (own, death_metrics) = (SelfMetrics::new()?, DeathMetrics::new()?);
        own.register(Box::new(death_metrics.clone()))?;
        let deaths = Deaths::new(None);
        Ok(Self {
            directories,
            options,
            own,
            deaths,
            death_metrics,
            stuck_after: STUCK_AFTER,
            merge_metrics: None,
            state: Mutex::default(),
        })
    }

    /// Counts deaths by these: such that keep a ledger, or watch memory cgroups.
    #[must_use]
    pub fn counting(self, deaths: Deaths) -> Self {
        Self { deaths, ..self }
    }

    /// Takes actors for stuck that are busy with one message for longer than that, instead of 10 s.
    #[must_use]
    pub fn stuck_after(self, stuck_after: Duration) -> Self {
        Self { stuck_after, ..self }
    }

    /// Adds regions up instead of telling them apart, with the ledger of totals in this directory: `serve --merge`. What stood
    /// there before counts on.
    ///
    /// ```
    /// use tachograph_exporter::exposition::{Exposition, Format};
    /// use tachograph_exporter::{Directories, plan::Options, serve::Scraper};
    /// let (regions, book) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let scraper = Scraper::new(Directories::from_args(vec![regions.path().into()]), Options::default())?;
    /// scraper.merging(book.path())?.metrics(&Exposition::new(Format::Text))?;
    /// assert!(book.path().join("merge.ledger").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SelfMetricsError`]: none is expected. A ledger that can't be read is put aside, and said in the log.
    pub fn merging(self, directory: &std::path::Path) -> Result<Self, SelfMetricsError> {
        let metrics = MergeMetrics::new()?;
        self.own.register(Box::new(metrics.clone()))?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ledger = Some(Ledger::open(directory));
        Ok(Self { merge_metrics: Some(metrics), ..self })
    }

    pub(super) const fn is_merging(&self) -> bool {
        self.merge_metrics.is_some()
    }

    /// Between scrapes: deaths are counted while what tells their cause is there, and with `--merge` regions that come and go
    /// are noted. Those that go on living are not read.
    pub(super) fn look_between(&self) {
        let regions = self.directories.scan().regions;
        let crashed = regions.iter().filter(|reader| reader.verdict().is_ok_and(|verdict| verdict == Verdict::Crashed));
        let crashed: Vec<RegionInfo> = crashed.filter_map(|reader| reader.info().ok()).collect();
        self.deaths.glance(&self.directories, &crashed.iter().collect::<Vec<_>>());
        if self.is_merging() {
            self.note_regions();
        }
    }

    fn note_regions(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let regions = self.directories.scan().regions.into_iter();
        let in_place = regions.filter_map(|reader| {
            let now = match reader.verdict() {
                Ok(Verdict::Copy) => return None,
                Ok(verdict) if verdict.is_alive() => LedgerNow::Lives(None),
                Ok(_) => LedgerNow::Dead,
                Err(_) => LedgerNow::Unreadable,
            };
            Some(InPlace { reader, now })
        });
        let in_place: Vec<InPlace> = in_place.collect();
        if let Some(ledger) = &mut state.ledger {
            ledger.note(&self.directories, &in_place);
        }
    }

    /// Shows how a recorder is doing, from now on.
    pub(super) fn show_recorder(&self, stats: Arc<RecorderStats>) -> Result<(), SelfMetricsError> {
        self.own.register(Box::new(RecorderMetrics::new(stats)?))
    }

    /// The body of `/metrics`.
    ///
    /// # Errors
    /// [`ScrapeError`] where nothing can be rendered; one region that can't be read is no such reason.
    pub fn metrics(&self, exposition: &Exposition) -> Result<Vec<u8>, ScrapeError> {
        Ok(self.body(exposition, None)?.whole())
    }

    /// The same, compressed at a level, if one is given: then it is never whole in memory as it is.
    pub(super) fn body(&self, exposition: &Exposition, level: Option<u32>) -> Result<Pieces, ScrapeError> {
        let start = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.own.count_scrape();
        let body = self.render(&mut state, exposition, level);
        let asked =
            |error: &ScrapeError| matches!(error, ScrapeError::UnknownRegion { .. } | ScrapeError::AddedUp { .. });
        let failed = matches!(&body, Err(error) if !asked(error));
        self.own.scrape_ended(start.elapsed(), failed);
        body
    }

    fn find(&self) -> Views {
        Views::of(self.directories.scan())
    }

    fn render(&self, state: &mut State, exposition: &Exposition, level: Option<u32>) -> Result<Pieces, ScrapeError> {
        if state.ledger.is_some() && !exposition.selection.regions.is_empty() {
            return Err(ScrapeError::AddedUp { names: quoted(&exposition.selection.regions) });
        }
        let mut found = self.find();
        let infos: Vec<&RegionInfo> = found.views.iter().map(|view| &view.region).collect();
        let tally = self.deaths.observe(&self.directories, &infos);
        let (mut merged, mut clashes) = (None, Clashes::default());
        if let Some(ledger) = &mut state.ledger {
            merged = ledger.observe(&self.directories, &in_place(&found), &mut clashes);
            if let Some(metrics) = &self.merge_metrics {
                metrics.set(ledger.condition());
            }
        }
        let same_name = found.keep_one_of_each_name();
        // Added up, they count all.
        if state.ledger.is_none() {
            found.problems.extend(same_name);
        }
        self.own.observe(&found.seen(), &found.unreadable_names(), found.problems.len(), Now::read().monotonic_ns);
        let living = found.views.iter().filter(|view| view.snapshot.is_some());
        // One that was cut meanwhile says nothing; the next scrape names it.
        let stuck =
            living.filter_map(|view| Some((view.reader.name(), view.reader.stuck_actors(self.stuck_after).ok()?)));
        let in_view = found.views.iter().map(|view| view.region.name.as_str());
        self.death_metrics.set(&tally, in_view, stuck);

        let mut sources = vec![Source::own(Arc::new(self.own.snapshot()?))];
        if state.ledger.is_some() {
            sources.extend(merged.map(Source::own));
        } else {
            sources.extend(found.sources());
        }
        if state.plan.as_ref().is_none_or(|plan| !plan.fits(&sources)) {
            // The old one goes first: two plans of a million series would be held else.
            state.plan = None;
            state.plan = Some(Plan::new(&sources, &self.options)?);
        }
        let plan = state.plan.as_ref().ok_or(ScrapeError::Misfit)?;
        // Only now is it known what was left out; the structure is the same, so the plan still fits.
        let left_out = plan.clashes().iter().filter(|clash| clash.left_out).count();
        let otherwise = plan.clashes().len() - left_out;
        self.own.set_clashes(left_out + clashes.left_out.len(), otherwise + clashes.otherwise.len());
        sources[0] = Source::own(Arc::new(self.own.snapshot()?));
        let unknown = exposition.selection.unknown_regions(&sources);
        if !unknown.is_empty() && unknown.len() == exposition.selection.regions.len() {
            return Err(ScrapeError::UnknownRegion { names: quoted(unknown) });
        }
        let body = if let Some(level) = level {
            let (compressed, fits) = gzip(level, |take| exposition.render_pieces(plan, &sources, take));
            state.pages.keep(0);
            fits.then(|| Pieces::from(compressed))
        } else {
            state.pages.render(exposition, plan, &sources)
        };
        let body = body.ok_or(ScrapeError::Misfit)?;
        drop(sources);
        state.said.tell(&found.problems, plan.clashes().iter().map(ToString::to_string).chain(clashes.all()));
        state.log(&found.views);
        found.recycle();
        Ok(body)
    }

    /// The list of regions, as `tacho ls --json` shows it.
    #[must_use]
    pub fn regions(&self) -> serde_json::Value {
        let Listing { entries, problems } = Listing::of(&self.directories, false);
        json::regions(&entries, &problems)
    }

    /// The values of one region, as `tacho show --json` shows them; `None` where there is no such region or it can't
    /// be read.
    #[must_use]
    pub fn values(&self, name: &str, filter: &crate::filter::Filter, limit: usize) -> Option<serde_json::Value> {
        let (_, snapshot) =
            self.named(name, |reader| reader.snapshot().map(|snapshot| (snapshot.region.clone(), snapshot)))?;
        let entry = RegionEntry::new(snapshot.region.clone(), Now::read(), 0);
        Some(json::values(&entry, &snapshot, filter, limit))
    }

    /// What one region holds beside its values; `None` as for [`Scraper::values`].
    #[must_use]
    pub fn evidence(&self, name: &str) -> Option<serde_json::Value> {
        let (region, evidence) = self.named(name, |reader| Ok((reader.info()?, reader.evidence()?)))?;
        Some(json::evidence(&RegionEntry::new(region, Now::read(), 0), &evidence))
    }

    /// What `read` gives of the region with that name: of several the one that `keep_one_of_each_name` would choose.
    fn named<T>(
        &self,
        name: &str,
        read: impl Fn(&RegionReader) -> Result<(RegionInfo, T), ReadError>,
    ) -> Option<(RegionInfo, T)> {
        let regions = self.directories.scan().regions;
        let named = regions.iter().filter(|reader| reader.name() == name).filter_map(|reader| read(reader).ok());
        named.min_by_key(|(region, _)| (!region.verdict.is_alive(), region.created_realtime_ns))
    }
}

/// Names as they were asked for, which may be anything.
fn quoted(names: impl IntoIterator<Item: std::fmt::Debug>) -> String {
    names.into_iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The regions in their places, as the ledger takes them.
fn in_place(found: &Views) -> Vec<InPlace> {
    let seen = found.views.iter().filter(|view| view.region.verdict != Verdict::Copy).map(|view| {
        let living = view.snapshot.clone().map(|snapshot| LedgerNow::Lives(Some(snapshot)));
        InPlace { reader: Arc::clone(&view.reader), now: living.unwrap_or(LedgerNow::Dead) }
    });
    let unreadable = found.unreadable.iter();
    let not = unreadable.map(|reader| InPlace { reader: Arc::clone(reader), now: LedgerNow::Unreadable });
    seen.chain(not).collect()
}

impl State {
    /// Logs regions that came, changed or went.
    fn log(&mut self, views: &[View]) {
        let mut verdicts = BTreeMap::new();
        for View { region, .. } in views {
            let key = (region.name.clone(), region.uuid);
            let verdict = region.verdict;
            if self.verdicts.get(&key) != Some(&verdict) {
                tracing::info!(region = %region.name, pid = region.pid, path = %region.path.display(), %verdict, "region");
            }
            verdicts.insert(key, verdict);
        }
        for (name, _) in self.verdicts.keys().filter(|key| !verdicts.contains_key(*key)) {
            tracing::info!(region = %name, "region is gone");
        }
        self.verdicts = verdicts;
    }
}

#[cfg(test)]
mod tests;
