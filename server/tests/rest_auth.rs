//! Accounts and logins over REST.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rest_support;

use components::edge::Control;
use components::rows::account;
use reqwest::{Method, StatusCode};
use rest_support::{Options, PASSWORD, Person, Rig, is};
use serde_json::{Value, json};
use server::auth::ratelimit::Rate;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn register_log_in_and_be_somebody() {
    let rig = Rig::new().await;
    let body = json!({ "username": "Ada", "email": "Ada@Example.org", "password": PASSWORD, "display_name": "Ada L." });
    let (status, answer) = rig.post("/v1/auth/register", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!((&answer["user"]["username"], &answer["user"]["display_name"]), (&json!("ada"), &json!("Ada L.")));
    assert!(answer["user"].get("email").is_none(), "an address is not for everybody");
    assert_eq!((&answer["tokens"]["token_type"], &answer["tokens"]["expires_in"]), (&json!("Bearer"), &json!(600)));
    let ada = Person::of(&answer["user"]["id"], &answer["tokens"]);
    for login in ["ada", "ADA", "ada@example.org", "Ada@Example.ORG"] {
        let body = json!({ "login": login, "password": PASSWORD, "label": "laptop" });
        let (status, answer) = rig.post("/v1/auth/login", body).await;
        assert_eq!(status, StatusCode::OK, "{login}: {answer}");
        assert_eq!(answer["user"]["id"], json!(ada.user.to_string()));
    }
    let (status, me) = rig.get(&ada, "/v1/users/me").await;
    assert_eq!((status, &me["email"], &me["username"]), (StatusCode::OK, &json!("ada@example.org"), &json!("ada")));
    let patch = json!({ "display_name": "Countess", "bio": "first" });
    let (_, me) = rig.call(&ada, Method::PATCH, "/v1/users/me", patch).await;
    assert_eq!((&me["display_name"], &me["bio"], &me["avatar_url"]), (&json!("Countess"), &json!("first"), &json!("")));
    let bob = rig.register("bob").await;
    let (_, seen) = rig.get(&bob, &format!("/v1/users/{}", ada.user)).await;
    assert_eq!(seen["display_name"], "Countess");
    assert!(seen.get("email").is_none());
    let (_, seen) = rig.get(&bob, "/v1/users/by-name/ADA").await;
    assert_eq!(seen["id"], json!(ada.user.to_string()));
    is(&rig.get(&bob, "/v1/users/by-name/ada@example.org").await, 404, "not_found");
    is(&rig.get(&bob, &format!("/v1/users/{}", uuid::Uuid::now_v7())).await, 404, "not_found");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_or_wrong_is_said() {
    let rig = Rig::new().await;
    rig.register("ada").await;
    let good = || json!({ "username": "eve", "email": "eve@example.org", "password": PASSWORD });
    let with = |name: &str, value: Value| {
        let mut body = good();
        body[name] = value;
        body
    };
    is(&rig.post("/v1/auth/register", with("username", json!("ADA"))).await, 409, "username_taken");
    is(&rig.post("/v1/auth/register", with("email", json!("ADA@example.org"))).await, 409, "email_taken");
    for (name, value) in [
        ("username", json!("-eve")),
        ("email", json!("eve")),
        ("password", json!("short")),
        ("display_name", json!("a\u{0}b")),
        ("password", json!(7)),
        ("role", json!("owner")),
    ] {
        let answer = rig.post("/v1/auth/register", with(name, value)).await;
        is(&answer, 422, "invalid_field");
        assert!(answer.1["detail"].as_str().unwrap().contains(name) || name == "password", "{}", answer.1);
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_accounts_answer_like_wrong_passwords() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let mut answers = Vec::new();
    for (login, password) in [
        ("ada", "wrong password"),
        ("nobody", "wrong password"),
        ("nobody@example.org", "wrong password"),
        ("no such name!", "wrong password"),
        ("ada", ""),
        ("ada", &"x".repeat(1_000)),
    ] {
        let response = rig.request(Method::POST, "/v1/auth/login").json(&json!({ "login": login, "password": password }));
        let response = response.send().await.unwrap();
        let headers: Vec<_> =
            response.headers().iter().filter(|(name, _)| *name != "date").map(|h| format!("{h:?}")).collect();
        answers.push((response.status(), headers, response.text().await.unwrap()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert!(answers[0].2.contains("invalid_credentials"));
    // A disabled account is told so only with its password.
    rig.store.set_account_status(ada.user, account::DISABLED, 1).await.unwrap();
    let wrong = rig.post("/v1/auth/login", json!({ "login": "ada", "password": "wrong password" })).await;
    is(&wrong, 401, "invalid_credentials");
    let right = rig.post("/v1/auth/login", json!({ "login": "ada", "password": PASSWORD })).await;
    is(&right, 403, "account_disabled");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_tokens_are_good_once() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let (status, next) = rig.post("/v1/auth/refresh", json!({ "refresh_token": ada.refresh })).await;
    assert_eq!(status, StatusCode::OK, "{next}");
    assert_eq!(next["session_id"], json!(ada.login), "the same login");
    assert_ne!(next["refresh_token"], json!(ada.refresh));
    let renewed = Person::of(&json!(ada.user.to_string()), &next);
    assert_eq!(rig.get(&renewed, "/v1/users/me").await.0, StatusCode::OK);
    is(&rig.post("/v1/auth/refresh", json!({ "refresh_token": "unknown" })).await, 401, "unauthenticated");
    // Two hold it: the login ends for both, at once.
    is(&rig.post("/v1/auth/refresh", json!({ "refresh_token": ada.refresh })).await, 401, "session_revoked");
    is(&rig.get(&renewed, "/v1/users/me").await, 401, "session_revoked");
    let late = rig.post("/v1/auth/refresh", json!({ "refresh_token": renewed.refresh })).await;
    assert_eq!(late.0, StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_millis(50)).await;
    {
        let controls = rig.controls.lock().unwrap();
        let told =
            |control: &&Control| matches!(control, Control::LoginRevoked { user, login: Some(_) } if *user == ada.user);
        assert!(controls.iter().any(|control| told(&control)), "live sessions are told: {controls:?}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_listed_and_ended() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let body = json!({ "login": "ada", "password": PASSWORD, "label": "phone" });
    let (_, answer) = rig.post("/v1/auth/login", body).await;
    let phone = Person::of(&answer["user"]["id"], &answer["tokens"]);
    let (_, list) = rig.get(&ada, "/v1/auth/sessions").await;
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let of = |login: &str| sessions.iter().find(|entry| entry["id"] == json!(login)).unwrap();
    assert_eq!((&of(&phone.login)["label"], &of(&phone.login)["current"]), (&json!("phone"), &json!(false)));
    assert_eq!(of(&ada.login)["current"], json!(true));
    let bob = rig.register("bob").await;
    let path = format!("/v1/auth/sessions/{}", phone.login);
    is(&rig.call(&bob, Method::DELETE, &path, Value::Null).await, 404, "not_found");
    assert_eq!(rig.get(&phone, "/v1/users/me").await.0, StatusCode::OK);
    assert_eq!(rig.call(&ada, Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    is(&rig.get(&phone, "/v1/users/me").await, 401, "session_revoked");
    is(&rig.call(&ada, Method::DELETE, &path, Value::Null).await, 404, "not_found");
    assert_eq!(rig.call(&ada, Method::POST, "/v1/auth/logout", Value::Null).await.0, StatusCode::NO_CONTENT);
    is(&rig.get(&ada, "/v1/users/me").await, 401, "session_revoked");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_asked_for() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let bare = rig.request(Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(bare.headers()["www-authenticate"], "Bearer");
    is(&rig.send(rig.request(Method::GET, "/v1/users/me")).await, 401, "unauthenticated");
    is(&rig.send(rig.request(Method::GET, "/v1/users/me").bearer_auth("forged")).await, 401, "unauthenticated");
    is(&rig.send(rig.request(Method::GET, "/v1/users/me").basic_auth("ada", Some(PASSWORD))).await, 401, "unauthenticated");
    rig.store.set_account_status(ada.user, account::DISABLED, 1).await.unwrap();
    rig.accounts.account_changed(components::rows::AccountRow { user: ada.user, status: account::DISABLED });
    is(&rig.get(&ada, "/v1/users/me").await, 403, "account_disabled");
    let (status, jwks) = rig.send(rig.request(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!((status, &jwks["keys"][0]["crv"]), (StatusCode::OK, &json!("Ed25519")));
    rig.end().await;
    let shared = Rig::with(Options { jwt_secret: Some("0123456789abcdef0123456789abcdef"), ..Options::default() }).await;
    let bob = shared.register("bob").await;
    assert_eq!(shared.get(&bob, "/v1/users/me").await.0, StatusCode::OK);
    let (_, jwks) = shared.send(shared.request(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!(jwks, json!({ "keys": [] }));
    shared.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_have_budgets() {
    let rate = Rate { times: 2, period: Duration::from_secs(600) };
    let rig = Rig::with(Options { register: rate, login: rate, forwarded_for: true, ..Options::default() }).await;
    rig.register("ada").await;
    rig.register("bob").await;
    let body = json!({ "username": "eve", "email": "eve@example.org", "password": PASSWORD });
    let refused = rig.request(Method::POST, "/v1/auth/register").json(&body).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait), "{wait}");
    // Behind a proxy it is the last entry that counts; the client can write the others itself.
    let spoofed =
        rig.request(Method::POST, "/v1/auth/register").json(&body).header("x-forwarded-for", "10.9.9.9, 127.0.0.1");
    is(&rig.send(spoofed).await, 429, "rate_limited");
    let other = rig.request(Method::POST, "/v1/auth/register").json(&body).header("x-forwarded-for", "127.0.0.1, 10.9.9.9");
    assert_eq!(rig.send(other).await.0, StatusCode::CREATED);
    let login = || json!({ "login": "ada", "password": "wrong password" });
    is(&rig.post("/v1/auth/login", login()).await, 401, "invalid_credentials");
    is(&rig.post("/v1/auth/login", login()).await, 401, "invalid_credentials");
    is(&rig.post("/v1/auth/login", login()).await, 429, "rate_limited");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_password_queue_is_503() {
    let rig = Rig::with(Options { password_threads: 0, password_queue: 1, ..Options::default() }).await;
    let login = || rig.request(Method::POST, "/v1/auth/login").json(&json!({ "login": "ada", "password": PASSWORD }));
    let (first, base) = (login(), rig.base.clone());
    // The first one waits for ever: there is no thread.
    let waiting = tokio::spawn(async move { first.send().await.map(|response| response.status()) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let response = login().send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{base}");
    assert!(response.headers().contains_key("retry-after"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "overloaded");
    assert!(body["retry_after_ms"].as_u64().unwrap() > 0);
    waiting.abort();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_a_user_are_bounded() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    for n in 0..server::limits::LOGINS_PER_USER_MAX {
        let body = json!({ "login": "ada", "password": PASSWORD, "label": format!("{n}") });
        assert_eq!(rig.post("/v1/auth/login", body).await.0, StatusCode::OK);
    }
    assert_eq!(rig.accounts.logins(ada.user).await.unwrap().len(), server::limits::LOGINS_PER_USER_MAX);
    is(&rig.get(&ada, "/v1/users/me").await, 401, "session_revoked");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_on_their_way_do_not_outlive_what_ended_the_others() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let body = json!({ "login": "ada", "password": PASSWORD });
    let mut asked = Vec::new();
    for _ in 0..12 {
        let login = rig.request(Method::POST, "/v1/auth/login").json(&body);
        asked.push(tokio::spawn(async move { login.send().await.unwrap().json::<Value>().await.unwrap() }));
    }
    // Some have been answered by now, some wait for their password to be checked.
    tokio::time::sleep(Duration::from_millis(30)).await;
    rig.accounts.reset_password(ada.user, "another-password-1".to_owned()).await.unwrap();
    for answer in asked {
        let answer = answer.await.unwrap();
        let Some(token) = answer["tokens"]["refresh_token"].as_str() else { continue };
        let (status, _) = rig.post("/v1/auth/refresh", json!({ "refresh_token": token })).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "a login with the old password lives on");
    }
    assert_eq!(rig.accounts.logins(ada.user).await.unwrap(), []);
    is(&rig.post("/v1/auth/login", body).await, 401, "invalid_credentials");
    rig.end().await;
}
