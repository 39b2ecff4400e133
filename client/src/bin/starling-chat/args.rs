//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Talks to a Starling chat server.
///
/// Rooms are given by id, by a name that only one of your rooms has, as @USERNAME for the direct room with that user, or as `self`
/// for your own log. Users are given by id or as @USERNAME.
#[derive(Debug, Parser)]
#[command(name = "starling-chat", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// QUIC address of the server [default: as logged in, else 127.0.0.1:4433]
    #[arg(long, global = true, env = "STARLING_SERVER", value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// REST address of the server [default: as logged in, else http://127.0.0.1:8080]
    #[arg(long, global = true, env = "STARLING_API", value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Certificates to trust, PEM [default: as logged in, else ./data/cert.pem]
    #[arg(long, global = true, env = "STARLING_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 fingerprint instead
    #[arg(long, global = true, env = "STARLING_FINGERPRINT", value_name = "HEX", conflicts_with = "ca")]
    pub(crate) fingerprint: Option<String>,
    /// Name that the certificate is for [default: the host of the server]
    #[arg(long, global = true, env = "STARLING_SERVER_NAME", value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Which of several identities to use
    #[arg(long, global = true, env = "STARLING_PROFILE", value_name = "NAME", default_value = "default")]
    pub(crate) profile: String,
    /// Print one JSON object a line
    #[arg(long, global = true, env = "STARLING_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Give up connecting, or a request, after this time
    #[arg(long, global = true, env = "STARLING_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
    /// Say what happens, on standard error; twice says more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account and log in
    Register(Register),
    /// Log in
    Login(Login),
    /// End the login and forget it
    Logout(Logout),
    /// Show who is logged in
    Whoami,
    /// Show or change a profile
    Profile(ProfileArgs),
    /// Make a room
    Create(Create),
    /// Join a public room
    Join(RoomArg),
    /// Leave a room
    Leave(RoomArg),
    /// Add a user to a room
    Invite(Member),
    /// Remove a member, who may come back
    Kick(Member),
    /// Remove a user for good
    Ban(Member),
    /// Lift a ban
    Unban(Member),
    /// Give a member another role
    Role(Role),
    /// Change the settings of a room
    Settings(Settings),
    /// List your rooms, newest first, with what is unread
    Rooms,
    /// List public rooms
    Public(Public),
    /// List the members of a room
    Members(RoomArg),
    /// Post a message, or every line of standard input
    Send(Send),
    /// Follow a room
    Tail(Tail),
    /// Show messages as they are now
    History(History),
    /// Find messages of a room by their words
    Search(Search),
    /// Replace the text of your message
    Edit(Edit),
    /// Delete a message
    Delete(Target),
    /// Add a reaction
    React(React),
    /// Take a reaction back
    Unreact(React),
    /// Pin a message
    Pin(Target),
    /// Unpin a message
    Unpin(Target),
    /// Mark a room as read, up to a seq or as a whole
    Read(Read),
    /// Say that you are typing
    Typing(RoomArg),
}

/// Where a password comes from: standard input, else the variable `STARLING_PASSWORD`, else a prompt. Never an argument, which
/// others on the machine could see.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Read the password from the first line of standard input [else from STARLING_PASSWORD, else a prompt]
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The name to log in with
    pub(crate) username: String,
    /// E-mail address
    #[arg(long)]
    pub(crate) email: String,
    /// The name that is shown
    #[arg(long)]
    pub(crate) display_name: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Username or e-mail address
    pub(crate) login: String,
    /// What the login is called in the list of your logins
    #[arg(long)]
    pub(crate) label: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Only forget the login here, without telling the server
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Show a profile, your own without a user
    Show {
        /// Id or @USERNAME
        user: Option<String>,
    },
    /// Change your own; what is not given stays
    Set {
        /// The name that is shown
        #[arg(long)]
        display_name: Option<String>,
        /// About you
        #[arg(long)]
        bio: Option<String>,
        /// Your picture
        #[arg(long)]
        avatar_url: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(subcommand)]
    pub(crate) kind: CreateKind,
    /// Idempotency key: the same key makes the same room
    #[arg(long, global = true)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateKind {
    /// A room that members are added to
    Group {
        /// Its name
        name: String,
        /// First members, besides you
        members: Vec<String>,
        /// Its topic
        #[arg(long)]
        topic: Option<String>,
    },
    /// A room that everybody may join
    Public {
        /// Its name
        name: String,
        /// Its topic
        #[arg(long)]
        topic: Option<String>,
    },
    /// The room with one other user
    Direct {
        /// Id or @USERNAME
        user: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RoomArg {
    /// Id, name, @USERNAME or `self`
    pub(crate) room: String,
}

#[derive(Debug, Args)]
pub(crate) struct Member {
    /// Id or name
    pub(crate) room: String,
    /// Id or @USERNAME
    pub(crate) user: String,
}

/// Roles by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// May post
    Member,
    /// May also delete messages, pin, kick and ban
    Moderator,
    /// May also change settings and roles
    Admin,
    /// May do everything
    Owner,
}

#[derive(Debug, Args)]
pub(crate) struct Role {
    /// Id or name
    pub(crate) room: String,
    /// Id or @USERNAME
    pub(crate) user: String,
    /// The new role
    pub(crate) role: RoleName,
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Id or name
    pub(crate) room: String,
    /// Its name; empty removes it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Its topic; empty removes it
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Lowest role that may post
    #[arg(long)]
    pub(crate) post_role: Option<RoleName>,
    /// For how long authors may edit; 0 is for ever
    #[arg(long, value_name = "SECONDS")]
    pub(crate) edit_window: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Public {
    /// Only rooms whose name contains this
    pub(crate) name: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) limit: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// The text; without it every line of standard input is a message
    pub(crate) text: Vec<String>,
    /// Idempotency key: the same key is the same message. Line N of standard input has KEY/N
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Answer this message
    #[arg(long, value_name = "SEQ", conflicts_with = "thread")]
    pub(crate) reply_to: Option<u64>,
    /// Post in the thread of this message
    #[arg(long, value_name = "SEQ")]
    pub(crate) thread: Option<u64>,
    /// Mention a user; may be given several times
    #[arg(long, value_name = "USER")]
    pub(crate) mention: Vec<String>,
    /// The text is Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Id, name, @USERNAME or `self`
    pub(crate) room: String,
    /// Every event after this seq; 0 is from the start
    #[arg(long, value_name = "SEQ", conflicts_with = "history")]
    pub(crate) since: Option<u64>,
    /// The last messages first [default: 10, with --json 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) history: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,
    /// Leave out presence and typing
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// Messages before this seq
    #[arg(long, value_name = "SEQ", conflicts_with = "after")]
    pub(crate) before: Option<u64>,
    /// Messages after this seq, the oldest first
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// Messages that have all these words; the last one may be the start of a longer one
    #[arg(required = true)]
    pub(crate) text: Vec<String>,
    /// Messages before this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) before: u64,
    /// At most so many, the newest ones
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// The message
    pub(crate) seq: u64,
    /// The new text
    #[arg(required = true)]
    pub(crate) text: Vec<String>,
    /// The text is Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// The message
    pub(crate) seq: u64,
}

#[derive(Debug, Args)]
pub(crate) struct React {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// The message
    pub(crate) seq: u64,
    /// An emoji or a short name
    pub(crate) reaction: String,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Id, name or @USERNAME
    pub(crate) room: String,
    /// Read up to here; without it, everything
    pub(crate) seq: Option<u64>,
}
