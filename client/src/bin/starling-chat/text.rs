//! Text for people: times, names of numbers, and text of others made harmless.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use starling_client::protocol::presence::state;
use starling_client::protocol::room::{kind, role};

/// Text of others without what would steer the terminal: control characters (but line ends and tabs) and marks that turn the
/// direction of writing or have no width. (Joiners stay: some scripts, and emoji, need them.)
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

/// The same on one line.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

/// A time of today as `14:03:22`, others with the date, in local time.
pub(crate) fn time(unix_ms: u64) -> String {
    let Some(time) = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
        return "-".into();
    };
    let zone = TimeZone::system();
    let (time, now) = (time.to_zoned(zone.clone()), Timestamp::now().to_zoned(zone));
    let format = if time.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    time.strftime(format).to_string()
}

/// The name of a room kind.
pub(crate) const fn kind_name(number: u8) -> &'static str {
    match number {
        kind::DIRECT => "direct",
        kind::GROUP => "group",
        kind::PUBLIC => "public",
        kind::SELF => "self",
        _ => "unknown",
    }
}

/// The name of a role; an unknown one reads as the next lower known one.
pub(crate) const fn role_name(number: u8) -> &'static str {
    match number {
        role::OWNER.. => "owner",
        role::ADMIN => "admin",
        role::MODERATOR => "moderator",
        role::MEMBER => "member",
        0 => "none",
    }
}

/// The name of a state of presence.
pub(crate) const fn state_name(number: u8) -> &'static str {
    match number {
        state::ONLINE => "online",
        state::AWAY => "away",
        _ => "offline",
    }
}

/// `MessagePosted` as `message_posted`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Base64 (RFC 4648 section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}c\r\nd\te"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\nd\te");
        assert_eq!(clean("evil\u{202e}txt.exe"), "eviltxt.exe");
        assert_eq!(clean_line("a\nb\tc"), "a b c");
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn names_of_events_are_snake_case() {
        assert_eq!(snake_case("MessagePosted"), "message_posted");
    }
}
