//! Rooms and their members.

use crate::args::{Create, CreateKind, Member, Public, Role, RoleName, RoomArg, Settings};
use crate::context::Context;
use crate::failure::Failure;
use crate::json;
use crate::text::{clean_line, kind_name, role_name, time};
use starling_client::protocol::limits::MEMBERS_PAGE_MAX;
use starling_client::protocol::room::{MemberEntry, RoomEntry, SettingsTail, role};
use starling_client::{Acked, Client, Key, NewRoom, RoomId, UserId};

/// Rooms asked for at a time over REST.
const PUBLIC_PAGE: u64 = 100;

/// Makes a room.
pub(crate) async fn create(context: &Context, args: Create) -> Result<(), Failure> {
    let mut session = context.session()?;
    let mut new = match args.kind {
        CreateKind::Group { name, members, topic } => {
            let mut users = Vec::with_capacity(members.len());
            for member in &members {
                users.push(session.user(member).await?);
            }
            with_topic(NewRoom::group(name, users), topic)
        }
        CreateKind::Public { name, topic } => with_topic(NewRoom::public(name), topic),
        CreateKind::Direct { user } => NewRoom::direct(session.user(&user).await?),
    };
    new.key = args.key.as_deref().map(Key::from_text);
    let client = session.connect().await?;
    let room = client.create_room(new).await?;
    client.close().await;
    context.out.either(&room.to_string(), &serde_json::json!({ "type": "done", "room": room.0, "seq": 1 }))
}

fn with_topic(mut new: NewRoom, topic: Option<String>) -> NewRoom {
    new.settings.topic = topic;
    new
}

/// Prints what a command did, and closes.
pub(crate) async fn finish(
    context: &Context,
    client: &Client,
    room: RoomId,
    acked: Acked,
    line: &str,
) -> Result<(), Failure> {
    client.close().await;
    context.out.either(line, &json::done(room, acked, None))
}

/// Joins a public room; by name, if only one public room has it.
pub(crate) async fn join(context: &Context, args: RoomArg) -> Result<(), Failure> {
    let session = context.session()?;
    let room = match args.room.parse() {
        Ok(id) => id,
        Err(_) => {
            let access = session.access().await?;
            let page = session.rest.public_rooms(&access, &args.room, None, PUBLIC_PAGE as usize).await?;
            let named: Vec<_> = page.rooms.iter().filter(|room| room.name == args.room).collect();
            match named.as_slice() {
                [room] => room.room(),
                [] => return Err(Failure::Usage(format!("no public room is named `{}`", args.room))),
                _ => return Err(Failure::Usage(format!("several public rooms are named `{}`: use an id", args.room))),
            }
        }
    };
    let client = session.connect().await?;
    let acked = client.join(room).await?;
    finish(context, &client, room, acked, &format!("Joined {room}")).await
}

/// Leaves a room.
pub(crate) async fn leave(context: &Context, args: RoomArg) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let acked = client.leave(room).await?;
    finish(context, &client, room, acked, &format!("Left {room}")).await
}

/// What is done to a membership.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemberAction {
    /// Adds.
    Invite,
    /// Removes.
    Kick,
    /// Removes for good.
    Ban,
    /// Lifts that.
    Unban,
}

/// Changes a membership.
pub(crate) async fn member(context: &Context, args: Member, action: MemberAction) -> Result<(), Failure> {
    let mut session = context.session()?;
    let user = session.user(&args.user).await?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let (acked, what) = match action {
        MemberAction::Invite => (client.add_member(room, user).await?, "Added"),
        MemberAction::Kick => (client.kick(room, user).await?, "Removed"),
        MemberAction::Ban => (client.ban(room, user).await?, "Banned"),
        MemberAction::Unban => (client.unban(room, user).await?, "Unbanned"),
    };
    finish(context, &client, room, acked, &format!("{what} {}", clean_line(&args.user))).await
}

/// Gives a member another role.
pub(crate) async fn role(context: &Context, args: Role) -> Result<(), Failure> {
    let mut session = context.session()?;
    let user = session.user(&args.user).await?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let number = role_number(args.role);
    let acked = client.set_role(room, user, number).await?;
    let line = format!("{} is {} now", clean_line(&args.user), role_name(number));
    finish(context, &client, room, acked, &line).await
}

const fn role_number(name: RoleName) -> u8 {
    match name {
        RoleName::Member => role::MEMBER,
        RoleName::Moderator => role::MODERATOR,
        RoleName::Admin => role::ADMIN,
        RoleName::Owner => role::OWNER,
    }
}

/// Changes the settings of a room.
pub(crate) async fn settings(context: &Context, args: Settings) -> Result<(), Failure> {
    let settings = SettingsTail {
        name: args.name,
        topic: args.topic,
        post_role: args.post_role.map(role_number),
        edit_window_s: args.edit_window,
    };
    if settings == SettingsTail::default() {
        return Err(Failure::Usage("nothing to change: use --name, --topic, --post-role or --edit-window".into()));
    }
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let acked = client.update_room(room, settings).await?;
    finish(context, &client, room, acked, "Changed").await
}

/// Lists the user's rooms.
pub(crate) async fn list(context: &Context) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let rooms = client.rooms().await?;
    client.close().await;
    if context.out.json {
        return rooms.iter().try_for_each(|entry| context.out.object(&json::room(entry)));
    }
    session.names.fetch(rooms.iter().filter_map(|entry| entry.tail.peer)).await;
    let rows: Vec<Vec<String>> = rooms
        .iter()
        .map(|entry| {
            let members = entry.tail.members.map(|members| members.to_string()).unwrap_or_default();
            let unread = if entry.unread() > 0 { entry.unread().to_string() } else { String::new() };
            vec![
                unread,
                room_name(entry, |user| session.names.show(user)),
                kind_name(entry.kind).into(),
                role_name(entry.role).into(),
                members,
                time(entry.time_ms),
                entry.room.to_string(),
            ]
        })
        .collect();
    context.out.table(&["UNREAD", "NAME", "KIND", "ROLE", "MEMBERS", "LAST", "ID"], &rows)
}

/// The name of a room; of a direct room, the other user.
fn room_name(entry: &RoomEntry, show: impl Fn(UserId) -> String) -> String {
    match (&entry.tail.name, entry.tail.peer) {
        (Some(name), _) if !name.is_empty() => clean_line(name),
        (_, Some(peer)) => format!("@{}", show(peer)),
        _ => "-".into(),
    }
}

/// Lists public rooms.
pub(crate) async fn public(context: &Context, args: Public) -> Result<(), Failure> {
    let session = context.session()?;
    let name = args.name.unwrap_or_default();
    let mut rooms = Vec::new();
    let mut after = None;
    while (rooms.len() as u64) < args.limit {
        let limit = (args.limit - rooms.len() as u64).min(PUBLIC_PAGE) as usize;
        let page = session.rest.public_rooms(&session.access().await?, &name, after, limit).await?;
        let (more, last) = (page.more, page.rooms.last().map(|room| room.room()));
        rooms.extend(page.rooms);
        if !more || last.is_none() || last == after {
            break;
        }
        after = last;
    }
    if context.out.json {
        return rooms.iter().try_for_each(|room| context.out.object(&json::public_room(room)));
    }
    let rows: Vec<Vec<String>> = rooms
        .iter()
        .map(|room| vec![clean_line(&room.name), room.members.to_string(), room.id.to_string(), clean_line(&room.topic)])
        .collect();
    context.out.table(&["NAME", "MEMBERS", "ID", "TOPIC"], &rows)
}

/// All members of a room.
pub(crate) async fn all_members(client: &Client, room: RoomId, max: usize) -> Result<Vec<MemberEntry>, Failure> {
    let mut members: Vec<MemberEntry> = Vec::new();
    loop {
        let after = members.last().map(|member| member.user).unwrap_or_default();
        let page = client.members(room, after, MEMBERS_PAGE_MAX).await?;
        let more = page.more && page.members.last().is_some_and(|member| member.user > after);
        members.extend(page.members);
        if !more || members.len() >= max {
            return Ok(members);
        }
    }
}

/// Lists the members of a room.
pub(crate) async fn members(context: &Context, args: RoomArg) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let members = all_members(&client, room, starling_client::protocol::limits::ROOM_MEMBERS_MAX).await?;
    client.close().await;
    if context.out.json {
        return members.iter().try_for_each(|member| context.out.object(&json::member(room, member)));
    }
    session.names.fetch(members.iter().map(|member| member.user)).await;
    let mut rows = Vec::with_capacity(members.len());
    for member in &members {
        let shown = session.names.show(member.user);
        let name = session.names.user(member.user).await.map(|user| clean_line(&user.display_name)).unwrap_or_default();
        rows.push(vec![shown, role_name(member.role).into(), name, member.user.to_string()]);
    }
    rows.sort();
    context.out.table(&["USERNAME", "ROLE", "NAME", "ID"], &rows)
}
