//! What is kept between runs: one file a profile, with the login and where it is good.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use starling_client::UserId;
use starling_client::rest::{Tokens, User};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Longest name of a profile.
const NAME_BYTES_MAX: usize = 64;
/// How long to wait for another program of the same profile that renews the token.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// How often to look whether it is done.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A login as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// REST address.
    pub(crate) api: String,
    /// QUIC address.
    pub(crate) server: String,
    /// Certificates to trust.
    pub(crate) ca: Option<PathBuf>,
    /// Or one certificate.
    pub(crate) fingerprint: Option<String>,
    /// The name that the certificate is for.
    pub(crate) server_name: Option<String>,
    /// This installation.
    pub(crate) device: Uuid,
    /// Who is logged in.
    pub(crate) user: User,
    /// Their tokens.
    pub(crate) tokens: Tokens,
    /// When the access token ends, Unix time in milliseconds, by our clock.
    pub(crate) access_expires_ms: u64,
}

impl Saved {
    pub(crate) fn user_id(&self) -> UserId {
        self.user.id
    }

    /// For how long the access token is good.
    pub(crate) fn left(&self) -> Duration {
        Duration::from_millis(self.access_expires_ms.saturating_sub(now_ms()))
    }

    /// Replaces the tokens by ones that were just given.
    pub(crate) fn renew(&mut self, tokens: Tokens) {
        self.access_expires_ms = now_ms().saturating_add(tokens.expires_in.saturating_mul(1000));
        self.tokens = tokens;
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A profile on disk.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    path: PathBuf,
}

impl Profile {
    /// The profile of this name, in `$STARLING_CHAT_HOME`, else in the user's configuration folder.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        let fits = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !fits {
            return Err(Failure::Usage(format!("`{name}` is no name of a profile: letters, digits, `-`, `_`, `.`")));
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("STARLING_CHAT_HOME")
            .or_else(|| set("XDG_CONFIG_HOME").map(|folder| folder.join("starling-chat")))
            .or_else(|| set("HOME").map(|home| home.join(".config/starling-chat")))
            .ok_or_else(|| Failure::Usage("no folder for profiles: set STARLING_CHAT_HOME".into()))?;
        Ok(Self { path: folder.join(format!("{name}.json")) })
    }

    /// The login, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Saved>, Failure> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| self.broken(&format!("not readable: {error}")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    /// Keeps a login: readable by its owner only, and whole or not at all.
    pub(crate) fn save(&self, saved: &Saved) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(saved).map_err(|error| self.broken(&error.to_string()))?;
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let write = || {
            self.make_folder()?;
            let mut file = private(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(|error| self.broken(&error.to_string()))
    }

    /// Forgets the login.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.broken(&error.to_string())),
            _ => Ok(()),
        }
    }

    /// Keeps other programs of this profile from renewing the token until the file is dropped.
    pub(crate) async fn lock(&self) -> Result<File, Failure> {
        let path = self.path.with_extension("lock");
        let open = || {
            self.make_folder()?;
            private(&path)
        };
        let file = open().map_err(|error| self.broken(&error.to_string()))?;
        let deadline = tokio::time::Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Failure::Unknown("another program of this profile holds its lock".into()));
                }
                Err(fs::TryLockError::Error(error)) => return Err(self.broken(&error.to_string())),
            }
        }
    }

    fn make_folder(&self) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::Usage(format!("profile {}: {what}", self.path.display()))
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn names_of_profiles_stay_in_their_folder() {
        for wrong in ["", ".", "..", "../x", "a/b", ".hidden", "a b", &"x".repeat(65)] {
            assert!(Profile::named(wrong).is_err(), "{wrong}");
        }
    }
}
