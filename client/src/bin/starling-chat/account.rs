//! Accounts and logins.

use crate::args::{Login, Logout, ProfileArgs, ProfileCommand, Register};
use crate::context::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use crate::profile::{Saved, now_ms};
use crate::prompt;
use crate::text::{clean, clean_line};
use starling_client::rest::{self, LoggedIn, Me, ProfileChange, Registration, RestError, User};
use uuid::Uuid;

/// Makes an account and logs in.
pub(crate) async fn register(context: &Context, args: Register) -> Result<(), Failure> {
    let password = prompt::password(&args.password, true)?;
    let Register { username, email, display_name, .. } = args;
    let registration = Registration { username, email, password, display_name };
    let before = context.profile.load()?;
    let made = context.rest(before.as_ref())?.register(&registration).await?;
    keep(context, before.as_ref(), made)
}

/// Logs in.
pub(crate) async fn login(context: &Context, args: Login) -> Result<(), Failure> {
    let password = prompt::password(&args.password, false)?;
    let login = rest::Login { login: args.login, password, label: args.label.or(Some("starling-chat".into())) };
    let before = context.profile.load()?;
    let made = context.rest(before.as_ref())?.login(&login).await.map_err(refused)?;
    keep(context, before.as_ref(), made)
}

/// Whoever cannot log in was refused; that their login has ended would say something else.
fn refused(error: RestError) -> Failure {
    match error {
        RestError::Refused { code, detail, retry_after, .. } => Failure::refused(code, detail, retry_after),
        other => other.into(),
    }
}

fn keep(context: &Context, before: Option<&Saved>, made: LoggedIn) -> Result<(), Failure> {
    let place = context.place(before);
    let mut saved = Saved {
        api: place.api,
        server: place.server,
        ca: place.ca,
        fingerprint: place.fingerprint,
        server_name: place.server_name,
        device: before.map_or_else(Uuid::new_v4, |before| before.device),
        user: made.user,
        tokens: made.tokens.clone(),
        access_expires_ms: now_ms(),
    };
    saved.renew(made.tokens);
    context.profile.save(&saved)?;
    let line = format!("Logged in as {}", clean_line(&saved.user.username));
    context.out.either(&line, &json::user(&saved.user, None))
}

/// Ends the login.
pub(crate) async fn logout(context: &Context, args: Logout) -> Result<(), Failure> {
    let session = context.session()?;
    if !args.local {
        // A login that has ended already is what was asked for.
        match session.access().await {
            Ok(access) => match session.rest.logout(&access).await {
                Err(error) if !error.is_unauthenticated() => return Err(error.into()),
                _ => {}
            },
            Err(Failure::LoggedOut(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    context.profile.remove()?;
    context.out.either("Logged out", &serde_json::json!({ "type": "logged_out" }))
}

/// Shows who is logged in, and where. Asks the server nothing.
pub(crate) async fn whoami(context: &Context) -> Result<(), Failure> {
    let session = context.session()?;
    let place = context.place(Some(&session.saved));
    let user = &session.saved.user;
    let line = format!("{}  {}  on {} and {}", clean_line(&user.username), user.id, place.server, place.api);
    let mut object = json::user(user, None);
    object["server"] = place.server.into();
    object["api"] = place.api.into();
    context.out.either(&line, &object)
}

/// Shows or changes a profile.
pub(crate) async fn profile(context: &Context, args: ProfileArgs) -> Result<(), Failure> {
    let mut session = context.session()?;
    match args.command {
        ProfileCommand::Show { user: Some(user) } => {
            let id = session.user(&user).await?;
            let access = session.access().await?;
            let user = session.rest.user(&access, id).await?;
            show(context.out, &user, None)
        }
        ProfileCommand::Show { user: None } => {
            let Me { user, email } = session.rest.me(&session.access().await?).await?;
            show(context.out, &user, Some(&email))
        }
        ProfileCommand::Set { display_name, bio, avatar_url } => {
            let change = ProfileChange { display_name, bio, avatar_url };
            if change == ProfileChange::default() {
                return Err(Failure::Usage("nothing to change: use --display-name, --bio or --avatar-url".into()));
            }
            let Me { user, email } = session.rest.change_me(&session.access().await?, &change).await?;
            show(context.out, &user, Some(&email))
        }
    }
}

fn show(out: Output, user: &User, email: Option<&str>) -> Result<(), Failure> {
    out.object(&json::user(user, email))?;
    let rows = [
        ("username", user.username.as_str()),
        ("name", user.display_name.as_str()),
        ("e-mail", email.unwrap_or_default()),
        ("about", user.bio.as_str()),
        ("picture", user.avatar_url.as_str()),
    ];
    out.text(&format!("{:<9} {}", "id", user.id))?;
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        out.text(&format!("{name:<9} {}", clean(value).replace('\n', "\n          ")))?;
    }
    out.text(&format!("{:<9} {}", "since", crate::text::time(user.created_ms)))
}
