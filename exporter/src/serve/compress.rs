//! Whether and how bodies are compressed: gzip only, which is all that Prometheus asks for.
//!
//! Compressing costs more than rendering does, so that it pays only where the network is slower than that: a
//! peer on this machine gets plain bytes unless the operator says otherwise.

use std::io::Write as _;

use super::listen::Peer;

/// When a body is compressed for who takes gzip.
///
/// ```
/// use tachograph_exporter::serve::Compression;
/// assert_eq!(Compression::default(), Compression::Auto);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// For peers on other machines.
    #[default]
    Auto,
    /// For all.
    Always,
    /// For none.
    Never,
}

impl Compression {
    pub(super) const fn applies(self, peer: Peer) -> bool {
        match self {
            Self::Auto => matches!(peer, Peer::Remote),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// What `write` hands over piece by piece, as one gzip member, at a level of 1 (fast) to 9 (small); and what `write` says.
pub(super) fn gzip<T>(level: u32, write: impl FnOnce(&mut dyn FnMut(&[u8])) -> T) -> (Vec<u8>, T) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    let said = write(&mut |piece| {
        // Writing into memory does not fail.
        let _ = encoder.write_all(piece);
    });
    (encoder.finish().unwrap_or_default(), said)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_compressed_reads_back_and_is_smaller() {
        let body = "app_requests_total{method=\"GET\"} 7\n".repeat(5_000);
        for level in [1, 6, 9] {
            let (small, ()) = gzip(level, |take| body.as_bytes().chunks(999).for_each(take));
            assert!(small.len() * 10 < body.len(), "level {level}: {}", small.len());
            let mut back = String::new();
            flate2::read::GzDecoder::new(small.as_slice()).read_to_string(&mut back).expect("gzip");
            assert!(back == body);
        }
    }

    #[test]
    fn a_peer_on_this_machine_gets_plain_bytes() {
        assert!(Compression::Auto.applies(Peer::Remote) && !Compression::Auto.applies(Peer::Local));
        assert!(Compression::Always.applies(Peer::Local) && !Compression::Never.applies(Peer::Remote));
    }
}
