//! Blocks: the words of [`WORD_BLOCK_MESSAGES`] messages that follow each other, as one row; for every store alike. Plain data.
//!
//! A row is a list of words in their order, each as its length (u8), its bytes, the number of messages that have it (u8), and the place of
//! each of those in the block (u8), ascending.

use crate::limits::{WORD_BLOCK_MESSAGES, WORD_BLOCK_TEXT_BYTES_MAX, WORD_BYTES_MAX};
use crate::store::StoreError;
use crate::store::words::Wanted;

/// Messages of a block: bit n is the message at place n.
pub(super) type Places = u128;

const _: () = assert!(WORD_BLOCK_MESSAGES == Places::BITS as u64);
const _: () = assert!(WORD_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(WORD_BLOCK_TEXT_BYTES_MAX <= u32::MAX as usize);

/// The block that a message stands in, and its place there.
pub(super) const fn place_of(message_no: u64) -> (u64, u8) {
    let before = message_no.saturating_sub(1);
    (before / WORD_BLOCK_MESSAGES, (before % WORD_BLOCK_MESSAGES) as u8)
}

/// The number of the first message of a block.
pub(super) const fn first_of(block: u64) -> u64 {
    block * WORD_BLOCK_MESSAGES + 1
}

/// How many blocks of a log with so many messages are complete: these are indexed.
pub(super) const fn complete(messages: u64) -> u64 {
    messages / WORD_BLOCK_MESSAGES
}

/// The block that this message completes.
pub(super) fn completed_by(message_no: u64) -> Option<u64> {
    (message_no > 0 && message_no.is_multiple_of(WORD_BLOCK_MESSAGES)).then(|| complete(message_no) - 1)
}

/// A word, and the places of the messages that have it.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of a row.
fn entries(row: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, StoreError>> {
    let mut rest = row;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let mut part = || {
                let (&length, after) = rest.split_first()?;
                let (part, after) = after.split_at_checked(length.into())?;
                rest = after;
                Some(part)
            };
            let entry = part().zip(part());
            entry.ok_or_else(|| {
                rest = &[];
                StoreError::Corrupt("a block of words is cut off".to_owned())
            })
        })
    })
}

/// The messages of a block that have all words that are wanted.
pub(super) fn find(row: &[u8], wanted: &Wanted) -> Result<Places, StoreError> {
    let mut found = Places::MAX;
    let mut starting = if wanted.prefix.is_none() { Places::MAX } else { 0 };
    let mut words = wanted.words.iter().map(String::as_bytes).peekable();
    for entry in entries(row) {
        let (word, places) = entry?;
        // Both lists are in order: a wanted word that was passed is in no message.
        if words.peek().is_some_and(|wanted| *wanted < word) {
            return Ok(0);
        }
        let places = || places.iter().fold(0, |all, &place| all | Places::from(1_u8).checked_shl(place.into()).unwrap_or(0));
        if words.next_if_eq(&word).is_some() {
            found &= places();
        }
        if wanted.prefix.as_ref().is_some_and(|prefix| word.starts_with(prefix.as_bytes())) {
            starting |= places();
        }
    }
    Ok(if words.peek().is_none() { found & starting } else { 0 })
}

/// Gathers the words of a block.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    text: Vec<u8>,
    /// Where each word stands in `text`.
    words: Vec<WordAt>,
    too_much: bool,
}

/// A word of a message. Ordered as words are, by its first bytes where these tell.
#[derive(Debug, Clone, Copy)]
struct WordAt {
    start_bytes: u64,
    at: u32,
    length: u8,
    place: u8,
}

impl Gathered {
    /// Takes a word of the message at `place`; it may have come before.
    pub(super) fn push(&mut self, place: u8, word: &str) {
        self.too_much |= self.text.len() + word.len() > WORD_BLOCK_TEXT_BYTES_MAX;
        if self.too_much {
            return;
        }
        let mut start = [0; 8];
        let shared = word.len().min(start.len());
        start[..shared].copy_from_slice(&word.as_bytes()[..shared]);
        let (at, length) = (self.text.len() as u32, word.len() as u8);
        self.text.extend_from_slice(word.as_bytes());
        self.words.push(WordAt { start_bytes: u64::from_be_bytes(start), at, length, place });
    }

    fn word(&self, word: &WordAt) -> &[u8] {
        &self.text[word.at as usize..][..word.length.into()]
    }

    /// As a row; `None` where there is so much text that a search reads the messages instead.
    pub(super) fn encode(mut self) -> Option<Vec<u8>> {
        if self.too_much {
            return None;
        }
        let mut words = std::mem::take(&mut self.words);
        words.sort_unstable_by(|one, other| {
            let starts = one.start_bytes.cmp(&other.start_bytes);
            starts.then_with(|| self.word(one).cmp(self.word(other))).then(one.place.cmp(&other.place))
        });
        let mut row = Vec::with_capacity(self.text.len());
        for same in words.chunk_by(|one, other| one.start_bytes == other.start_bytes && self.word(one) == self.word(other)) {
            let word = self.word(&same[0]);
            row.push(word.len() as u8);
            row.extend_from_slice(word);
            let count_at = row.len();
            row.push(0);
            let places = same.chunk_by(|one, other| one.place == other.place).map(|same| same[0].place);
            row.extend(places);
            row[count_at] = (row.len() - count_at - 1) as u8;
        }
        Some(row)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::words::words;
    use proptest::prelude::*;

    fn row_of(texts: &[String]) -> Vec<u8> {
        let mut gathered = Gathered::default();
        for (text, place) in texts.iter().zip(0..) {
            text.split_whitespace().for_each(|word| gathered.push(place, word));
        }
        gathered.encode().unwrap()
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        // Few letters, so that words are shared and start alike.
        proptest::collection::vec("([ab]{1,11} ?){0,6}", 0..=WORD_BLOCK_MESSAGES as usize)
    }

    #[test]
    fn messages_stand_in_blocks() {
        assert_eq!([place_of(1), place_of(128), place_of(129)], [(0, 0), (0, 127), (1, 0)]);
        assert_eq!([first_of(0), first_of(1)], [1, 129]);
        assert_eq!(
            [completed_by(0), completed_by(127), completed_by(128), completed_by(256)],
            [None, None, Some(0), Some(1)]
        );
        assert_eq!([complete(127), complete(128), complete(300)], [0, 1, 2]);
    }

    #[test]
    fn a_row_that_is_cut_off_is_an_error() {
        let row = row_of(&["tides are high".to_owned()]);
        let wanted = Wanted::parse("z ").unwrap();
        assert_eq!(find(&row, &wanted).unwrap(), 0);
        assert!(find(&row[..row.len() - 1], &wanted).is_err());
        assert!(find(&[3, b'a'], &wanted).is_err());
    }

    #[test]
    fn a_block_of_much_text_has_no_row() {
        let mut gathered = Gathered::default();
        for n in 0..=WORD_BLOCK_TEXT_BYTES_MAX / 8 {
            gathered.push((n % 128) as u8, &format!("{n:08}"));
        }
        assert_eq!(gathered.encode(), None);
    }

    proptest! {
        #[test]
        fn a_block_finds_what_comparing_each_message_finds(texts in texts(), wanted in "([ab]{1,11} ?){1,3}") {
            let wanted = Wanted::parse(&wanted).unwrap();
            let row = row_of(&texts);
            let found = find(&row, &wanted).unwrap();
            for (text, place) in texts.iter().zip(0..) {
                prop_assert_eq!(found >> place & 1 == 1, wanted.matches(&words(text)), "{:?} in {:?}", wanted, text);
            }
        }
    }
}
