//! Access tokens: JSON Web Tokens (RFC 7519) with one algorithm for each key. By default Ed25519 (`EdDSA`, RFC 8037), whose public keys
//! are at `/.well-known/jwks.json`; HS256 where the configuration gives a shared secret.
//!
//! A token says who (`sub`), by which login (`sid`), of and for whom (`iss`, `aud`), from when to when (`nbf`, `exp`); each of these must
//! be there. It says nothing of what the user may do.

use super::known::KnownTokens;
use crate::clock::now_ms;
use crate::config::Config;
use crate::keys::{JwtKey, Keys};
use crate::limits::{ACCESS_TOKEN_LIFETIME, TOKEN_LEEWAY_S};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client_protocol::limits::TOKEN_BYTES_MAX;
use client_protocol::{SessionId, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Who issues tokens.
pub const ISSUER: &str = "starling";
/// For whom they are.
pub const AUDIENCE: &str = "starling";

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or not one of ours.
    #[error("the token is not valid")]
    Invalid,
    /// It was one of ours, and is over.
    #[error("the token has expired")]
    Expired,
}

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub user: UserId,
    /// By which login.
    pub login: SessionId,
    /// When it ends, Unix time in milliseconds.
    pub expires_ms: u64,
}

/// What is kept of a token: tokens themselves are not.
pub(super) type TokenHash = [u8; 32];

/// SHA-256 of a token.
pub(super) fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// A token just made.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// How long it is good, in seconds.
    pub expires_in_s: u64,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct WireClaims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: u64,
    nbf: u64,
    exp: u64,
}

struct Verifier {
    kid: Option<String>,
    key: DecodingKey,
}

/// Makes and checks access tokens.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    verifiers: Vec<Verifier>,
    validation: Validation,
    lifetime: Duration,
    jwks: serde_json::Value,
    known: KnownTokens,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("algorithm", &self.header.alg).field("kid", &self.header.kid).finish_non_exhaustive()
    }
}

/// The key as RFC 8037 writes it, and the name that follows from it (RFC 7638: thumbprint).
fn jwk(public: &[u8; 32]) -> (String, serde_json::Value) {
    let x = URL_SAFE_NO_PAD.encode(public);
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    let kid = URL_SAFE_NO_PAD.encode(thumbprint);
    let jwk = serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" });
    (kid, jwk)
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_nbf = true;
    validation.leeway = TOKEN_LEEWAY_S;
    validation
}

impl Tokens {
    /// As the configuration says: HS256 with its secret if it has one, else Ed25519.
    #[must_use]
    pub fn from_config(keys: &Keys, config: &Config) -> Self {
        let lifetime = Duration::from_secs(config.access_token_s);
        match &config.jwt_secret {
            Some(secret) => Self::hs256(secret.bytes(), lifetime),
            None => Self::ed25519(&keys.jwt, lifetime),
        }
    }

    /// Tokens signed with Ed25519. `lifetime` above [`ACCESS_TOKEN_LIFETIME`] is cut.
    #[must_use]
    pub fn ed25519(key: &JwtKey, lifetime: Duration) -> Self {
        let known: Vec<_> = std::iter::once(&key.public).chain(&key.previous).map(|public| (public, jwk(public))).collect();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = known.first().map(|(_, (kid, _))| kid.clone());
        let verifier = |(public, (kid, _)): &(&[u8; 32], (String, serde_json::Value))| Verifier {
            kid: Some(kid.clone()),
            key: DecodingKey::from_ed_der(public.as_slice()),
        };
        Self {
            header,
            signing: EncodingKey::from_ed_der(&key.pkcs8),
            verifiers: known.iter().map(verifier).collect(),
            validation: validation(Algorithm::EdDSA),
            lifetime: lifetime.min(ACCESS_TOKEN_LIFETIME),
            jwks: serde_json::json!({ "keys": known.iter().map(|(_, (_, jwk))| jwk).collect::<Vec<_>>() }),
            known: KnownTokens::default(),
        }
    }

    /// Tokens signed with HS256 and a shared secret. `lifetime` above [`ACCESS_TOKEN_LIFETIME`] is cut.
    #[must_use]
    pub fn hs256(secret: &[u8], lifetime: Duration) -> Self {
        Self {
            header: Header::new(Algorithm::HS256),
            signing: EncodingKey::from_secret(secret),
            verifiers: vec![Verifier { kid: None, key: DecodingKey::from_secret(secret) }],
            validation: validation(Algorithm::HS256),
            lifetime: lifetime.min(ACCESS_TOKEN_LIFETIME),
            jwks: serde_json::json!({ "keys": [] }),
            known: KnownTokens::default(),
        }
    }

    /// The public keys, as a JWK set (RFC 7517). None where the key is shared.
    #[must_use]
    pub const fn jwks(&self) -> &serde_json::Value {
        &self.jwks
    }

    /// Makes a token for a login, from `now_ms` (Unix time in milliseconds) on.
    ///
    /// # Errors
    ///
    /// A text for the log where the key cannot sign, which is a fault of the configuration.
    pub fn issue(&self, user: UserId, login: SessionId, now_ms: u64) -> Result<Issued, String> {
        let now_s = now_ms / 1_000;
        let claims = WireClaims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.0,
            sid: login.0,
            iat: now_s,
            nbf: now_s,
            exp: now_s + self.lifetime.as_secs(),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.signing).map_err(|error| error.to_string())?;
        Ok(Issued { token, expires_in_s: self.lifetime.as_secs() })
    }

    /// Checks a token by the clock of this machine. Whether its login is live is another question
    /// ([`super::Accounts::authenticate`]).
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`] only for a token that we signed; [`TokenError::Invalid`] for everything else.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let hash = hash_of(token);
        if let Some(claims) = self.known.claims(&hash) {
            let ends_ms = claims.expires_ms.saturating_add(TOKEN_LEEWAY_S * 1_000);
            return if now_ms() < ends_ms { Ok(claims) } else { Err(TokenError::Expired) };
        }
        let claims = self.check(token)?;
        self.known.remember(hash, claims, now_ms());
        Ok(claims)
    }

    fn check(&self, token: &str) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        // Extensions that must be understood (RFC 7515 section 4.1.11): there is none that we know.
        if header.alg != self.header.alg || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let verifier = self.verifiers.iter().find(|verifier| verifier.kid == header.kid).ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<WireClaims>(token, &verifier.key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?
            .claims;
        // Whoever shares the secret may not give itself longer than we give anybody.
        if claims.exp.saturating_sub(claims.nbf) > ACCESS_TOKEN_LIFETIME.as_secs() {
            return Err(TokenError::Invalid);
        }
        Ok(Claims { user: UserId(claims.sub), login: SessionId(claims.sid), expires_ms: claims.exp.saturating_mul(1_000) })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
