//! Infos: facts that do not change, told as labels. They own no cell.

use tachograph_layout::{Kind, Number, WriterMap};

use crate::Desc;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;

/// Proof that an info is registered: its labels are the information, its value is always 1, and there is nothing to
/// write. Made by [`crate::Region::info`]; the name ends in `_info`.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let labels = [("version", env!("CARGO_PKG_VERSION")), ("profile", "release")];
/// let _build = region.info("app_build_info", "What was built, and how", &labels)?;
/// // app_build_info{version="0.1.0",profile="release"} 1
/// assert!(region.info("app_build", "No suffix", &labels).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Info(());

impl Handle for Info {
    const KIND: Kind = Kind::Info;
    const NUMBER: Number = Number::U64;
    type Block = ();

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 0)
    }

    fn block(_: &'static WriterMap, _: Place) -> Option<Self::Block> {
        Some(())
    }

    #[inline]
    fn pick((): Self::Block, _: usize) -> Self {
        Self(())
    }
}
