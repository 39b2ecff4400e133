//! What the fields of an account may be, and the form in which they are stored. Plain functions on text.

use super::AuthError;
use crate::limits::{
    AVATAR_URL_BYTES_MAX, BIO_CHARS_MAX, DISPLAY_NAME_CHARS_MAX, EMAIL_BYTES_MAX, LOGIN_LABEL_CHARS_MAX, PASSWORD_BYTES_MAX,
    PASSWORD_BYTES_MIN, USERNAME_CHARS_MAX, USERNAME_CHARS_MIN,
};

fn invalid(field: &'static str, allowed: impl Into<String>) -> AuthError {
    AuthError::InvalidField { field, allowed: allowed.into() }
}

/// A username as it is stored: folded to lower case.
///
/// # Errors
///
/// [`AuthError::InvalidField`] where it is not 3 to 32 of `a-z 0-9 . _ -`, beginning with a letter or digit.
pub fn username(text: &str) -> Result<String, AuthError> {
    let name = text.trim().to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let good = (USERNAME_CHARS_MIN..=USERNAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if good {
        return Ok(name);
    }
    let range = format!("{USERNAME_CHARS_MIN} to {USERNAME_CHARS_MAX}");
    Err(invalid("username", format!("{range} of a-z 0-9 . _ -, beginning with a letter or digit")))
}

/// An e-mail address as it is stored: folded to lower case. Whether mail arrives there is not known.
///
/// # Errors
///
/// [`AuthError::InvalidField`] where it cannot be one.
pub fn email(text: &str) -> Result<String, AuthError> {
    let email = text.trim().to_lowercase();
    let plain = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    let good = email.len() <= EMAIL_BYTES_MAX
        && email.rsplit_once('@').is_some_and(|(local, domain)| {
            plain(local) && local.len() <= 64 && plain(domain) && !domain.starts_with('.') && !domain.ends_with('.')
        });
    if good {
        return Ok(email);
    }
    Err(invalid("email", format!("an e-mail address of at most {EMAIL_BYTES_MAX} bytes")))
}

/// What is typed to log in, folded: a username or an e-mail address. `None` where no account can have it.
#[must_use]
pub fn login_name(text: &str) -> Option<String> {
    if text.contains('@') { email(text).ok() } else { username(text).ok() }
}

/// Checks a new password.
///
/// # Errors
///
/// [`AuthError::InvalidField`] outside 8 to 256 bytes.
pub fn password(text: &str) -> Result<(), AuthError> {
    if (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(invalid("password", format!("{PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")))
}

fn line(field: &'static str, text: &str, chars: usize) -> Result<String, AuthError> {
    let text = text.trim();
    if text.chars().count() <= chars && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(invalid(field, format!("at most {chars} characters, no control characters")))
}

/// A shown name, trimmed.
///
/// # Errors
///
/// [`AuthError::InvalidField`] where it is empty, above 64 characters or has control characters.
pub fn display_name(text: &str) -> Result<String, AuthError> {
    match line("display_name", text, DISPLAY_NAME_CHARS_MAX)? {
        name if name.is_empty() => Err(invalid("display_name", "not empty")),
        name => Ok(name),
    }
}

/// A line about oneself, trimmed.
///
/// # Errors
///
/// [`AuthError::InvalidField`] above 512 characters, and for control characters.
pub fn bio(text: &str) -> Result<String, AuthError> {
    line("bio", text, BIO_CHARS_MAX)
}

/// What a client calls itself, trimmed.
///
/// # Errors
///
/// [`AuthError::InvalidField`] above 64 characters, and for control characters.
pub fn label(text: &str) -> Result<String, AuthError> {
    line("label", text, LOGIN_LABEL_CHARS_MAX)
}

/// Where a picture is: empty, or an http or https address.
///
/// # Errors
///
/// [`AuthError::InvalidField`] for other schemes (a `javascript:` address in a profile is an attack on its readers), white space and
/// more than 1,024 bytes.
pub fn avatar_url(text: &str) -> Result<String, AuthError> {
    let url = text.trim();
    let web = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty());
    if url.is_empty()
        || (web && url.len() <= AVATAR_URL_BYTES_MAX && !url.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        return Ok(url.to_owned());
    }
    Err(invalid("avatar_url", format!("empty, or an http(s) address of at most {AVATAR_URL_BYTES_MAX} bytes")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_folded_and_bounded() {
        assert_eq!(username(" Ada.L-1 ").unwrap(), "ada.l-1");
        for bad in ["ab", "-ada", ".ada", "ada lovelace", "ädä", "a@b", &"a".repeat(33)] {
            assert!(username(bad).is_err(), "{bad}");
        }
        assert_eq!(email("Ada@Example.ORG").unwrap(), "ada@example.org");
        for bad in ["ada", "@example.org", "ada@", "a b@c.d", "a@b@c", "a@.b", "a@b.", &format!("a@{}", "b".repeat(260))] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert_eq!(login_name("Ada").unwrap(), "ada");
        assert_eq!(login_name("Ada@x.y").unwrap(), "ada@x.y");
        assert!(login_name("no such").is_none());
    }

    #[test]
    fn texts_are_bounded() {
        assert!(password("1234567").is_err());
        assert!(password(&"x".repeat(257)).is_err());
        assert!(password("12345678").is_ok());
        assert_eq!(display_name("  Ada ").unwrap(), "Ada");
        assert!(display_name(" ").is_err());
        assert!(display_name("a\u{7}b").is_err());
        assert!(display_name(&"ä".repeat(64)).is_ok());
        assert!(display_name(&"ä".repeat(65)).is_err());
        assert!(avatar_url("javascript:alert(1)").is_err());
        assert!(avatar_url("https://example.org/a.png").is_ok());
        assert!(avatar_url("").is_ok());
        assert!(bio(&"b".repeat(513)).is_err());
    }
}
