//! A listing, page after page.

use super::{Page, Store, StoreError};

/// Asks for the pages of a listing, one at a time: how much of it is held is the caller's to say.
#[derive(Debug)]
pub struct Pages<'s> {
    store: &'s dyn Store,
    prefix: String,
    after: Option<String>,
    ended: bool,
}

impl<'s> Pages<'s> {
    /// The objects whose keys start with `prefix` and are greater than `after`.
    pub fn of(store: &'s dyn Store, prefix: impl Into<String>, after: Option<String>) -> Self {
        Self { store, prefix: prefix.into(), after, ended: false }
    }

    /// The next page; the first may be empty. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.list(&self.prefix, self.after.as_deref()).await?;
        self.after = page.objects.last().map(|object| object.key.clone());
        // A page that is empty and says that more follow has nothing to go on from.
        self.ended = !page.more || self.after.is_none();
        Ok(Some(page))
    }
}
