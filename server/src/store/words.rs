//! Words: what search knows of texts, for every store alike. Plain functions, so that stores find the same.
//!
//! A text is folded (NFKD, accents dropped, case folded) and cut into words: runs of letters and digits, within the word bounds of
//! Unicode (UAX 29), which cut ideographs one by one. Opaque bodies have no words.

use super::Account;
use super::shown::Sight;
use crate::limits::{MESSAGE_WORDS_MAX, NAME_STARTS_MAX, WORD_BYTES_MAX};
use client_protocol::chat::{Body, Message, format};
use client_protocol::limits::{SEARCH_TEXT_BYTES_MAX, SEARCH_WORDS_MAX};
use client_protocol::{Event, EventBody};
use components::rows::NowRow;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// A text without case and accents: what is equal here is equal to search.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Down, up and down again: some letters (ß, final sigma) meet their equals only in capitals, and one capital (ẞ) only in small
    // letters. Changing case may bring new marks.
    let bare = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    bare.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkd().filter(|c| !is_combining_mark(*c)).collect()
}

/// The words of a folded text, in their order.
fn words_of_folded(folded: &str) -> Vec<&str> {
    // No bound of Unicode lies within a run of ASCII letters and digits.
    match folded.is_ascii() {
        true => runs(folded).collect(),
        false => folded.unicode_words().flat_map(runs).collect(),
    }
}

fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(clipped)
}

fn clipped(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES_MAX)]
}

/// The different words of a text, the first [`MESSAGE_WORDS_MAX`] of them, each cut at [`WORD_BYTES_MAX`].
#[must_use]
pub fn words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in words_of_folded(&fold(text)) {
        if found.len() == MESSAGE_WORDS_MAX {
            break;
        }
        if !found.contains(word) {
            found.insert(word.to_owned());
        }
    }
    found
}

/// The words by which a message is found; none for opaque bodies.
#[must_use]
pub fn words_of(body: &Body) -> BTreeSet<String> {
    text_of(body).map(words).unwrap_or_default()
}

/// The body that a message has now; `None` for other events, and for a message that was deleted.
#[must_use]
pub fn body_now<'a>(event: &'a Event, now: Option<&'a NowRow>) -> Option<&'a Body> {
    match (&event.body, now) {
        (EventBody::MessagePosted(_), Some(now)) if now.deleted => None,
        (EventBody::MessagePosted(posted), now) => Some(now.and_then(|now| now.body.as_ref()).unwrap_or(&posted.body)),
        _ => None,
    }
}

/// Tells each of [`words_of`], in no order, and some more than once: for those who sort them anyway.
pub fn tell_words_of(body: &Body, mut tell: impl FnMut(&str)) {
    let Some(text) = text_of(body) else { return };
    let folded = fold(text);
    let all = words_of_folded(&folded);
    if all.len() <= MESSAGE_WORDS_MAX {
        all.into_iter().for_each(tell);
    } else {
        words(text).iter().for_each(|word| tell(word));
    }
}

fn text_of(body: &Body) -> Option<&str> {
    let is_text = matches!(body.format, format::TEXT | format::MARKDOWN);
    std::str::from_utf8(&body.bytes).ok().filter(|_| is_text)
}

/// What is searched for: messages that have all of `words`, and a word that starts with `prefix` where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whole words, folded.
    pub words: BTreeSet<String>,
    /// The start of a word, folded.
    pub prefix: Option<String>,
}

/// Why a text cannot be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// Above [`SEARCH_TEXT_BYTES_MAX`].
    #[error("at most 256 bytes")]
    TooLong,
    /// Above [`SEARCH_WORDS_MAX`].
    #[error("at most 8 words")]
    TooManyWords,
    /// There is no letter and no digit in it.
    #[error("at least one word")]
    Empty,
}

const _: () = assert!(SEARCH_TEXT_BYTES_MAX == 256 && SEARCH_WORDS_MAX == 8, "the texts of WantedError say so");

impl Wanted {
    /// Reads what somebody typed: the last word is a prefix unless something that is no part of a word stands after it.
    ///
    /// # Errors
    ///
    /// [`WantedError`].
    pub fn parse(text: &str) -> Result<Self, WantedError> {
        if text.len() > SEARCH_TEXT_BYTES_MAX {
            return Err(WantedError::TooLong);
        }
        let folded = fold(text);
        let mut typed = words_of_folded(&folded);
        if typed.len() > SEARCH_WORDS_MAX {
            return Err(WantedError::TooManyWords);
        }
        let open = folded.ends_with(char::is_alphanumeric);
        let prefix = if open { typed.pop().map(str::to_owned) } else { None };
        let words: BTreeSet<String> = typed.into_iter().map(str::to_owned).collect();
        // A prefix of a word that is wanted anyway asks for nothing more.
        let prefix = prefix.filter(|prefix| !words.iter().any(|word| word.starts_with(prefix)));
        match words.is_empty() && prefix.is_none() {
            true => Err(WantedError::Empty),
            false => Ok(Self { words, prefix }),
        }
    }

    /// Whether a message with these words is one.
    #[must_use]
    pub fn matches(&self, words: &BTreeSet<String>) -> bool {
        let starts =
            |prefix: &String| words.range::<String, _>(prefix..).next().is_some_and(|word| word.starts_with(prefix));
        self.words.is_subset(words) && self.prefix.as_ref().is_none_or(starts)
    }

    /// Whether a message, as it is now, is one.
    #[must_use]
    pub fn finds(&self, message: &Message) -> bool {
        !message.deleted && self.matches(&words_of(&message.body))
    }

    /// Whether a message still has the words, if it was edited after the last event that the viewer may see.
    pub(super) fn finds_later(&self, now: Option<&NowRow>, sight: &Sight) -> bool {
        let later = now.filter(|now| now.as_of > sight.last_seq).and_then(|now| now.body.as_ref());
        later.is_none_or(|body| self.matches(&words_of(body)))
    }
}

/// A name as it is looked for: folded, blanks made one.
#[must_use]
pub fn fold_name(name: &str) -> String {
    fold(name).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names by which an account is found, each from its start on: the username, and the shown name from each of its words on (the first
/// [`NAME_STARTS_MAX`] words). None for an account that was erased.
#[must_use]
pub fn names_of(account: &Account) -> BTreeSet<String> {
    names(&account.username, &account.display_name)
}

/// See [`names_of`].
#[must_use]
pub fn names(username: &str, display_name: &str) -> BTreeSet<String> {
    let shown = fold_name(display_name);
    let starts = shown.match_indices(' ').map(|(at, _)| at + 1).take(NAME_STARTS_MAX - 1);
    let mut found: BTreeSet<String> = std::iter::once(0).chain(starts).map(|at| shown[at..].to_owned()).collect();
    found.insert(fold_name(username));
    found.remove("");
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<String> {
        words(text).into_iter().collect()
    }

    #[test]
    fn case_and_accents_make_no_difference() {
        for (one, other) in [
            ("Café", "CAFE"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("Ångström", "angstrom"),
            ("ﬁn", "FIN"),
            ("İstanbul", "istanbul"),
            ("Łódź", "łodz"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn texts_are_cut_into_runs_of_letters_and_digits() {
        assert_eq!(
            all("Don't e-mail bob@Example.com, v1.2_beta!"),
            ["2", "beta", "bob", "com", "don", "e", "example", "mail", "t", "v1"]
        );
        assert_eq!(all("東京 ⛵ tides"), ["tides", "京", "東"]);
        assert_eq!(all("⚓ ... "), Vec::<String>::new());
        assert_eq!(all(&"x".repeat(500)), ["x".repeat(WORD_BYTES_MAX)]);
        assert!(all(&"é".repeat(500))[0].len() <= WORD_BYTES_MAX);
    }

    #[test]
    fn opaque_bodies_have_no_words() {
        assert!(words_of(&Body { format: format::OPAQUE, bytes: b"plain".to_vec() }).is_empty());
        assert!(words_of(&Body { format: format::TEXT, bytes: vec![0xff, 0xfe] }).is_empty());
        assert_eq!(words_of(&Body::text("plain")).len(), 1);
    }

    #[test]
    fn the_last_word_may_be_a_start() {
        let wanted = Wanted::parse("High TID").unwrap();
        assert_eq!(
            (wanted.words.iter().cloned().collect::<Vec<_>>(), wanted.prefix.clone()),
            (vec!["high".to_owned()], Some("tid".to_owned()))
        );
        assert!(wanted.matches(&words("tides are high")) && !wanted.matches(&words("tides are highest")));
        let whole = Wanted::parse("High TID ").unwrap();
        assert!(whole.prefix.is_none() && !whole.matches(&words("tides are high")) && whole.matches(&words("tid high")));
        let same = Wanted::parse("tides tid").unwrap();
        assert_eq!(same.prefix, None);
        assert_eq!(Wanted::parse(" -- "), Err(WantedError::Empty));
        assert_eq!(Wanted::parse(&"a ".repeat(9)), Err(WantedError::TooManyWords));
        assert_eq!(Wanted::parse(&"a".repeat(257)), Err(WantedError::TooLong));
        let long = Wanted::parse(&"x".repeat(100)).unwrap();
        assert!(long.matches(&words(&"x".repeat(200))), "words are cut alike in both");
    }

    #[test]
    fn names_are_found_from_each_word() {
        let found: Vec<String> = names("ada_l", "Ada  King Lovelace").into_iter().collect();
        assert_eq!(found, ["ada king lovelace", "ada_l", "king lovelace", "lovelace"]);
        assert!(names("", "").is_empty());
    }

    #[test]
    fn folding_any_letter_twice_changes_nothing() {
        for letter in '\0'..=char::MAX {
            let once = fold(letter.encode_utf8(&mut [0; 4]));
            assert_eq!(fold(&once), once, "{letter:?}");
        }
        assert_eq!(fold("STRAẞE"), fold("straße"));
    }

    #[test]
    fn the_words_that_are_told_are_those_of_the_body() {
        let long: String = (0..MESSAGE_WORDS_MAX + 10).map(|n| format!("w{n} ")).collect();
        let opaque = Body { format: format::OPAQUE, bytes: b"plain".to_vec() };
        for body in [Body::text("Tides, high TIDES"), Body::text(""), Body::text(&long), opaque] {
            let mut told = BTreeSet::new();
            tell_words_of(&body, |word| {
                told.insert(word.to_owned());
            });
            assert_eq!(told, words_of(&body));
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn plain_texts_are_cut_as_others_are(text in "[ -~]{0,60}") {
            let folded = fold(&text);
            let unicode: Vec<&str> = folded.unicode_words().flat_map(runs).collect();
            prop_assert_eq!(words_of_folded(&folded), unicode);
        }

        #[test]
        fn a_message_has_the_words_that_it_is_searched_by(text in "\\PC{0,40}") {
            if let Ok(wanted) = Wanted::parse(&text) {
                prop_assert!(wanted.matches(&words(&text)));
            }
        }
    }
}
