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

/// The body as one gzip member, at a level of 1 (fast) to 9 (small).
pub(super) fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    // A tenth is what exposition text comes down to.
    let out = Vec::with_capacity(body.len() / 8);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
    // Writing into memory does not fail.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_compressed_reads_back_and_is_smaller() {
        let body = "app_requests_total{method=\"GET\"} 7\n".repeat(5_000);
        for level in [1, 6, 9] {
            let small = gzip(body.as_bytes(), level);
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
