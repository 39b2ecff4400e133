//! What a message says: when it was due. The rest is text, since a server that indexes words has more to do with it than with filling.

/// Bytes of the due time at the front of a body.
pub const STAMP_BYTES: usize = 16;

const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
const VOWELS: &[u8; 5] = b"aeiou";

/// A body of `bytes` bytes of ASCII that says when it was due; at least [`STAMP_BYTES`].
///
/// The text is made of 8,420 words, of which each third of what is said are the 20 shortest, the 400 next, and the rest: about as words of
/// a language are spread, at five letters a word with its blank. 128 bytes are some twenty different words.
#[must_use]
pub fn body(due_ns: u64, bytes: u32) -> Vec<u8> {
    let length = STAMP_BYTES.max(bytes as usize);
    let mut body = format!("{due_ns:016x}").into_bytes();
    let mut random = due_ns;
    while body.len() < length {
        random = scrambled(random);
        let syllables = 1 + (random >> 60) % 3;
        body.push(b' ');
        for n in 0..syllables {
            let digit = (random >> (8 * n)) % 20;
            body.push(CONSONANTS[digit as usize]);
            body.push(VOWELS[((digit * 3 + n) % 5) as usize]);
        }
    }
    body.truncate(length);
    body
}

/// The next number of a sequence without a pattern: SplitMix64.
fn scrambled(n: u64) -> u64 {
    let mut n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// When a message with this body was due; `None` for a body that this process did not make.
#[must_use]
pub fn due_ns(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body.get(..STAMP_BYTES)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_says_when_it_was_due() {
        for due in [0, 1, 123_456_789_012, u64::MAX] {
            let body = body(due, 128);
            assert_eq!((body.len(), due_ns(&body)), (128, Some(due)));
        }
        assert_eq!(body(7, 0).len(), STAMP_BYTES);
        assert_eq!(due_ns(b"short"), None);
        assert_eq!(due_ns(b"not hexadecimal at all"), None);
    }

    #[test]
    fn a_body_is_text() {
        let bodies: Vec<Vec<u8>> = (0..1_000).map(|due| body(due, 128)).collect();
        let words = |body: &[u8]| -> std::collections::BTreeSet<String> {
            String::from_utf8(body[STAMP_BYTES..].to_vec()).unwrap().split_whitespace().map(str::to_owned).collect()
        };
        let of_one = bodies.iter().map(|body| words(body).len()).sum::<usize>() / bodies.len();
        assert!((15..25).contains(&of_one), "{of_one} different words in a body");
        let of_all = bodies.iter().flat_map(|body| words(body)).collect::<std::collections::BTreeSet<_>>().len();
        assert!((2_000..10_000).contains(&of_all), "{of_all} different words in all");
        assert_eq!(body(5, 128), body(5, 128));
    }
}
