//! What goes over REST, as docs/rest.md describes it.

use client_protocol::{RoomId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user, as everybody may see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    #[serde(with = "as_uuid")]
    pub id: UserId,
    /// The name that they log in with; unique.
    pub username: String,
    /// The name that is shown; may be empty.
    #[serde(default, deserialize_with = "or_empty")]
    pub display_name: String,
    /// About them.
    #[serde(default, deserialize_with = "or_empty")]
    pub bio: String,
    /// Their picture.
    #[serde(default, deserialize_with = "or_empty")]
    pub avatar_url: String,
    /// When the account was made, Unix time in milliseconds.
    #[serde(default)]
    pub created_ms: u64,
}

/// One's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// What everybody may see.
    #[serde(flatten)]
    pub user: User,
    /// E-mail address.
    #[serde(default)]
    pub email: String,
}

/// The tokens of a login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Proves who one is, for minutes.
    pub access_token: String,
    /// How long the access token is good for, in seconds from when it was given.
    pub expires_in: u64,
    /// Buys the next pair, once.
    pub refresh_token: String,
    /// The login.
    pub session_id: Uuid,
}

// Tokens do not belong into logs.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The login that the tokens belong to.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        SessionId(self.session_id)
    }
}

/// A user and the tokens of the login just made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// The tokens.
    pub tokens: Tokens,
}

/// A new account.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The name to log in with.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// The password.
    pub password: String,
    /// The name to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// A login.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Username or e-mail address.
    pub login: String,
    /// The password.
    pub password: String,
    /// What the login is called in the list of one's logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Login {
    /// A login without a label.
    #[must_use]
    pub fn new(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: login.into(), password: password.into(), label: None }
    }
}

/// Changes to one's own profile; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProfileChange {
    /// The name that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// About oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// One's picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// A public room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRoom {
    /// The id.
    pub id: Uuid,
    /// Its name.
    #[serde(default, deserialize_with = "or_empty")]
    pub name: String,
    /// Its topic.
    #[serde(default, deserialize_with = "or_empty")]
    pub topic: String,
    /// Number of members.
    #[serde(default)]
    pub members: u64,
    /// When it was made, Unix time in milliseconds.
    #[serde(default)]
    pub created_ms: u64,
}

impl PublicRoom {
    /// The id as the session knows it.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        RoomId(self.id)
    }
}

/// A page of public rooms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublicRooms {
    /// The rooms.
    pub rooms: Vec<PublicRoom>,
    /// There are more: ask for those after the last one.
    pub more: bool,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

mod as_uuid {
    use client_protocol::UserId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &UserId, serializer: S) -> Result<S::Ok, S::Error> {
        id.0.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserId, D::Error> {
        Uuid::deserialize(deserializer).map(UserId)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::User;

    #[test]
    fn missing_and_null_fields_read_as_empty() {
        let text = r#"{"id":"018f0000-0000-7000-8000-000000000001","username":"alice","display_name":null}"#;
        let user: User = serde_json::from_str(text).unwrap();
        assert_eq!((user.username.as_str(), user.display_name.as_str(), user.bio.as_str()), ("alice", "", ""));
    }
}
