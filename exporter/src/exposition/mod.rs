//! What a scraper gets: one snapshot of all regions in the format and the selection that it asked for.
//!
//! Called by the server and by `tacho show`. All formats render from the same plan and the same snapshots, so they agree
//! by construction; a render allocates nothing a series, but for JSON, which is for people.

pub(crate) mod body;
mod json;
#[cfg(feature = "collector")]
pub(crate) mod model;
mod openmetrics;
pub(crate) mod protobuf;
mod samples;
mod selection;
mod text;

use crate::plan::{Plan, Source};

use body::{Body, Turn, blank};

pub(crate) use body::Page;

pub use selection::Selection;

/// A format of exposition.
///
/// ```
/// use tachograph_exporter::exposition::Format;
/// assert_eq!(Format::default().content_type(), "text/plain; version=0.0.4; charset=utf-8");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
    /// Delimited protobuf messages `io.prometheus.client.MetricFamily`, with native histograms and created timestamps.
    Protobuf,
    /// JSON of our own, described in `docs/OPERATIONS.md`.
    Json,
}

impl Format {
    /// The Content-Type of a body in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::Json => "application/json",
        }
    }
}

/// What is to be rendered, and how. Two that are equal give the same bytes of the same snapshots.
///
/// The example of [`Plan`] shows it at work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Exposition {
    /// In which format.
    pub format: Format,
    /// OpenMetrics: whether counters and histograms get a `_created` line, which a scraper may store as one more series
    /// each. Protobuf always says when they were created, where nothing is stored for it.
    pub created: bool,
    /// Which families of which regions.
    pub selection: Selection,
}

impl Exposition {
    /// Everything, in this format.
    ///
    /// ```
    /// use tachograph_exporter::exposition::{Exposition, Format};
    /// let all = Exposition::new(Format::OpenMetrics);
    /// assert!(!all.created && all.selection.is_all());
    /// ```
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Renders the sources by a plan that fits them and appends the body. By a plan that does not ([`Plan::fits`]) the
    /// numbers would be those of other series, so it then appends nothing and returns false.
    ///
    /// The example of [`Plan`] shows it at work.
    pub fn render(&self, plan: &Plan, sources: &[Source], out: &mut Vec<u8>) -> bool {
        self.render_pieces(plan, sources, &mut |piece| out.extend_from_slice(piece))
    }

    /// The same, where `take` gets the body piece by piece, some KiB at a time.
    ///
    /// ```
    /// use tachograph_exporter::exposition::{Exposition, Format};
    /// use tachograph_exporter::plan::{Options, Plan};
    /// let plan = Plan::new(&[], &Options::default())?;
    /// let mut length = 0;
    /// assert!(Exposition::new(Format::OpenMetrics).render_pieces(&plan, &[], &mut |piece| length += piece.len()));
    /// assert_eq!(length, "# EOF\n".len());
    /// # Ok::<(), tachograph_exporter::plan::PlanError>(())
    /// ```
    pub fn render_pieces(&self, plan: &Plan, sources: &[Source], take: &mut dyn FnMut(&[u8])) -> bool {
        let last = self.write(plan, sources, blank(), &mut |page, len| take(page.get(..len).unwrap_or_default()));
        last.as_ref()
            .and_then(|(page, len)| page.get(..*len))
            .filter(|last| !last.is_empty())
            .into_iter()
            .for_each(take);
        last.is_some()
    }

    /// The same, begun on this page; `turn` may take each full page, and leave another. Gives the last page, and how much is on
    /// it; `None` where the plan does not fit.
    pub(crate) fn write(
        &self,
        plan: &Plan,
        sources: &[Source],
        page: Box<Page>,
        turn: &mut Turn<'_>,
    ) -> Option<(Box<Page>, usize)> {
        if !plan.fits(sources) {
            return None;
        }
        let mut body = Body::new(page, turn);
        match self.format {
            Format::Text => text::render(plan, sources, &self.selection, &mut body),
            Format::OpenMetrics => openmetrics::render(plan, sources, &self.selection, self.created, &mut body),
            Format::Protobuf => protobuf::render(plan, sources, &self.selection, &mut body),
            Format::Json => json::render(plan, sources, &self.selection, &mut body),
        }
        Some(body.finish())
    }
}
