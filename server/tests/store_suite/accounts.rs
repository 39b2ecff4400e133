//! Accounts and logins.

use super::Rig;
use super::log::user;
use client_protocol::{SessionId, UserId};
use components::edge::{Found, Read};
use components::rows::{AccountRow, account as status};
use server::store::{Account, Login, ProfilePatch, Rotation, StoreError};
use std::sync::Arc;

pub fn account(n: u16, username: &str) -> Account {
    Account {
        user: user(n),
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        display_name: username.to_uppercase(),
        bio: String::new(),
        avatar_url: String::new(),
        password_hash: "$argon2id$…".to_owned(),
        status: status::ACTIVE,
        created_ms: 1_000,
        updated_ms: 1_000,
    }
}

pub async fn created_and_found(rig: Rig) {
    let ada = account(1, "ada");
    rig.store.create_account(ada.clone()).await.unwrap();
    rig.store.create_account(account(2, "bob")).await.unwrap();
    assert_eq!(rig.store.account(user(1)).await.unwrap(), Some(ada.clone()));
    assert_eq!(rig.store.account(user(3)).await.unwrap(), None);
    assert_eq!(rig.store.account_by_name("ada".to_owned()).await.unwrap(), Some(ada.clone()));
    assert_eq!(rig.store.account_by_name("ada@example.org".to_owned()).await.unwrap(), Some(ada.clone()));
    assert_eq!(rig.store.account_by_name("eve".to_owned()).await.unwrap(), None);
    let rig = rig.reopen().await;
    assert_eq!(rig.store.account_by_name("ada".to_owned()).await.unwrap(), Some(ada));
}

pub async fn names_are_unique(rig: Rig) {
    rig.store.create_account(account(1, "ada")).await.unwrap();
    let mut other = account(2, "ada");
    other.email = "other@example.org".to_owned();
    assert!(matches!(rig.store.create_account(other).await, Err(StoreError::UsernameTaken)));
    let mut other = account(2, "eve");
    other.email = "ada@example.org".to_owned();
    assert!(matches!(rig.store.create_account(other).await, Err(StoreError::EmailTaken)));
    // Nothing of what was refused stays.
    assert_eq!(rig.store.account(user(2)).await.unwrap(), None);
    rig.store.create_account(account(2, "eve")).await.unwrap();
}

pub async fn racing_for_a_name(rig: Rig) {
    let tasks: Vec<_> = (1..=16)
        .map(|n| {
            let (store, mut account) = (Arc::clone(&rig.store), account(n, "ada"));
            account.email = format!("{n}@example.org");
            tokio::spawn(async move { store.create_account(account).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => created += 1,
            Err(error) => assert!(matches!(error, StoreError::UsernameTaken)),
        }
    }
    assert_eq!(created, 1);
}

pub async fn profile_is_patched(rig: Rig) {
    rig.store.create_account(account(1, "ada")).await.unwrap();
    let patch = ProfilePatch { bio: Some("counts".to_owned()), ..ProfilePatch::default() };
    let after = rig.store.update_profile(user(1), patch, 2_000).await.unwrap().unwrap();
    assert_eq!((after.bio.as_str(), after.display_name.as_str(), after.updated_ms), ("counts", "ADA", 2_000));
    let patch =
        ProfilePatch { display_name: Some("Ada L.".to_owned()), bio: Some(String::new()), ..ProfilePatch::default() };
    rig.store.update_profile(user(1), patch, 3_000).await.unwrap();
    let rig = rig.reopen().await;
    let found = rig.store.account(user(1)).await.unwrap().unwrap();
    assert_eq!((found.bio.as_str(), found.display_name.as_str(), found.created_ms), ("", "Ada L.", 1_000));
    assert_eq!(rig.store.update_profile(user(9), ProfilePatch::default(), 1).await.unwrap(), None);
}

pub async fn status_is_kept(rig: Rig) {
    rig.store.create_account(account(1, "ada")).await.unwrap();
    let after = rig.store.set_account_status(user(1), status::DISABLED, 2_000).await.unwrap().unwrap();
    assert_eq!((after.status, after.username.as_str()), (status::DISABLED, "ada"));
    assert_eq!(rig.store.set_account_status(user(9), status::DISABLED, 2_000).await.unwrap(), None);
    let rig = rig.reopen().await;
    assert_eq!(rig.store.account(user(1)).await.unwrap().unwrap().status, status::DISABLED);
}

pub async fn erased_frees_names(rig: Rig) {
    rig.store.create_account(account(1, "ada")).await.unwrap();
    rig.store.create_login(login(1, 1), token(1)).await.unwrap();
    let after = rig.store.set_account_status(user(1), status::ERASED, 2_000).await.unwrap().unwrap();
    let texts = [after.username, after.email, after.display_name, after.bio, after.avatar_url, after.password_hash];
    assert!(texts.iter().all(String::is_empty));
    assert_eq!((after.user, after.status), (user(1), status::ERASED));
    assert!(!rig.store.login_is_live(session(1)).await.unwrap());
    assert_eq!(rig.store.account_by_name("ada".to_owned()).await.unwrap(), None);
    rig.store.create_account(account(2, "ada")).await.unwrap();
}

pub async fn account_reads_of_the_world(mut rig: Rig) {
    rig.store.create_account(account(1, "ada")).await.unwrap();
    let wanted = AccountRow { user: user(1), status: status::ACTIVE };
    assert_eq!(rig.read(Read::Account { user: user(1) }).await, Found::Account(Some(wanted), 0));
    assert_eq!(rig.read(Read::Account { user: user(2) }).await, Found::Account(None, 0));
}

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn token(n: u16) -> [u8; 32] {
    let mut token = [0x77; 32];
    token[30..].copy_from_slice(&n.to_be_bytes());
    token
}

fn login(of: u16, n: u8) -> Login {
    let label = format!("device {n}");
    Login { login: session(n), user: user(of), label, created_ms: 1_000 + u64::from(n), used_ms: 1_000, expires_ms: 10_000 }
}

/// What other nodes did to accounts and logins is found by asking for what is different.
pub async fn account_checks_of_the_world(mut rig: Rig) {
    for n in 1..=3 {
        rig.store.create_account(account(n, &format!("user{n}"))).await.unwrap();
        rig.store.create_login(login(n, n as u8), token(n)).await.unwrap();
    }
    let row = |n, status| AccountRow { user: user(n), status };
    let accounts: Vec<_> = (1..=3).chain([9]).map(|n| row(n, status::ACTIVE)).collect();
    let logins: Vec<_> = (1..=3).map(session).collect();
    let all = Read::Accounts { accounts, logins };
    assert_eq!(rig.read(all.clone()).await, Found::Accounts(vec![], vec![]));
    rig.store.set_account_status(user(2), status::DISABLED, 2_000).await.unwrap();
    rig.store.end_login(user(3), session(3)).await.unwrap();
    assert_eq!(rig.read(all).await, Found::Accounts(vec![row(2, status::DISABLED)], vec![session(3)]));
    let known = Read::Accounts { accounts: vec![row(2, status::DISABLED)], logins: vec![session(9)] };
    assert_eq!(rig.read(known).await, Found::Accounts(vec![], vec![session(9)]));
}

pub async fn login_rotates(rig: Rig) {
    rig.store.create_login(login(1, 1), token(1)).await.unwrap();
    assert!(rig.store.login_is_live(session(1)).await.unwrap());
    let wanted = Login { used_ms: 2_000, expires_ms: 20_000, ..login(1, 1) };
    assert_eq!(rig.store.rotate_login(token(1), token(2), 2_000, 20_000).await.unwrap(), Rotation::Rotated(wanted.clone()));
    assert_eq!(rig.store.logins(user(1)).await.unwrap(), vec![wanted]);
    for n in 2..10 {
        let rotation = rig.store.rotate_login(token(n), token(n + 1), 3_000, 30_000).await.unwrap();
        assert!(matches!(rotation, Rotation::Rotated(_)), "token {n}: {rotation:?}");
    }
    assert_eq!(rig.store.rotate_login(token(99), token(100), 3_000, 30_000).await.unwrap(), Rotation::Refused);
}

pub async fn login_reuse_ends_it(rig: Rig) {
    rig.store.create_login(login(1, 1), token(1)).await.unwrap();
    rig.store.create_login(login(1, 2), token(50)).await.unwrap();
    for n in 1..4 {
        rig.store.rotate_login(token(n), token(n + 1), 2_000, 20_000).await.unwrap();
    }
    match rig.store.rotate_login(token(2), token(90), 3_000, 30_000).await.unwrap() {
        Rotation::Reused(ended) => assert_eq!((ended.login, ended.user), (session(1), user(1))),
        other => panic!("{other:?}"),
    }
    assert!(!rig.store.login_is_live(session(1)).await.unwrap());
    // The newest one is void too, the other login is not.
    assert_eq!(rig.store.rotate_login(token(4), token(91), 3_000, 30_000).await.unwrap(), Rotation::Refused);
    assert_eq!(rig.store.rotate_login(token(2), token(91), 3_000, 30_000).await.unwrap(), Rotation::Refused);
    assert!(matches!(rig.store.rotate_login(token(50), token(51), 3_000, 30_000).await.unwrap(), Rotation::Rotated(_)));
}

pub async fn login_expires(rig: Rig) {
    rig.store.create_login(login(1, 1), token(1)).await.unwrap();
    assert_eq!(rig.store.rotate_login(token(1), token(2), 10_000, 30_000).await.unwrap(), Rotation::Refused);
    // Those that nobody shows again are swept by and by.
    rig.store.create_login(login(2, 2), token(20)).await.unwrap();
    for n in 0..64 {
        let late = Login { created_ms: 50_000, expires_ms: 90_000, ..login(3, 100 + n) };
        rig.store.create_login(late, token(100 + u16::from(n))).await.unwrap();
    }
    assert!(!rig.store.login_is_live(session(2)).await.unwrap());
    assert_eq!(rig.store.logins(user(3)).await.unwrap().len(), 64);
}

pub async fn logins_listed_and_ended(rig: Rig) {
    for n in 1..=3 {
        rig.store.create_login(login(1, n), token(n.into())).await.unwrap();
    }
    rig.store.create_login(login(2, 9), token(9)).await.unwrap();
    let listed = async |of: UserId| rig.store.logins(of).await.unwrap().iter().map(|login| login.login).collect::<Vec<_>>();
    assert_eq!(listed(user(1)).await, vec![session(3), session(2), session(1)]);
    // Nobody ends the login of somebody else.
    assert!(!rig.store.end_login(user(2), session(1)).await.unwrap());
    assert!(rig.store.end_login(user(1), session(2)).await.unwrap());
    assert!(!rig.store.end_login(user(1), session(2)).await.unwrap());
    assert_eq!(listed(user(1)).await, vec![session(3), session(1)]);
    assert_eq!(rig.store.rotate_login(token(2), token(30), 2_000, 20_000).await.unwrap(), Rotation::Refused);
    assert_eq!(listed(user(3)).await, vec![]);
}

pub async fn logins_survive_reopen(rig: Rig) {
    rig.store.create_login(login(1, 1), token(1)).await.unwrap();
    rig.store.rotate_login(token(1), token(2), 2_000, 20_000).await.unwrap();
    let rig = rig.reopen().await;
    assert!(rig.store.login_is_live(session(1)).await.unwrap());
    assert!(matches!(rig.store.rotate_login(token(2), token(3), 3_000, 30_000).await.unwrap(), Rotation::Rotated(_)));
    let rig = rig.reopen().await;
    assert!(matches!(rig.store.rotate_login(token(1), token(4), 3_000, 30_000).await.unwrap(), Rotation::Reused(_)));
}

/// However often a login was renewed: the token is never good again.
pub async fn used_token_of_long_ago(rig: Rig) {
    rig.store.create_login(login(1, 1), token(0)).await.unwrap();
    for n in 0..300 {
        let rotation = rig.store.rotate_login(token(n), token(n + 1), 2_000, 20_000).await.unwrap();
        assert!(matches!(rotation, Rotation::Rotated(_)));
    }
    let rotation = rig.store.rotate_login(token(0), token(999), 3_000, 30_000).await.unwrap();
    assert!(!matches!(rotation, Rotation::Rotated(_)));
}
