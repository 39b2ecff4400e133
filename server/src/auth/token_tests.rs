//! Forged tokens of every sort that we know of, and the good one beside them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::auth::now_ms;
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key() -> JwtKey {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    JwtKey { pkcs8: pair.serialize_der(), public: pair.public_key_raw().try_into().unwrap(), previous: None }
}

fn ids() -> (UserId, SessionId) {
    (UserId(Uuid::now_v7()), SessionId(Uuid::now_v7()))
}

fn lifetime() -> Duration {
    Duration::from_secs(600)
}

fn claims() -> Value {
    let (user, login) = ids();
    let now_s = now_ms() / 1_000;
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user.0, "sid": login.0, "iat": now_s, "nbf": now_s, "exp": now_s + 600 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// A token of any header, signed with the Ed25519 key whatever the header says.
fn raw(tokens: &Tokens, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &tokens.signing, tokens.header.alg).unwrap();
    format!("{message}.{signature}")
}

fn header_of(tokens: &Tokens) -> Value {
    serde_json::to_value(&tokens.header).unwrap()
}

#[test]
fn a_token_says_who_and_by_which_login() {
    let (user, login) = ids();
    for tokens in [Tokens::ed25519(&key(), lifetime()), Tokens::hs256(SECRET, lifetime())] {
        let now = now_ms();
        let issued = tokens.issue(user, login, now).unwrap();
        assert!(issued.token.len() < TOKEN_BYTES_MAX);
        let expires_ms = now / 1_000 * 1_000 + issued.expires_in_s * 1_000;
        assert_eq!(tokens.verify(&issued.token), Ok(Claims { user, login, expires_ms }));
    }
}

#[test]
fn lifetimes_are_bounded() {
    let tokens = Tokens::hs256(SECRET, Duration::from_secs(1_000_000));
    let (user, login) = ids();
    assert_eq!(tokens.issue(user, login, now_ms()).unwrap().expires_in_s, ACCESS_TOKEN_LIFETIME.as_secs());
    let long = with("exp", json!(now_ms() / 1_000 + 100_000));
    assert_eq!(tokens.verify(&raw(&tokens, &header_of(&tokens), &long)), Err(TokenError::Invalid));
}

#[test]
fn forged_claims_are_refused() {
    let now_s = now_ms() / 1_000;
    let old = || {
        let mut claims = with("exp", json!(now_s - 60));
        claims["nbf"] = json!(now_s - 600);
        claims
    };
    for tokens in [Tokens::ed25519(&key(), lifetime()), Tokens::hs256(SECRET, lifetime())] {
        let header = header_of(&tokens);
        assert!(tokens.verify(&raw(&tokens, &header, &claims())).is_ok(), "the pattern itself is good");
        assert_eq!(tokens.verify(&raw(&tokens, &header, &old())), Err(TokenError::Expired));
        let forged = [
            ("other audience", with("aud", json!("other"))),
            ("audience list", with("aud", json!(["other"]))),
            ("other issuer", with("iss", json!("other"))),
            ("not yet", with("nbf", json!(now_s + 120))),
            ("sub is no id", with("sub", json!("ada"))),
            ("exp is text", with("exp", json!("never"))),
            ("exp is negative", with("exp", json!(-1))),
            ("no sub", without("sub")),
            ("no sid", without("sid")),
            ("no exp", without("exp")),
            ("no nbf", without("nbf")),
            ("no aud", without("aud")),
            ("no iss", without("iss")),
            ("no object", json!("claims")),
        ];
        for (what, claims) in forged {
            assert_eq!(tokens.verify(&raw(&tokens, &header, &claims)), Err(TokenError::Invalid), "{what}");
        }
    }
}

#[test]
fn forged_headers_and_signatures_are_refused() {
    let key = key();
    let tokens = Tokens::ed25519(&key, lifetime());
    let header = |name: &str, value: Value| {
        let mut header = header_of(&tokens);
        header[name] = value;
        header
    };
    let good = raw(&tokens, &header_of(&tokens), &claims());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(&claims()));
    let kid = header_of(&tokens)["kid"].clone();
    // The old trick: the public key, which everybody knows, taken for a shared secret.
    let confused = Tokens::hs256(&key.public, lifetime());
    let confused_jwk = Tokens::hs256(tokens.jwks().to_string().as_bytes(), lifetime());
    let hs_header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid });
    let other = Tokens::ed25519(&self::key(), lifetime());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[10] ^= 1;
    let forged = [
        ("none", unsigned),
        ("HS256 by the public key", raw(&confused, &hs_header, &claims())),
        ("HS256 by the key set", raw(&confused_jwk, &hs_header, &claims())),
        ("another key under our name", raw(&other, &header_of(&tokens), &claims())),
        ("another key and name", raw(&other, &header_of(&other), &claims())),
        ("our key, another name", raw(&tokens, &header("kid", json!("other")), &claims())),
        ("our key, no name", raw(&tokens, &header("kid", Value::Null), &claims())),
        ("critical extension", raw(&tokens, &header("crit", json!(["b64"])), &claims())),
        ("another algorithm", raw(&tokens, &header("alg", json!("ES256")), &claims())),
        ("flipped bit", format!("{message}.{}", URL_SAFE_NO_PAD.encode(flipped))),
        ("no signature", format!("{message}.")),
        ("cut", good[..good.len() - 4].to_owned()),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("too long", format!("{good}{}", "a".repeat(TOKEN_BYTES_MAX))),
        ("empty", String::new()),
        ("noise", "a.b.c".to_owned()),
    ];
    assert!(tokens.verify(&good).is_ok());
    for (what, token) in forged {
        assert_eq!(tokens.verify(&token), Err(TokenError::Invalid), "{what}");
    }
}

#[test]
fn a_shared_secret_takes_no_other_algorithm() {
    let tokens = Tokens::hs256(SECRET, lifetime());
    let ed = Tokens::ed25519(&key(), lifetime());
    let (user, login) = ids();
    assert_eq!(tokens.verify(&ed.issue(user, login, now_ms()).unwrap().token), Err(TokenError::Invalid));
    let other = Tokens::hs256(b"another secret of thirty-two bytes", lifetime());
    assert_eq!(tokens.verify(&other.issue(user, login, now_ms()).unwrap().token), Err(TokenError::Invalid));
    assert_eq!(tokens.jwks(), &json!({ "keys": [] }));
}

#[test]
fn the_key_before_is_still_known() {
    let (old, new) = (key(), key());
    let (user, login) = ids();
    let token = Tokens::ed25519(&old, lifetime()).issue(user, login, now_ms()).unwrap().token;
    let rotated = Tokens::ed25519(&JwtKey { previous: Some(old.public), ..new }, lifetime());
    assert!(rotated.verify(&token).is_ok());
    let keys = rotated.jwks()["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let header = jsonwebtoken::decode_header(rotated.issue(user, login, now_ms()).unwrap().token).unwrap();
    assert_eq!(header.kid.as_deref(), keys[0]["kid"].as_str());
    assert_eq!(keys[0]["kty"], "OKP");
}
