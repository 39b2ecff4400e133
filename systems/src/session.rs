//! Session: connections that come, go, block and expire.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Session` | `apply_control` | `flush`, `ingest` |
//! | `SessionOf` / `Sessions` | `apply_control` | `presence`, `notification`, `user` |
//! | `SessionIndex` | `apply_control`, `expire_sessions` | everyone who has a connection and wants its entity |

use crate::ingest::{Asks, CONTROL, ReadAnswered, ask_store};
use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage, Tick};
use crate::user::{ensure_user, set_account};
use crate::{presence, room, subscription};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::limits::{BODY_BYTES_MAX, OPEN_REQUESTS_MAX, SUBSCRIPTIONS_MAX};
use client_protocol::room::Rooms;
use client_protocol::session::{Goaway, Reply, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{CloseCode, Code, DeviceId, MINOR_VERSION, ServerFrame, SessionId, UserId};
use components::catch_up::CatchUp;
use components::edge::{Control, Found, Inbox, Origin, Read, Reads, SessionHandle};
use components::limits::USER_SESSIONS_MAX;
use components::room::ReadFor;
use components::rows::{AccountRow, account};
use components::session::{Session, SessionIndex, SessionOf, Sessions, Subscriptions};
use components::time::{Node, Now};
use components::user::{RateBudget, User, UserIndex};

/// Clients reconnect after a random time in this range, in milliseconds: long enough that a full server is not stormed.
pub const RECONNECT_AFTER_MS: (u32, u32) = (100, 3_000);

/// Sessions come and go.
#[derive(Debug)]
pub struct SessionPlugin;

impl Plugin for SessionPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<SessionIndex>()
            .init_resource::<Reads>()
            .add_systems(Tick, apply_control.in_set(CONTROL))
            .add_systems(Tick, send_room_lists.in_set(In(Stage::Hydrate, Feature::Session)))
            .add_systems(Tick, expire_sessions.in_set(In(Stage::Retire, Feature::Session)));
    }
}

/// Applies what happened to sessions and accounts. Exclusive: it spawns and despawns what this tick's commands refer to.
pub(crate) fn apply_control(world: &mut World) {
    if world.resource::<Inbox>().control.is_empty() {
        return;
    }
    let controls = std::mem::take(&mut world.resource_mut::<Inbox>().control);
    for control in controls {
        match control {
            Control::Opened { session, account, login, device, expires_ms, minor } => {
                open(world, session, account, login, device, expires_ms, minor);
            }
            Control::Closed { session } => close(world, session),
            Control::Blocked { session } => set_blocked(world, session, true),
            Control::Writable { session } => set_blocked(world, session, false),
            Control::Reauthed { session, request, outcome } => reauth(world, session, request, outcome),
            Control::LoginRevoked { user, login } => {
                close_sessions(world, user, CloseCode::SessionRevoked, |session| {
                    login.is_none_or(|login| session.login == login)
                });
            }
            Control::AccountChanged(row) => change_account(world, row),
            Control::Sweep { room } => room::sweep(world, room),
            Control::Drain => drain(world),
        }
    }
}

fn open(
    world: &mut World,
    handle: SessionHandle,
    row: AccountRow,
    login: SessionId,
    device: DeviceId,
    expires_ms: u64,
    minor: u16,
) {
    if row.status != account::ACTIVE {
        world.resource_mut::<Outbox>().close(handle, CloseCode::AccountDisabled);
        return;
    }
    // A new connection of a device replaces the one before.
    close_sessions(world, row.user, CloseCode::Replaced, |session| session.device == device);
    set_account(world, row);
    let user = ensure_user(world, row.user);
    let oldest = world.get::<Sessions>(user).filter(|all| all.entities().len() >= USER_SESSIONS_MAX);
    let oldest = oldest.and_then(|all| world.get::<Session>(*all.entities().first()?)).map(|session| session.handle);
    if let Some(oldest) = oldest {
        world.resource_mut::<Outbox>().close(oldest, CloseCode::Replaced);
        close(world, oldest);
    }
    let session = world
        .spawn((
            Session {
                handle,
                login,
                device,
                expires_ms,
                away: false,
                blocked: false,
                listed: false,
                missed_bump: false,
                subscribing: RateBudget::default(),
                handed: (0, 0),
            },
            SessionOf(user),
        ))
        .id();
    let now = *world.resource::<Now>();
    let node = world.resource::<Node>();
    #[allow(clippy::unnecessary_min_or_max)] // While our own minor version is 0.
    let minor = minor.min(MINOR_VERSION);
    let welcome = ServerFrame::Welcome(Welcome {
        minor,
        features: 0,
        epoch: node.epoch,
        user: row.user,
        session: login,
        expires_ms,
        now_ms: now.wall_ms,
        subscriptions_max: SUBSCRIPTIONS_MAX as u32,
        open_requests_max: OPEN_REQUESTS_MAX as u32,
        body_bytes_max: BODY_BYTES_MAX as u32,
        reconnect_after_ms: RECONNECT_AFTER_MS,
        tail: EmptyTail::default(),
    });
    let mut index = world.resource_mut::<SessionIndex>();
    index.by_handle.insert(handle, session);
    index.by_expiry.insert((expires_ms, handle));
    let draining = index.draining;
    let mut outbox = world.resource_mut::<Outbox>();
    outbox.frame(handle, &welcome);
    if draining {
        outbox.frame(handle, &goaway());
    }
    ask_for_list(world, session);
    presence::touch(world, user);
}

/// Forgets a connection: its subscriptions, its watches, itself.
fn close(world: &mut World, handle: SessionHandle) {
    let Some(session) = world.resource_mut::<SessionIndex>().by_handle.remove(&handle) else { return };
    let Some(expires_ms) = world.get::<Session>(session).map(|session| session.expires_ms) else { return };
    world.resource_mut::<SessionIndex>().by_expiry.remove(&(expires_ms, handle));
    let rooms = world.get_mut::<Subscriptions>(session).map(|mut rooms| std::mem::take(&mut rooms.0)).unwrap_or_default();
    for room in rooms {
        subscription::forget_subscriber(world, room, session);
    }
    presence::forget_watcher(world, session);
    let user = world.get::<SessionOf>(session).map(|of| of.0);
    world.despawn(session);
    if let Some(user) = user {
        presence::touch(world, user);
        crate::listing::forget_lists(world, user);
        crate::user::look_again(world, user);
    }
}

/// Closes the sessions of a user that match; the edge will report them closed, and that is not waited for.
fn close_sessions(world: &mut World, user: UserId, code: CloseCode, matches: impl Fn(&Session) -> bool) {
    let Some(user) = world.resource::<UserIndex>().by_id.get(&user).copied() else { return };
    let sessions = world.get::<Sessions>(user).map(|sessions| sessions.entities().to_vec()).unwrap_or_default();
    for session in sessions {
        let Some(session) = world.get::<Session>(session).filter(|session| matches(session)) else { continue };
        let handle = session.handle;
        world.resource_mut::<Outbox>().close(handle, code);
        close(world, handle);
    }
}

/// An account is different now: the world is told, and sessions that may not go on are closed.
pub(crate) fn change_account(world: &mut World, row: AccountRow) {
    set_account(world, row);
    if row.status != account::ACTIVE {
        close_sessions(world, row.user, CloseCode::AccountDisabled, |_| true);
    }
}

/// A login was ended on another node: its sessions are closed.
pub(crate) fn end_login(world: &mut World, login: SessionId) {
    let sessions = world.resource::<SessionIndex>().by_handle.values();
    let of_login = sessions.filter_map(|session| world.get::<Session>(*session)).filter(|session| session.login == login);
    let handles: Vec<_> = of_login.map(|session| session.handle).collect();
    for handle in handles {
        world.resource_mut::<Outbox>().close(handle, CloseCode::SessionRevoked);
        close(world, handle);
    }
}

fn set_blocked(world: &mut World, handle: SessionHandle, blocked: bool) {
    let Some(session) = world.resource::<SessionIndex>().by_handle.get(&handle).copied() else { return };
    if let Some(mut session) = world.get_mut::<Session>(session) {
        session.blocked = blocked;
    }
    if blocked {
        // The pages that were read for it go to others.
        let reading = world.get::<CatchUp>(session).map(|catch_up| catch_up.reading.clone()).unwrap_or_default();
        for room in reading {
            crate::flush::flush_now(world, room);
        }
    } else {
        ask_for_list_if_bumps_were_missed(world, session);
        presence::tell_again(world, session);
        // What it missed is in its cursors: look at its rooms again.
        let rooms = world.get::<Subscriptions>(session).map(|rooms| rooms.0.clone()).unwrap_or_default();
        for room in rooms {
            crate::flush::flush_now(world, room);
        }
    }
}

/// Bumps are not kept for those who cannot take them: the list says the same.
fn ask_for_list_if_bumps_were_missed(world: &mut World, entity: Entity) {
    let Some(mut session) = world.get_mut::<Session>(entity) else { return };
    if std::mem::take(&mut session.missed_bump) {
        ask_for_list(world, entity);
    }
}

fn ask_for_list(world: &mut World, session: Entity) {
    let user = world.get::<SessionOf>(session).and_then(|of| world.get::<User>(of.0)).map(|user| user.user);
    let Some(user) = user else { return };
    ask_store(world, ReadFor::Rooms(session), Read::Rooms { user });
}

fn reauth(world: &mut World, handle: SessionHandle, request: u64, outcome: Result<u64, CloseCode>) {
    let Some(entity) = world.resource::<SessionIndex>().by_handle.get(&handle).copied() else { return };
    let origin = Origin::Session { session: handle, request };
    match outcome {
        Ok(expires_ms) => {
            let Some(mut session) = world.get_mut::<Session>(entity) else { return };
            let before = std::mem::replace(&mut session.expires_ms, expires_ms);
            let mut index = world.resource_mut::<SessionIndex>();
            index.by_expiry.remove(&(before, handle));
            index.by_expiry.insert((expires_ms, handle));
            world.resource_mut::<Outbox>().reply(origin, Reply::done(0));
        }
        Err(code) => {
            let mut outbox = world.resource_mut::<Outbox>();
            outbox.reply(origin, Reply::refused(Code::Unauthenticated, "the token was refused"));
            outbox.close(handle, code);
            close(world, handle);
        }
    }
}

fn goaway() -> ServerFrame {
    ServerFrame::Goaway(Goaway { reconnect_after_ms: RECONNECT_AFTER_MS, tail: EmptyTail::default() })
}

fn drain(world: &mut World) {
    let mut index = world.resource_mut::<SessionIndex>();
    index.draining = true;
    let handles: Vec<_> = index.by_handle.keys().copied().collect();
    let mut outbox = world.resource_mut::<Outbox>();
    for handle in handles {
        outbox.frame(handle, &goaway());
    }
    notify_marks_now(world);
}

fn notify_marks_now(world: &mut World) {
    let now = world.resource::<Now>().mono_us;
    let mut queue = world.resource_mut::<components::notification::NotifyQueue>();
    queue.marks = std::mem::take(&mut queue.marks).into_iter().map(|(_, user)| (now, user)).collect();
}

/// Sends the first page of rooms to sessions whose list was read.
fn send_room_lists(
    mut answers: MessageReader<ReadAnswered>,
    mut sessions: Query<(&mut Session, &SessionOf)>,
    users: Query<&User>,
    mut asks: Asks,
    mut outbox: ResMut<Outbox>,
) {
    for answer in answers.read() {
        let ReadFor::Rooms(entity) = answer.purpose else { continue };
        let Ok((mut session, of)) = sessions.get_mut(entity) else { continue };
        match &answer.found {
            Found::Rooms(rooms, next) => {
                let rooms = Rooms { rooms: rooms.clone(), next: *next, tail: EmptyTail::default() };
                outbox.frame(session.handle, &ServerFrame::Rooms(rooms));
                let is_first = !std::mem::replace(&mut session.listed, true);
                // What was bumped while the list was read may not be in it.
                if is_first
                    && std::mem::take(&mut session.missed_bump)
                    && let Ok(user) = users.get(of.0)
                {
                    asks.ask(ReadFor::Rooms(entity), Read::Rooms { user: user.user });
                }
            }
            // Without its list a client cannot start: it comes back when the store is.
            _ => outbox.close(session.handle, CloseCode::Internal),
        }
    }
}

/// Closes sessions whose token has ended.
fn expire_sessions(world: &mut World) {
    let now_ms = world.resource::<Now>().wall_ms;
    while let Some(&(expires_ms, handle)) = world.resource::<SessionIndex>().by_expiry.first() {
        if expires_ms > now_ms {
            break;
        }
        world.resource_mut::<SessionIndex>().by_expiry.remove(&(expires_ms, handle));
        world.resource_mut::<Outbox>().close(handle, CloseCode::TokenExpired);
        close(world, handle);
    }
}

/// The user entity of a session.
#[must_use]
pub fn user_of<'a>(session: Entity, of: &Query<&SessionOf>, users: &'a Query<&User>) -> Option<&'a User> {
    users.get(of.get(session).ok()?.0).ok()
}
