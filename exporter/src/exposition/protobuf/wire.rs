//! Messages of protobuf: fields, lengths, numbers.
//!
//! Called by all that makes messages. It knows no metric.

use prost::encoding::{encode_varint, encoded_len_varint};

// A field's number and wire type, as one byte.
pub(super) const fn varint(field: u8) -> u8 {
    field << 3
}

pub(super) const fn fixed64(field: u8) -> u8 {
    field << 3 | 1
}

pub(super) const fn bytes(field: u8) -> u8 {
    field << 3 | 2
}

/// Numbers of the fields that stand in more than one place.
pub(super) const LABEL: u8 = 1;
pub(super) const VALUE: u8 = 1;

pub(super) fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(bytes(LABEL));
    message(out, |out| {
        text(out, 1, name);
        text(out, 2, value);
    });
}

/// A string field; an empty one is left out.
pub(super) fn text(out: &mut Vec<u8>, field: u8, text: &str) {
    if !text.is_empty() {
        out.push(bytes(field));
        encode_varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

pub(super) fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(fixed64(field));
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub(super) fn number(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    encode_varint(value, out);
}

pub(super) const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Appends a message behind its length, for which one byte is kept free: most messages are short. Where that was not
/// enough the message is moved up, once.
pub(super) fn message(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let place = out.len();
    out.push(0);
    write(out);
    let len = out.len() - place - 1;
    let more = encoded_len_varint(len as u64) - 1;
    if more > 0 {
        let end = out.len();
        out.resize(end + more, 0);
        out.copy_within(place + 1..end, place + 1 + more);
    }
    let mut prefix = out.get_mut(place..=place + more).unwrap_or_default();
    encode_varint(len as u64, &mut prefix);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_stands_behind_its_length() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let mut out = b"before".to_vec();
            message(&mut out, |out| out.extend(std::iter::repeat_n(7, len)));
            let mut rest = &out[6..];
            assert_eq!(prost::encoding::decode_varint(&mut rest).expect("a length"), len as u64);
            assert_eq!((rest.len(), rest.iter().all(|byte| *byte == 7)), (len, true));
        }
    }
}
