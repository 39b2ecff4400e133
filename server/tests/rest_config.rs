//! The configuration: which source is above which, and what a mistake says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use server::config::settings::SETTINGS;
use server::config::{Config, ConfigError, Loaded, LogFormat};
use std::collections::BTreeMap;
use std::path::Path;

struct Case {
    file: Option<String>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
}

fn case() -> Case {
    Case { file: None, env: BTreeMap::new(), args: Vec::new() }
}

impl Case {
    fn file(mut self, text: &str) -> Self {
        self.file = Some(text.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).into()).collect();
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("starling.toml");
        if let Some(text) = &self.file {
            std::fs::write(&path, text).unwrap();
        }
        let args = std::iter::once("starling").chain(self.args.iter().map(String::as_str)).map(Into::into);
        Config::load_with_file(args, |name| self.env.get(name).cloned(), &path)
    }

    fn run(&self) -> Config {
        match self.load().unwrap() {
            Loaded::Run(config) => *config,
            Loaded::Print(text) => panic!("{text}"),
        }
    }

    fn error(&self) -> String {
        self.load().unwrap_err().to_string()
    }

    fn print(&self) -> String {
        match self.load().unwrap() {
            Loaded::Print(text) => text,
            Loaded::Run(_) => panic!("it would run"),
        }
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = case().run();
    assert_eq!(config, Config::default());
    assert_eq!(config.data, Path::new("./data"));
    assert_eq!(config.rest_address().to_string(), "127.0.0.1:8080");
    assert_eq!(config.quic_address().to_string(), "127.0.0.1:4433");
    assert_eq!(config.tuning(), components::time::Tuning::default());
    assert_eq!(config.drain_timeout(), server::limits::DRAIN_TIMEOUT);
    assert_eq!(config.access_token_s, server::limits::ACCESS_TOKEN_LIFETIME.as_secs());
    assert!(config.jwt_secret.is_none() && !config.unsafe_no_sync);
}

#[test]
fn flags_are_above_the_environment_above_the_file() {
    let file = "port = 1001\nquic_port = 1002\nhost = \"::1\"\nuser_rate = 7\nunsafe_no_sync = true\nlog_format = \"json\"";
    assert_eq!(case().file(file).run().port, 1001);
    assert_eq!(case().file(file).run().log_format, LogFormat::Json);
    let with_env = case().file(file).env("PORT", "2001").env("STARLING_QUIC_PORT", "2002");
    assert_eq!((with_env.run().port, with_env.run().quic_port), (2001, 2002));
    let with_all = with_env.args(&["--port", "0", "--unsafe-no-sync=false", "--user-rate=8.5"]);
    let config = with_all.run();
    assert_eq!((config.port, config.quic_port), (0, 2002));
    assert_eq!(config.host.to_string(), "::1");
    assert!((config.user_rate - 8.5).abs() < 1e-9 && !config.unsafe_no_sync);
    assert!(case().args(&["--unsafe-no-sync"]).run().unsafe_no_sync);
    assert_eq!(case().file(file).env("PORT", "").run().port, 1001, "an empty value is none");
}

#[test]
fn another_file_can_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.toml"), dir.path().join("two.toml"));
    std::fs::write(&one, "port = 1").unwrap();
    std::fs::write(&two, "port = 2").unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    assert_eq!(case().file("port = 3").env("STARLING_CONFIG", one).run().port, 1);
    assert_eq!(case().file("port = 3").env("STARLING_CONFIG", one).args(&["--config", two]).run().port, 2);
    let missing = dir.path().join("none.toml");
    assert!(case().args(&["--config", missing.to_str().unwrap()]).error().contains("none.toml"));
}

#[test]
fn a_mistake_says_where_what_and_what_is_allowed() {
    assert_eq!(
        case().args(&["--port", "web"]).error(),
        "--port: found `web`, allowed is a port, 0 to 65535 (0: any free one)"
    );
    assert_eq!(case().env("PORT", "70000").error(), "PORT: found `70000`, allowed is a port, 0 to 65535 (0: any free one)");
    let error = case().file("flush_us_max = -1").error();
    assert!(error.contains("starling.toml: flush_us_max: found `-1`, allowed is a number of microseconds"), "{error}");
    let error = case().file("prot = 1").error();
    assert!(error.contains("starling.toml: prot: no such setting") && error.contains("quic_port"), "{error}");
    let error = case().file("port = [1]").error();
    assert!(error.contains("port: found a TOML array"), "{error}");
    assert!(case().file("port = ").error().contains("starling.toml"));
    assert!(case().env("STARLING_ACCESS_TOKEN_S", "601").error().contains("30 to 600"));
    assert!(case().env("STARLING_USER_RATE", "NaN").error().contains("STARLING_USER_RATE"));
    assert!(case().args(&["--log-format", "xml"]).error().contains("text or json"));
    assert!(matches!(case().args(&["--no-such-flag"]).load(), Err(ConfigError::Usage(_))));
    assert!(
        case()
            .args(&["--tls-cert", "c.pem"])
            .error()
            .contains("tls_key: found nothing, allowed is a path, since tls_cert is c.pem")
    );
    assert_eq!(ConfigError::EXIT_CODE, 2);
}

#[test]
fn secrets_are_long_and_never_shown() {
    let error = case().env("JWT_SECRET", "only-a-few-characters").error();
    assert_eq!(error, "JWT_SECRET: found 21 bytes, allowed is at least 32 bytes");
    let secret = "0123456789abcdef0123456789abcdef";
    let config = case().env("JWT_SECRET", secret).run();
    assert_eq!(config.jwt_secret.as_ref().unwrap().bytes(), secret.as_bytes());
    assert!(!format!("{config:?}").contains(secret));
    assert!(!case().args(&["--help"]).print().contains("--jwt-secret"));
}

#[test]
fn what_this_version_does_not_have_is_said() {
    assert!(case().env("MSG_BROKER_URL", "amqp://127.0.0.1").error().contains("MSG_BROKER_URL"));
    assert!(case().env("MSG_BROKER_URL", "").load().is_ok());
}

#[test]
fn the_store_is_chosen_by_its_uri() {
    assert_eq!(case().run().mongodb_uri, None);
    assert_eq!(case().env("MONGODB_URI", "").run().mongodb_uri, None);
    let uri = "mongodb://ann:hunter2@127.0.0.1/chat";
    let config = case().env("MONGODB_URI", uri).run();
    assert_eq!(config.mongodb_uri.as_ref().unwrap().text(), uri);
    assert!(!format!("{config:?}").contains("hunter2"));
    let error = case().env("MONGODB_URI", "http://ann:hunter2@127.0.0.1").error();
    assert!(error.contains("mongodb://") && !error.contains("hunter2"), "{error}");
    let error = case().env("MONGODB_URI", uri).args(&["--unsafe-no-sync"]).error();
    assert!(error.contains("unsafe_no_sync"), "{error}");
    assert!(!case().args(&["--help"]).print().contains("--mongodb-uri"));
}

#[test]
fn help_shows_every_setting_with_its_default() {
    let help = case().args(&["--help"]).print();
    for setting in SETTINGS {
        assert!(help.contains(setting.env), "{}", setting.env);
        if setting.has_flag {
            assert!(help.contains(&format!("--{}", setting.flag)), "{}", setting.key);
            assert!(help.contains(setting.group));
        }
    }
    assert!(help.contains("[default: 8080]"));
    assert!(case().args(&["--version"]).print().starts_with("starling "));
}

#[test]
fn keys_are_unique() {
    let mut keys: Vec<&str> = SETTINGS.iter().flat_map(|setting| [setting.key, setting.env]).collect();
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn variables_that_look_like_settings_and_are_none_are_named() {
    let names = ["STARLING_QIUC_PORT", "STARLING_QUIC_PORT", "STARLING_CONFIG", "STARLING_SERVER", "PATH", "STARLING"];
    let unknown = Config::unknown_variables(names.map(str::to_owned));
    assert_eq!(unknown, ["STARLING_QIUC_PORT"]);
    assert!(Config::unknown_variables(SETTINGS.iter().map(|setting| setting.env.to_owned())).is_empty());
}
