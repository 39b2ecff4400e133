//! What each request does.

use super::request::{Request, done, progress};
use super::{Admin, backup, verify};
use crate::auth::AuthError;
use crate::auth::accounts::Registration;
use crate::erase::Erasing;
use crate::export::{ExportError, export};
use crate::limits::{ADMIN_TIMEOUT, EXPORT_LINES_MAX, LIST_LOT};
use crate::rest::rooms::{Role, RoomKind};
use crate::store::lots::Lots;
use crate::store::{Account, StoreError};
use client_protocol::room::{MemberChanged, RoleChanged, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, Key, RoomId, UserId};
use components::rows::{RoomRow, account};
use serde_json::{Value, json};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandleError {
    /// Accounts say no.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such thing, or it is named wrongly.
    #[error("there is no {0}")]
    NotFound(String),
    /// The room says no.
    #[error("the room refuses: {code:?} {detail}")]
    Refused {
        /// Its code.
        code: Code,
        /// What it says.
        detail: String,
    },
    /// The tool went away.
    #[error(transparent)]
    Gone(#[from] io::Error),
}

impl HandleError {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Auth(error) => error.code().name(),
            Self::Store(StoreError::Unavailable(_)) => Code::Unavailable.name(),
            Self::Store(_) => Code::Internal.name(),
            Self::NotFound(_) => Code::NotFound.name(),
            Self::Refused { code, .. } => code.name(),
            Self::Gone(_) => "gone",
        }
    }
}

/// The way to the tool.
pub(super) struct Out(OwnedWriteHalf);

impl Out {
    pub(super) const fn new(writer: OwnedWriteHalf) -> Self {
        Self(writer)
    }

    /// Writes a line.
    pub(super) async fn line(&mut self, line: &Value) -> io::Result<()> {
        self.bytes(format!("{line}\n").as_bytes()).await
    }

    /// Writes bytes.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::time::timeout(ADMIN_TIMEOUT, self.0.write_all(bytes)).await?
    }

    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Carries out a request; answers the last line, unless it was written.
pub(super) async fn handle(admin: &Admin, request: Request, out: &mut Out) -> Result<Option<Value>, HandleError> {
    match request {
        Request::CreateUser { username, email, password, display_name } => {
            let account = admin.accounts.create(Registration { username, email, password, display_name }).await?;
            out.line(&show_account(&account)).await?;
        }
        Request::ResetPassword { user, password } => {
            let user = find_user(admin, &user).await?.user;
            admin.accounts.reset_password(user, password).await?;
        }
        Request::Users {} => list_users(admin, out).await?,
        Request::SetActive { user, active } => {
            let user = find_user(admin, &user).await?.user;
            let status = if active { account::ACTIVE } else { account::DISABLED };
            out.line(&show_account(&admin.accounts.set_status(user, status).await?)).await?;
        }
        Request::Rooms {} => list_rooms(admin, out).await?,
        Request::Ban { room, user } => {
            let changed = member_changed(admin, &user).await?;
            return decree(admin, &room, EventBody::MemberBanned(changed)).await;
        }
        Request::Unban { room, user } => {
            let changed = member_changed(admin, &user).await?;
            return decree(admin, &room, EventBody::MemberUnbanned(changed)).await;
        }
        Request::Role { room, user, role } => {
            let user = find_user(admin, &user).await?.user;
            let changed = RoleChanged { user, role: Role::number(role), tail: EmptyTail {} };
            return decree(admin, &room, EventBody::RoleChanged(changed)).await;
        }
        Request::Export { user } => {
            let user = find_user(admin, &user).await?.user;
            export_user(admin, user, out).await?;
        }
        Request::Erase { user } => {
            let user = find_user(admin, &user).await?.user;
            let finished = admin.eraser.erase(user).await? == Erasing::Done;
            return Ok(Some(json!({ "type": "done", "finished": finished })));
        }
        Request::Stats {} => {
            for (name, value) in admin.store.stats().await? {
                out.line(&json!({ "type": "stat", "name": name, "value": value })).await?;
            }
        }
        Request::Verify {} => return verify::everything(admin, false, out).await.map(Some),
        Request::Rebuild { room: None } => return verify::everything(admin, true, out).await.map(Some),
        Request::Rebuild { room: Some(room) } => {
            let room = find_room(&room)?;
            return verify::one_room(admin, room, out).await.map(Some);
        }
        Request::Backup {} => {
            backup::send(admin, out).await?;
            return Ok(None);
        }
        Request::Compact {} => {
            out.line(&progress(0, 1)).await?;
            admin.store.purge().await?;
        }
    }
    Ok(Some(done()))
}

/// A user by id, username or e-mail address.
async fn find_user(admin: &Admin, name: &str) -> Result<Account, HandleError> {
    let found = match name.parse::<UserId>() {
        Ok(user) => admin.store.account(user).await?,
        Err(_) => admin.store.account_by_name(name.to_lowercase()).await?,
    };
    found.ok_or_else(|| HandleError::NotFound(format!("user {name}")))
}

fn find_room(name: &str) -> Result<RoomId, HandleError> {
    name.parse().map_err(|_| HandleError::NotFound(format!("room {name}: a room is named by its id")))
}

async fn member_changed(admin: &Admin, user: &str) -> Result<MemberChanged, HandleError> {
    Ok(MemberChanged { user: find_user(admin, user).await?.user, tail: EmptyTail {} })
}

/// Has an event appended by nobody in particular: the actor is the id that is all zero.
async fn decree(admin: &Admin, room: &str, body: EventBody) -> Result<Option<Value>, HandleError> {
    let room = find_room(room)?;
    let reply = admin.world.decree(room, UserId::default(), Key(Uuid::new_v4()), body).await;
    match reply.code() {
        Code::Ok => Ok(Some(json!({ "type": "done", "room": room.0, "seq": reply.seq }))),
        code => Err(HandleError::Refused { code, detail: reply.tail.detail.unwrap_or_default() }),
    }
}

fn show_account(account: &Account) -> Value {
    json!({
        "type": "user", "id": account.user.0, "username": account.username, "email": account.email,
        "display_name": account.display_name, "status": account::name(account.status), "created_ms": account.created_ms,
    })
}

fn show_room(row: &RoomRow) -> Value {
    json!({
        "type": "room", "id": row.room.0, "kind": RoomKind::of(row.kind), "name": row.name, "members": row.members,
        "events": row.head, "messages": row.message_no, "created_ms": row.created_ms, "time_ms": row.time_ms,
    })
}

async fn list_users(admin: &Admin, out: &mut Out) -> Result<(), HandleError> {
    let mut accounts = Lots::new(|after| admin.store.accounts(after, LIST_LOT), |account: &Account| account.user);
    while let Some(lot) = accounts.next().await? {
        for account in &lot {
            out.line(&show_account(account)).await?;
        }
    }
    Ok(())
}

async fn list_rooms(admin: &Admin, out: &mut Out) -> Result<(), HandleError> {
    let mut rooms = Lots::new(|after| admin.store.rooms(after, LIST_LOT), |row: &RoomRow| row.room);
    while let Some(lot) = rooms.next().await? {
        for row in lot.iter().filter(|row| !matches!(row.kind, 0 | kind::SELF)) {
            out.line(&show_room(row)).await?;
        }
    }
    Ok(())
}

async fn export_user(admin: &Admin, user: UserId, out: &mut Out) -> Result<(), HandleError> {
    let (sender, mut lines) = mpsc::channel(EXPORT_LINES_MAX);
    let made = tokio::spawn(export(std::sync::Arc::clone(&admin.store), user, sender));
    while let Some(line) = lines.recv().await {
        out.bytes(line.as_bytes()).await?;
    }
    match made.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ExportError::Store(error))) => Err(error.into()),
        Ok(Err(ExportError::NotFound)) => Err(HandleError::NotFound("such user".to_owned())),
        Ok(Err(ExportError::Gone)) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        Err(error) => Err(StoreError::Unavailable(format!("the export did not end: {error}")).into()),
    }
}
