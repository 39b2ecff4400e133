//! Ingest: what came in becomes one typed message per feature, decoded once.
//!
//! | resource | written by | read by |
//! |---|---|---|
//! | `Inbox` | the runner | `decode_commands`, `sort_store_replies`, `session::apply_control` |

use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage};
use crate::{chat, notification, presence, room, session, subscription};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use client_protocol::session::Reply;
use client_protocol::{ClientFrame, CloseCode, Code, Command, Frame, FrameError, UserId};
use components::edge::{AppendReply, Found, Inbox, Input, Origin, Read, ReadRequest, Reads, SessionHandle, StoreReply};
use components::room::{OpenReads, ReadFor};
use components::session::{Session, SessionIndex, SessionOf};
use components::user::User;

/// Who sent a command.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// Who waits for the answer.
    pub origin: Origin,
    /// Who asks.
    pub user: UserId,
    /// Their session, if it came over one.
    pub session: Option<Entity>,
}

impl From {
    /// Whether no user sent it: rates and load are not for followers, who must finish, nor for the server itself.
    #[must_use]
    pub const fn is_world(&self) -> bool {
        matches!(self.origin, Origin::World { .. } | Origin::Server { .. })
    }

    /// Their connection, if it came over one.
    #[must_use]
    pub const fn handle(&self) -> Option<SessionHandle> {
        match self.origin {
            Origin::Session { session, .. } => Some(session),
            _ => None,
        }
    }
}

/// The store answered an append.
#[derive(Message, Debug)]
pub struct AppendReplied(pub AppendReply);

/// The store answered a read.
#[derive(Message, Debug)]
pub struct ReadAnswered {
    /// Of the request.
    pub token: u64,
    /// What it was for.
    pub purpose: ReadFor,
    /// What was found.
    pub found: Found,
}

/// Decodes commands and sorts store replies.
#[derive(Debug)]
pub struct IngestPlugin;

impl Plugin for IngestPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Inbox>()
            .init_resource::<Outbox>()
            .init_resource::<OpenReads>()
            .add_message::<AppendReplied>()
            .add_message::<ReadAnswered>()
            .add_systems(
                crate::schedule::Tick,
                (sort_store_replies, decode_commands).chain().in_set(In(Stage::Ingest, Feature::User)),
            );
    }
}

/// Where decoded commands go: one typed message per feature.
#[derive(SystemParam)]
pub struct Received<'w> {
    /// Commands that are to become events.
    pub submissions: MessageWriter<'w, chat::Submitted>,
    /// Subscribe and unsubscribe.
    pub subscriptions: MessageWriter<'w, subscription::SubscriptionChanged>,
    /// Read marks.
    pub marks: MessageWriter<'w, notification::MarkAsked>,
    /// Presence and typing.
    pub presence: MessageWriter<'w, presence::PresenceAsked>,
}

fn sort_store_replies(
    mut inbox: ResMut<Inbox>,
    mut open: ResMut<OpenReads>,
    mut appends: MessageWriter<AppendReplied>,
    mut reads: MessageWriter<ReadAnswered>,
) {
    for reply in inbox.store.drain(..) {
        match reply {
            StoreReply::Append(reply) => {
                appends.write(AppendReplied(reply));
            }
            StoreReply::Read(token, found) => {
                // An answer to a question that nobody has any more is dropped.
                if let Some(purpose) = open.by_token.remove(&token) {
                    reads.write(ReadAnswered { token, purpose, found });
                }
            }
        }
    }
}

fn decode_commands(
    mut inbox: ResMut<Inbox>,
    index: Res<SessionIndex>,
    sessions: Query<(&Session, &SessionOf)>,
    users: Query<&User>,
    mut received: Received,
    mut outbox: ResMut<Outbox>,
) {
    // The user of a live connection; inputs of closed ones are dropped.
    let find = |handle: SessionHandle| {
        let entity = *index.by_handle.get(&handle)?;
        let (_, of) = sessions.get(entity).ok()?;
        Some((entity, users.get(of.0).ok()?.user))
    };
    for input in inbox.commands.drain(..) {
        match input {
            Input::Rest { token, user, command } => {
                let from = From { origin: Origin::Rest { token }, user, session: None };
                receive(from, *command, &mut received, &mut outbox);
            }
            Input::Server { token, room, actor, key, body } => {
                let from = From { origin: Origin::Server { token }, user: actor, session: None };
                let submission = chat::Submission { room, key, retry: true, body: *body, deadline_us: None };
                received.submissions.write(chat::Submitted { from, submission });
            }
            Input::Datagram { session, bytes } => {
                let Some((entity, user)) = find(session) else { continue };
                if let Ok(ClientFrame::Typing(typing)) = Frame::parse(bytes).and_then(|frame| ClientFrame::decode(&frame)) {
                    received.presence.write(presence::PresenceAsked::Typing { session: entity, user, room: typing.room });
                }
            }
            Input::Frame { session, kind, rest } => {
                let Some((entity, user)) = find(session) else { continue };
                match Command::decode(&Frame { kind, rest }) {
                    Ok((request, command)) => {
                        let origin = Origin::Session { session, request };
                        receive(From { origin, user, session: Some(entity) }, command, &mut received, &mut outbox);
                    }
                    Err(error) => refuse_frame(session, &error, &mut outbox),
                }
            }
        }
    }
}

/// A frame that cannot be read: answered if it names its request, else the connection is closed.
fn refuse_frame(session: SessionHandle, error: &FrameError, outbox: &mut Outbox) {
    tracing::debug!(?session, %error, "a peer sent what is no command");
    match error {
        FrameError::UnknownKind { request: Some(request), .. } => {
            outbox
                .reply(Origin::Session { session, request: *request }, Reply::refused(Code::UnknownKind, error.to_string()));
        }
        FrameError::Body { request: Some(request), .. } => {
            outbox.reply(Origin::Session { session, request: *request }, Reply::refused(Code::Malformed, error.to_string()));
        }
        _ => outbox.close(session, CloseCode::ProtocolError),
    }
}

/// Hands a command to its feature.
fn receive(from: From, command: Command, received: &mut Received, outbox: &mut Outbox) {
    let submission = match command {
        Command::Subscribe(subscribe) => {
            received.subscriptions.write(subscription::SubscriptionChanged::Subscribe(from, subscribe));
            return;
        }
        Command::Unsubscribe(unsubscribe) => {
            received.subscriptions.write(subscription::SubscriptionChanged::Unsubscribe(from, unsubscribe.room));
            return;
        }
        Command::MarkRead(mark) => {
            received.marks.write(notification::MarkAsked { from, room: mark.room, seq: mark.seq });
            return;
        }
        Command::WatchPresence(watch) => {
            received.presence.write(presence::PresenceAsked::Watch(from, watch.users));
            return;
        }
        Command::SetPresence(set) => {
            received.presence.write(presence::PresenceAsked::Set(from, set.state));
            return;
        }
        // The edge checks tokens and reports the outcome; over REST there is nothing to renew.
        Command::Reauth(_) => Err(Reply::refused(Code::UnknownKind, "reauth is for sessions")),
        command => match room::draft(from.user, command) {
            Ok(submission) => submission,
            Err(command) => chat::draft(command),
        },
    };
    match submission {
        Ok(submission) => {
            received.submissions.write(chat::Submitted { from, submission });
        }
        Err(reply) => outbox.reply(from.origin, reply),
    }
}

/// The way to the store.
#[derive(SystemParam)]
pub struct Asks<'w> {
    open: ResMut<'w, OpenReads>,
    reads: ResMut<'w, Reads>,
}

impl Asks<'_> {
    /// Asks the store; the answer comes as [`ReadAnswered`] with this purpose and the token that is returned.
    pub fn ask(&mut self, purpose: ReadFor, read: Read) -> u64 {
        let token = self.open.open(purpose);
        self.reads.0.push(ReadRequest { token, read });
        token
    }

    /// A token that nothing else that the store is asked for has.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.open.next_token()
    }
}

/// As [`Asks::ask`], for who has the whole world.
pub fn ask_store(world: &mut World, purpose: ReadFor, read: Read) -> u64 {
    let token = world.resource_mut::<OpenReads>().open(purpose);
    world.resource_mut::<Reads>().0.push(ReadRequest { token, read });
    token
}

/// The features that take part in ingest, so that their order is stated where it is decided.
pub(crate) const CONTROL: In = In(Stage::Ingest, Feature::Session);

// `session::apply_control` runs in `CONTROL`, before commands are decoded: a command never meets a session that is not there.
const _: fn(&mut World) = session::apply_control;
