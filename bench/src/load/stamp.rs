//! What a message says: when it was due. The rest is filling.

/// Bytes of the due time at the front of a body.
pub const STAMP_BYTES: usize = 16;

/// A body of `bytes` bytes of ASCII that says when it was due; at least [`STAMP_BYTES`].
#[must_use]
pub fn body(due_ns: u64, bytes: u32) -> Vec<u8> {
    let mut body = format!("{due_ns:016x}").into_bytes();
    body.resize(STAMP_BYTES.max(bytes as usize), b'.');
    body
}

/// When a message with this body was due; `None` for a body that this process did not make.
#[must_use]
pub fn due_ns(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body.get(..STAMP_BYTES)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_when_it_was_due() {
        for due in [0, 1, 123_456_789_012, u64::MAX] {
            let body = body(due, 128);
            assert_eq!((body.len(), due_ns(&body)), (128, Some(due)));
        }
        assert_eq!(due_ns(b"short"), None);
        assert_eq!(due_ns(b"not hexadecimal at all"), None);
    }
}
