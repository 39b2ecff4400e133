//! `starling-chat`: the Starling chat server from a terminal. See docs/client.md.

mod account;
mod args;
mod context;
mod failure;
mod follow;
mod json;
mod messages;
mod names;
mod output;
mod profile;
mod prompt;
mod rooms;
mod text;
mod tokens;

use args::{Cli, Command};
use clap::Parser;
use context::Context;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // For scripts, mistakes in the arguments are what all mistakes are: one object on standard error.
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            let text = error.render().to_string();
            let text = text.trim_start_matches("error: ").lines().next().unwrap_or_default().to_owned();
            return Failure::Usage(text).report(true);
        }
        // Prints help, or what is wrong, and ends with code 0 or 2.
        Err(error) => error.exit(),
    };
    start_log(cli.options.verbose);
    let json = cli.options.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Usage(format!("no runtime: {error}")).report(json),
    };
    let result = runtime.block_on(run(cli));
    // A thread that still reads standard input must not keep the program.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "starling_client=info",
        2 => "starling_client=debug",
        _ => "debug",
    };
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context::new(cli.options)?;
    match cli.command {
        Command::Register(args) => account::register(&context, args).await,
        Command::Login(args) => account::login(&context, args).await,
        Command::Logout(args) => account::logout(&context, args).await,
        Command::Whoami => account::whoami(&context).await,
        Command::Profile(args) => account::profile(&context, args).await,
        Command::Create(args) => rooms::create(&context, args).await,
        Command::Join(args) => rooms::join(&context, args).await,
        Command::Leave(args) => rooms::leave(&context, args).await,
        Command::Invite(args) => rooms::member(&context, args, rooms::MemberAction::Invite).await,
        Command::Kick(args) => rooms::member(&context, args, rooms::MemberAction::Kick).await,
        Command::Ban(args) => rooms::member(&context, args, rooms::MemberAction::Ban).await,
        Command::Unban(args) => rooms::member(&context, args, rooms::MemberAction::Unban).await,
        Command::Role(args) => rooms::role(&context, args).await,
        Command::Settings(args) => rooms::settings(&context, args).await,
        Command::Rooms => rooms::list(&context).await,
        Command::Public(args) => rooms::public(&context, args).await,
        Command::Members(args) => rooms::members(&context, args).await,
        Command::Send(args) => messages::send(&context, args).await,
        Command::History(args) => messages::history(&context, args).await,
        Command::Search(args) => messages::search(&context, args).await,
        Command::Edit(args) => messages::edit(&context, args).await,
        Command::Delete(args) => messages::change(&context, args, messages::Change::Delete).await,
        Command::Pin(args) => messages::change(&context, args, messages::Change::Pin).await,
        Command::Unpin(args) => messages::change(&context, args, messages::Change::Unpin).await,
        Command::React(args) => messages::react(&context, args, true).await,
        Command::Unreact(args) => messages::react(&context, args, false).await,
        Command::Read(args) => messages::read(&context, args).await,
        Command::Typing(args) => messages::typing(&context, args).await,
        Command::Tail(args) => follow::tail(&context, args).await,
    }
}
