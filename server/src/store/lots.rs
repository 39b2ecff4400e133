//! Lists of a store, walked lot by lot.

use super::StoreError;

/// A walk through a list whose lots are asked for by what the last one ended with.
pub struct Lots<C, Ask, Key> {
    after: Option<C>,
    ask: Ask,
    key: Key,
}

impl<C, Ask, Key> Lots<C, Ask, Key> {
    /// A walk from the start: `ask` is given where the last lot ended, `key` says where an item is.
    pub const fn new(ask: Ask, key: Key) -> Self {
        Self { after: None, ask, key }
    }

    /// The next lot; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn next<T, Answer>(&mut self) -> Result<Option<Vec<T>>, StoreError>
    where
        C: Copy,
        Ask: Fn(Option<C>) -> Answer,
        Answer: Future<Output = Result<Vec<T>, StoreError>>,
        Key: Fn(&T) -> C,
    {
        let lot = (self.ask)(self.after).await?;
        let Some(last) = lot.last() else { return Ok(None) };
        self.after = Some((self.key)(last));
        Ok(Some(lot))
    }
}
