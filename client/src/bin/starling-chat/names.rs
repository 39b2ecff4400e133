//! Names of users, fetched once and only where they are shown.

use crate::failure::Failure;
use crate::text::clean_line;
use crate::tokens::ProfileTokens;
use starling_client::UserId;
use starling_client::rest::{Rest, User};
use std::collections::HashMap;
use tokio::task::JoinSet;

/// Names that are kept; above it all are forgotten.
const NAMES_MAX: usize = 5_000;
/// Look-ups at a time.
const LOOKUPS_MAX: usize = 8;

/// Users that were looked up.
#[derive(Debug)]
pub(crate) struct Names {
    rest: Rest,
    tokens: ProfileTokens,
    known: HashMap<UserId, Option<User>>,
}

impl Names {
    pub(crate) fn new(rest: Rest, tokens: ProfileTokens, me: &User) -> Self {
        Self { rest, tokens, known: HashMap::from([(me.id, Some(me.clone()))]) }
    }

    /// The id of a username.
    pub(crate) async fn by_name(&mut self, name: &str) -> Result<UserId, Failure> {
        let known = self.known.values().flatten().find(|user| user.username == name);
        if let Some(user) = known {
            return Ok(user.id);
        }
        let access = self.tokens.access(false).await?;
        let user = self.rest.user_by_name(&access.token, name).await?;
        let id = user.id;
        self.known.insert(id, Some(user));
        Ok(id)
    }

    /// A user, if there is one.
    pub(crate) async fn user(&mut self, id: UserId) -> Option<&User> {
        self.fetch([id]).await;
        self.known.get(&id).and_then(Option::as_ref)
    }

    /// Looks up those that are not known yet. Who cannot be looked up is shown by id.
    pub(crate) async fn fetch(&mut self, ids: impl IntoIterator<Item = UserId>) {
        let mut wanted: Vec<UserId> = ids.into_iter().filter(|id| !self.known.contains_key(id)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return;
        }
        if self.known.len() + wanted.len() > NAMES_MAX {
            self.known.clear();
        }
        let Ok(access) = self.tokens.access(false).await else { return };
        let mut wanted = wanted.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < LOOKUPS_MAX
                && let Some(id) = wanted.next()
            {
                let (rest, token) = (self.rest.clone(), access.token.clone());
                under_way.spawn(async move { (id, rest.user(&token, id).await.ok()) });
            }
            match under_way.join_next().await {
                Some(Ok((id, user))) => drop(self.known.insert(id, user)),
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    /// How a user is shown: by username, else by the start of the id. Looks nothing up.
    pub(crate) fn show(&self, id: UserId) -> String {
        match self.known.get(&id) {
            Some(Some(user)) => clean_line(&user.username),
            _ => id.to_string(),
        }
    }
}
