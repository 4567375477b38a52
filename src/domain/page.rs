//! Pages of long lists.

use serde::{Deserialize, Serialize};

/// Which page of a list: `page` counts from 1; `limit` is 1 to 200.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    pub page: u32,
    pub limit: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { page: 1, limit: 50 }
    }
}

impl PageRequest {
    /// The limit, forced into 1 to 200.
    pub fn limit(&self) -> u32 {
        self.limit.clamp(1, 200)
    }

    /// Rows to skip.
    pub fn offset(&self) -> u64 {
        u64::from(self.page.max(1) - 1) * u64::from(self.limit())
    }
}

/// One page of a list and the length of the whole.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub page: u32,
    pub limit: u32,
    pub total: u64,
}

impl<T> Page<T> {
    pub fn new(items: Vec<T>, request: PageRequest, total: u64) -> Self {
        Self { items, page: request.page.max(1), limit: request.limit(), total }
    }

    /// Number of pages, at least 1.
    pub fn pages(&self) -> u32 {
        u32::try_from(self.total.div_ceil(u64::from(self.limit.max(1)))).unwrap_or(u32::MAX).max(1)
    }

    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), page: self.page, limit: self.limit, total: self.total }
    }
}
