//! What commands share: options, the login, and how rooms and users are named.

use crate::args::Options;
use crate::failure::Failure;
use crate::names::Names;
use crate::output::Output;
use crate::profile::{Profile, Saved};
use crate::text::{clean_line, kind_name};
use crate::tokens::ProfileTokens;
use starling_client::limits::REST_TIMEOUT;
use starling_client::protocol::room::RoomEntry;
use starling_client::rest::Rest;
use starling_client::{Client, DeviceId, NewRoom, RoomId, Trust, UserId};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Where the server is if nothing says otherwise.
const SERVER: &str = "127.0.0.1:4433";
/// Where its REST interface is.
const API: &str = "http://127.0.0.1:8080";
/// Its certificate, where a server that was started here puts it.
const CA: &str = "data/cert.pem";
/// Someone may be looking on, so a server that went away is to be noticed soon.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Time for the first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

/// Options and places.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) out: Output,
    pub(crate) profile: Profile,
}

/// Where a server is and whom to trust.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) api: String,
    pub(crate) server: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) server_name: Option<String>,
}

impl Context {
    pub(crate) fn new(options: Options) -> Result<Self, Failure> {
        let out = Output::new(options.json);
        let profile = Profile::named(&options.profile)?;
        Ok(Self { options, out, profile })
    }

    /// The server: as the options say, else as kept with the login, else the usual one.
    pub(crate) fn place(&self, saved: Option<&Saved>) -> Place {
        let options = &self.options;
        let pick = |given: &Option<String>, kept: Option<String>, usual: &str| {
            given.clone().or(kept).unwrap_or_else(|| usual.to_owned())
        };
        let trusted = options.ca.is_some() || options.fingerprint.is_some();
        let kept = saved.filter(|_| !trusted);
        // A file that is named is kept by its full path, so that the login works from other folders too.
        let ca = options.ca.clone().or_else(|| kept.and_then(|saved| saved.ca.clone()));
        let fingerprint = options.fingerprint.clone().or_else(|| kept.and_then(|saved| saved.fingerprint.clone()));
        let usual = || Some(PathBuf::from(CA)).filter(|path| path.exists());
        let ca = if fingerprint.is_some() { ca } else { ca.or_else(usual) };
        Place {
            api: pick(&options.api, saved.map(|saved| saved.api.clone()), API),
            server: pick(&options.server, saved.map(|saved| saved.server.clone()), SERVER),
            ca: ca.map(|path| std::fs::canonicalize(&path).unwrap_or(path)),
            fingerprint,
            server_name: options.server_name.clone().or_else(|| saved.and_then(|saved| saved.server_name.clone())),
        }
    }

    /// REST without a login.
    pub(crate) fn rest(&self, saved: Option<&Saved>) -> Result<Rest, Failure> {
        let place = self.place(saved);
        let pem = match &place.ca {
            Some(path) if place.api.starts_with("https:") => {
                std::fs::read(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?
            }
            _ => Vec::new(),
        };
        let rest = Rest::with_certificates(&place.api, &pem).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(rest.with_timeout(REST_TIMEOUT.min(self.timeout())))
    }

    /// How long a request may take, connecting included.
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.options.timeout)
    }

    /// The login.
    pub(crate) fn session(&self) -> Result<Session<'_>, Failure> {
        let missing = || Failure::LoggedOut("not logged in: use `starling-chat login` or `register`".into());
        let saved = self.profile.load()?.ok_or_else(missing)?;
        let rest = self.rest(Some(&saved))?;
        let tokens = ProfileTokens::new(self.profile.clone(), rest.clone());
        let names = Names::new(rest.clone(), tokens.clone(), &saved.user);
        Ok(Session { context: self, saved, rest, tokens, names })
    }
}

/// A login at work.
pub(crate) struct Session<'a> {
    pub(crate) context: &'a Context,
    pub(crate) saved: Saved,
    pub(crate) rest: Rest,
    pub(crate) tokens: ProfileTokens,
    pub(crate) names: Names,
}

impl Session<'_> {
    /// Opens a session with the server.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let place = self.context.place(Some(&self.saved));
        let trust = match (&place.ca, &place.fingerprint) {
            (_, Some(fingerprint)) => Trust::fingerprint(fingerprint)?,
            (Some(ca), None) => Trust::CaFile(ca.clone()),
            (None, None) => Trust::System,
        };
        // Programs of one profile run side by side, and a connection of the same device replaces the one before: each has a device of its own.
        let device = Uuid::new_v5(&self.saved.device, &std::process::id().to_be_bytes());
        let mut builder = Client::builder(place.server)
            .trust(trust)
            .tokens(self.tokens.clone())
            .device(DeviceId(device))
            .connect_timeout(CONNECT_TIMEOUT.min(self.context.timeout()))
            .keep_alive(KEEP_ALIVE)
            .request_deadline(self.context.timeout());
        if let Some(name) = place.server_name {
            builder = builder.server_name(name);
        }
        Ok(builder.connect().await?)
    }

    /// An access token for REST.
    pub(crate) async fn access(&self) -> Result<String, Failure> {
        Ok(self.tokens.access(false).await?.token)
    }

    /// A user given by id or as @USERNAME.
    pub(crate) async fn user(&mut self, text: &str) -> Result<UserId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        match text.strip_prefix('@') {
            Some(name) if !name.is_empty() => self.names.by_name(name).await,
            _ => Err(Failure::Usage(format!("`{text}` is neither an id nor a @USERNAME"))),
        }
    }

    /// A room given by id, by a name that only one of the user's rooms has, as @USERNAME, or as `self`.
    pub(crate) async fn room(&mut self, client: &Client, text: &str) -> Result<RoomId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        if text == "self" {
            return Ok(RoomId::self_log(self.saved.user_id()));
        }
        if text.starts_with('@') {
            let user = self.user(text).await?;
            // Makes it if it is not there; finds it otherwise.
            return Ok(client.create_room(NewRoom::direct(user)).await?);
        }
        named(&client.rooms().await?, text)
    }
}

/// The one room of this name; upper and lower case count only if they must.
fn named(rooms: &[RoomEntry], name: &str) -> Result<RoomId, Failure> {
    let of = |room: &RoomEntry| room.tail.name.clone().unwrap_or_default();
    let exact: Vec<&RoomEntry> = rooms.iter().filter(|room| of(room) == name).collect();
    let folded = name.to_lowercase();
    let found =
        if exact.is_empty() { rooms.iter().filter(|room| of(room).to_lowercase() == folded).collect() } else { exact };
    match found.as_slice() {
        [room] => Ok(room.room),
        [] => Err(Failure::Usage(format!("none of your rooms is named `{name}`"))),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|room| format!("{} ({}, {})", room.room, kind_name(room.kind), clean_line(&of(room))))
                .collect();
            Err(Failure::Usage(format!("several of your rooms are named `{name}`, use an id: {}", list.join(", "))))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use starling_client::protocol::room::RoomEntryTail;

    fn entry(n: u8, name: &str) -> RoomEntry {
        RoomEntry {
            room: RoomId::from_bytes([n; 16]),
            kind: 3,
            role: 1,
            head: 1,
            message_no: 0,
            time_ms: 0,
            read_seq: 0,
            read_message_no: 0,
            tail: RoomEntryTail { name: Some(name.to_owned()), ..RoomEntryTail::default() },
        }
    }

    #[test]
    fn a_name_must_be_the_name_of_one_room() {
        let rooms = [entry(1, "Lobby"), entry(2, "lobby"), entry(3, "Tea"), entry(4, "Two"), entry(5, "Two")];
        assert_eq!(named(&rooms, "Lobby").unwrap(), rooms[0].room);
        assert_eq!(named(&rooms, "lobby").unwrap(), rooms[1].room);
        assert_eq!(named(&rooms, "tea").unwrap(), rooms[2].room);
        for wrong in ["LOBBY", "Two", "nothing", ""] {
            assert!(matches!(named(&rooms, wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
