//! What the fuzz targets run: region files packed small ([`packed`]), changed where it matters ([`mutate`]), and read
//! by everything that reads a region ([`reading`]).
//!
//! The exporter's test `fuzz_replay` includes these three files, so that seeds and past findings are read by the stable
//! compiler at each run of the tests.

pub mod mutate;
pub mod packed;
pub mod reading;
