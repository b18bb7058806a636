//! A line of regions in which each continues the one before.

/// The fail points that only a start that adopts passes, and what registers in it.
pub const ADOPTING: [&str; 6] =
    ["predecessor-read", "carried-stored", "predecessor-linked", "total-stored", "total-published", "total-marked"];
