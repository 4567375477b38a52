//! Asking stores how they are. A store that hangs is asked once, however many wait for its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::timeout;

use super::Store;
use crate::{
    domain::{ids::StoreId, store::StoreHealth},
    error::{Error, Kind, Result},
};

type Answer = Shared<BoxFuture<'static, Result<StoreHealth, Arc<Error>>>>;

/// The questions that are under way. Clones share them.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<HashMap<StoreId, Answer>>>);

impl Asked {
    /// How the store is, as it answers to whoever asked first. Errors when it does not answer for as long as `patience`; it is
    /// not asked again then before it has.
    pub async fn ask(&self, id: StoreId, store: Arc<dyn Store>, patience: Duration) -> Result<StoreHealth> {
        match timeout(patience, self.answer(id, store)).await {
            Ok(Ok(health)) => Ok(health),
            Ok(Err(error)) => Err(copy(&error)),
            Err(_) => Err(Error::new(Kind::Storage, format!("the store did not answer within {patience:?}"))
                .hint("does its disk or its network share hang?")
                .retryable()),
        }
    }

    /// Forgets a question: the store is another one now.
    pub fn forget(&self, id: StoreId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn answer(&self, id: StoreId, store: Arc<dyn Store>) -> Answer {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = asked.get(&id).filter(|answer| answer.peek().is_none()) {
            return answer.clone();
        }
        // On its own: it comes to its end although everybody who waited has left.
        let asking = tokio::spawn(async move { store.health().await });
        let answer = async move {
            let told = asking.await.map_err(|cause| Error::internal("asking the store ended early").source(cause));
            told.and_then(|health| health).map_err(Arc::new)
        };
        let answer = answer.boxed().shared();
        asked.insert(id, answer.clone());
        answer
    }
}

/// An error that is told to everybody who waits.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.kind, error.to_string());
    if error.retryable { copy.retryable() } else { copy }
}
