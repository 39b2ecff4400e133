//! A Starling server with a bot in it: add the bot to a room and write `!ping`.
//!
//! ```text
//! PING_BOT_PASSWORD=... cargo run --example ping_bot -- --data ./data
//! ```
//!
//! Takes all settings of the server itself. The account of the bot is made at the first start; it is a user like any other.

mod bot;

use bot::PingBot;
use server::config::{Config, Loaded};
use server::{App, Running, telemetry};
use starling_client::rest::{Login, Registration, Rest, RestError};
use std::error::Error;

/// The bot's name.
const NAME: &str = "pingbot";

fn main() -> Result<(), Box<dyn Error>> {
    let config = match Config::load(std::env::args_os(), |name| std::env::var(name).ok())? {
        Loaded::Run(config) => *config,
        Loaded::Print(text) => {
            println!("{text}");
            return Ok(());
        }
    };
    let password = std::env::var("PING_BOT_PASSWORD").map_err(|_| "PING_BOT_PASSWORD is not set")?;
    telemetry::init_log(&config)?;
    let bot = PingBot::default();
    let running = App::new(config).add_plugins(bot.clone()).start()?;
    let user = account(&running, password)?;
    bot.speak_as(user);
    println!("QUIC on {}, REST on http://{}", running.quic_address(), running.rest_address());
    println!("The bot is {NAME}, {user}. Add it to a room and write !ping.");
    running.wait_for_signal()?;
    Ok(())
}

/// Logs in as the bot, or registers it.
fn account(running: &Running, password: String) -> Result<client_protocol::UserId, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rest = Rest::new(&format!("http://{}", running.rest_address()))?;
    let account = runtime.block_on(async {
        match rest.login(&Login::new(NAME, &password)).await {
            Err(RestError::Refused { status: 401, .. }) => {
                let email = format!("{NAME}@localhost.invalid");
                rest.register(&Registration { username: NAME.into(), email, password, display_name: None }).await
            }
            other => other,
        }
    })?;
    Ok(account.user.id)
}
