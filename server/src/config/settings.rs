//! The settings: one row each. Help, file, environment and flags all follow from this table.

use super::{Config, LogFormat, jwt_secret, mongodb_uri};
use std::path::PathBuf;
use std::str::FromStr;

/// How the value of a yes-or-no setting is shown.
pub const BOOL: &str = "true|false";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file.
    pub key: &'static str,
    /// Its name as a flag, without the dashes in front: the same with `-` for `_`.
    pub flag: &'static str,
    /// Its name in the environment.
    pub env: &'static str,
    /// Where it stands in the help.
    pub group: &'static str,
    /// What its value is called in the help.
    pub value_name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What it may be.
    pub allowed: &'static str,
    /// What it is if nobody sets it; empty: nothing.
    pub default: &'static str,
    /// It must not be shown.
    pub is_secret: bool,
    /// It can be given as a flag.
    pub has_flag: bool,
    /// Takes it; `false` where it is not allowed.
    pub set: fn(&mut Config, &str) -> bool,
}

/// A key as a flag.
const fn dashed<const N: usize>(key: &str) -> [u8; N] {
    let mut flag = [0; N];
    let mut at = 0;
    while at < N {
        let byte = key.as_bytes()[at];
        flag[at] = if byte == b'_' { b'-' } else { byte };
        at += 1;
    }
    flag
}

/// Puts a parsed value where it belongs; `false` where there is none.
fn put<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

fn within<T: FromStr + PartialOrd>(text: &str, range: std::ops::RangeInclusive<T>) -> Option<T> {
    text.trim().parse().ok().filter(|value| range.contains(value))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

macro_rules! settings {
    ($($group:literal {
        $($key:ident, $env:literal, $value_name:expr, $default:literal, $allowed:literal, $help:literal, $set:expr;)*
    })*) => {
        /// Every setting, in the order of the help.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            key: stringify!($key),
            flag: {
                const FLAG: [u8; stringify!($key).len()] = dashed(stringify!($key));
                match std::str::from_utf8(&FLAG) {
                    Ok(flag) => flag,
                    Err(_) => stringify!($key),
                }
            },
            env: $env,
            group: $group,
            value_name: $value_name,
            help: $help,
            allowed: $allowed,
            default: $default,
            is_secret: matches!($value_name.as_bytes(), b"SECRET"),
            has_flag: !matches!($value_name.as_bytes(), b"SECRET"),
            set: {
                const SET: fn(&mut Config, &str) -> bool = $set;
                SET
            },
        },)*)*];
    };
}

settings! {
    "Listening" {
        host, "STARLING_HOST", "ADDRESS", "127.0.0.1", "an IPv4 or IPv6 address",
            "Address that REST and QUIC listen on", |c, t| put(&mut c.host, t.trim().parse().ok());
        port, "PORT", "PORT", "8080", "a port, 0 to 65535 (0: any free one)",
            "Port of REST, TCP", |c, t| put(&mut c.port, within(t, 0..=u16::MAX));
        quic_port, "STARLING_QUIC_PORT", "PORT", "4433", "a port, 0 to 65535 (0: any free one)",
            "Port of QUIC, UDP", |c, t| put(&mut c.quic_port, within(t, 0..=u16::MAX));
        tls_cert, "STARLING_TLS_CERT", "PATH", "", "the path of a PEM file",
            "Certificate chain of QUIC; without one, a self-signed one is made in the data folder",
            |c, t| put(&mut c.tls_cert, path(t).map(Some));
        tls_key, "STARLING_TLS_KEY", "PATH", "", "the path of a PEM file",
            "Private key of the certificate", |c, t| put(&mut c.tls_key, path(t).map(Some));
        forwarded_for, "STARLING_FORWARDED_FOR", BOOL, "false", "true or false",
            "REST is behind a proxy that appends the client's address to X-Forwarded-For",
            |c, t| put(&mut c.forwarded_for, yes_or_no(t));
    }
    "Storage" {
        data, "STARLING_DATA", "PATH", "./data", "the path of a folder",
            "Folder of the keys and of the embedded store", |c, t| put(&mut c.data, path(t));
        mongodb_uri, "MONGODB_URI", "SECRET", "", "a URI that begins with mongodb:// or mongodb+srv://",
            "MongoDB as the store; its path names the database (without one: starling). Without it, the embedded store",
            |c, t| put(&mut c.mongodb_uri, mongodb_uri(t).map(Some));
        unsafe_no_sync, "STARLING_UNSAFE_NO_SYNC", BOOL, "false", "true or false",
            "Acknowledge before the disk has it; for measurements only: a power cut loses acknowledged messages",
            |c, t| put(&mut c.unsafe_no_sync, yes_or_no(t));
    }
    "Accounts" {
        jwt_secret, "JWT_SECRET", "SECRET", "", "at least 32 bytes",
            "Sign access tokens with HS256 and this secret; without one, with Ed25519 and a key in the data folder",
            |c, t| put(&mut c.jwt_secret, jwt_secret(t).map(Some));
        access_token_s, "STARLING_ACCESS_TOKEN_S", "SECONDS", "600", "a number of seconds, 30 to 600",
            "Lifetime of access tokens", |c, t| put(&mut c.access_token_s, within(t, 30..=600));
        register_per_ip, "STARLING_REGISTER_PER_IP", "NUMBER", "60", "a number, 0 to 1000000 (0: no bound)",
            "Registrations of one address in an hour", |c, t| put(&mut c.register_per_ip, within(t, 0..=1_000_000));
        login_per_ip, "STARLING_LOGIN_PER_IP", "NUMBER", "30", "a number, 0 to 1000000 (0: no bound)",
            "Logins of one address in a minute, refused ones included",
            |c, t| put(&mut c.login_per_ip, within(t, 0..=1_000_000));
    }
    "Rates and load" {
        user_rate, "STARLING_USER_RATE", "NUMBER", "50", "a number, 0.1 to 1000000",
            "Commands a second that a user may send for long", |c, t| put(&mut c.user_rate, within(t, 0.1..=1e6));
        user_burst, "STARLING_USER_BURST", "NUMBER", "200", "a number, 1 to 1000000",
            "Commands that a user may send at once", |c, t| put(&mut c.user_burst, within(t, 1.0..=1e6));
        room_rate, "STARLING_ROOM_RATE", "NUMBER", "2000", "a number, 0.1 to 1000000",
            "Commands a second that a room takes for long", |c, t| put(&mut c.room_rate, within(t, 0.1..=1e6));
        room_burst, "STARLING_ROOM_BURST", "NUMBER", "4000", "a number, 1 to 1000000",
            "Commands that a room takes at once", |c, t| put(&mut c.room_burst, within(t, 1.0..=1e6));
        flush_us_per_reader, "STARLING_FLUSH_US_PER_READER", "MICROSECONDS", "300", "a number of microseconds, 0 to 10000",
            "A room's flush interval for each of its readers, down to half of it where much is said; where it is longer than 10 ms, acks wait with it, 50 ms at most",
            |c, t| put(&mut c.flush_us_per_reader, within(t, 0..=10_000));
        flush_us_max, "STARLING_FLUSH_US_MAX", "MICROSECONDS", "200000", "a number of microseconds, 0 to 1000000",
            "The longest flush interval of a room", |c, t| put(&mut c.flush_us_max, within(t, 0..=1_000_000));
        overload_wait_ms, "STARLING_OVERLOAD_WAIT_MS", "MILLISECONDS", "500", "a number of milliseconds, 10 to 2000",
            "Queue wait above which new sends are refused", |c, t| put(&mut c.overload_wait_ms, within(t, 10..=2_000));
        idle_s, "STARLING_IDLE_S", "SECONDS", "30", "a number of seconds, 1 to 86400",
            "How long an unused room or user stays in memory", |c, t| put(&mut c.idle_s, within(t, 1..=86_400));
        drain_s, "STARLING_DRAIN_S", "SECONDS", "5", "a number of seconds, 0 to 300",
            "Time that sessions get to go away before the process ends", |c, t| put(&mut c.drain_s, within(t, 0..=300));
    }
    "Logging" {
        log, "STARLING_LOG", "FILTER", "info,fjall=warn,lsm_tree=warn", "error, warn, info, debug, trace, off, or directives such as info,server::rest=debug",
            "Which lines are written", |c, t| put(&mut c.log, log_filter(t));
        log_format, "STARLING_LOG_FORMAT", "text|json", "text", "text or json",
            "How they look", |c, t| put(&mut c.log_format, log_format(t));
    }
}

fn log_filter(text: &str) -> Option<String> {
    tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text.trim() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
