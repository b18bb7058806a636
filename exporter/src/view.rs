//! Regions as one scrape sees them: facts about each that was found, with its values where its writer lives.
//!
//! Called once a scrape, by the server and by the collector, on what a scan found. Nothing here fails as a whole: what can't
//! be read is a problem, and a dead region has facts and no values.

use std::collections::HashSet;
use std::sync::Arc;

use crate::listing::chain;
use crate::plan::Source;
use crate::region_metrics::Seen;
use crate::{Problem, ReadError, RegionInfo, RegionReader, Scan, Snapshot};

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Views {
    pub(crate) views: Vec<View>,
    pub(crate) unreadable: Vec<Arc<RegionReader>>,
    pub(crate) problems: Vec<Problem>,
}

/// A region as a scrape sees it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) reader: Arc<RegionReader>,
    pub(crate) region: RegionInfo,
    /// Of a living region.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
}

impl Views {
    /// Looks at all of them.
    pub(crate) fn of(scan: Scan) -> Self {
        let Scan { regions, mut problems } = scan;
        let (mut views, mut unreadable) = (Vec::new(), Vec::new());
        for reader in regions {
            match view(&reader) {
                Ok((region, snapshot)) => views.push(View { reader, region, snapshot: snapshot.map(Arc::new) }),
                Err(error) => {
                    problems.push(Problem { path: reader.path().to_owned(), error: chain(&error) });
                    unreadable.push(reader);
                }
            }
        }
        Self { views, unreadable, problems }
    }

    /// Where two directories hold a region of one name, the living one stays, and of two living ones the older. Gives what is
    /// wrong with the others where series stand by the names of their regions: they could not be told apart.
    pub(crate) fn keep_one_of_each_name(&mut self) -> Vec<Problem> {
        let mut left_out = Vec::new();
        self.views.sort_by_key(|view| (view.snapshot.is_none(), view.region.created_realtime_ns));
        let mut kept: Vec<View> = Vec::new();
        for view in self.views.drain(..) {
            if let Some(stands) = kept.iter().find(|kept| kept.region.name == view.region.name) {
                let stands = stands.region.path.display();
                let error = format!("left out: {stands} is a region of that name, too; give one of them another name");
                left_out.push(Problem { path: view.region.path, error });
            } else {
                kept.push(view);
            }
        }
        kept.sort_by(|a, b| a.region.name.cmp(&b.region.name));
        self.views = kept;
        left_out
    }

    /// What is said about each region.
    pub(crate) fn seen(&self) -> Vec<Seen<'_>> {
        self.views.iter().map(View::seen).collect()
    }

    /// Names of which there is a file that can't be read, and none that can.
    pub(crate) fn unreadable_names(&self) -> Vec<&str> {
        let named: HashSet<&str> = self.views.iter().map(|view| view.region.name.as_str()).collect();
        self.unreadable.iter().map(|reader| reader.name()).filter(|name| !named.contains(name)).collect()
    }

    /// The living, to be rendered.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.views.iter().filter_map(|view| view.snapshot.clone()).map(Source::region)
    }

    /// Gives the snapshots' buffers back to their readers, as far as nobody else holds them.
    pub(crate) fn recycle(self) {
        for View { reader, snapshot, .. } in self.views {
            if let Some(snapshot) = snapshot.and_then(Arc::into_inner) {
                reader.recycle(snapshot);
            }
        }
    }
}

impl View {
    fn seen(&self) -> Seen<'_> {
        let damaged = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.schema.damaged_count());
        Seen { region: &self.region, damaged }
    }
}

/// Facts about a region, with its values where its writer lives.
fn view(reader: &RegionReader) -> Result<(RegionInfo, Option<Snapshot>), ReadError> {
    if reader.verdict()?.is_alive() {
        let snapshot = reader.snapshot()?;
        // It may have died in between.
        if snapshot.region.verdict.is_alive() {
            return Ok((snapshot.region.clone(), Some(snapshot)));
        }
    }
    Ok((reader.info()?, None))
}
