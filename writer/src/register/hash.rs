//! The hash of a label block that stands in its series' record, and what it is made of.
//!
//! Called by the registry and by open families. Readers check it (docs/LAYOUT.md), so it may never change.

/// The hash of a label block that stands in its series' record.
pub(crate) fn label_hash(block: &str) -> u64 {
    fnv1a(FNV_START, block)
}

/// FNV-1a, 64 bits, going on from a hash (at first [`FNV_START`]).
pub(super) fn fnv1a(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
