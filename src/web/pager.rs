//! Links to the pages of a long list, keeping its filters.

use axum::http::Uri;
use url::form_urlencoded;

use crate::domain::page::Page;

#[derive(Debug, Clone)]
pub struct Pager {
    pub page: u32,
    pub pages: u32,
    pub total: u64,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl Pager {
    pub fn new<T>(uri: &Uri, list: &Page<T>) -> Self {
        let link = |page: u32| {
            let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(pairs.filter(|pair| !matches!(&*pair.0, "page" | "notice") && !pair.1.is_empty()));
            query.append_pair("page", &page.to_string());
            format!("{}?{}", uri.path(), query.finish())
        };
        let pages = list.pages();
        Self {
            page: list.page,
            pages,
            total: list.total,
            previous: (list.page > 1).then(|| link(list.page.min(pages + 1) - 1)),
            next: (list.page < pages).then(|| link(list.page + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::page::PageRequest;

    #[test]
    fn links_keep_the_filters_and_stop_at_the_ends() {
        let uri: Uri = "/backups?status=failed&q=&page=2&limit=10&notice=saved".parse().unwrap();
        let pager = Pager::new(&uri, &Page::new(vec![0; 5], PageRequest { page: 2, limit: 10 }, 25));
        assert_eq!(pager.previous.as_deref(), Some("/backups?status=failed&limit=10&page=1"));
        assert_eq!(pager.next.as_deref(), Some("/backups?status=failed&limit=10&page=3"));
        let one = Pager::new(&"/backups".parse().unwrap(), &Page::new(vec![0], PageRequest::default(), 1));
        assert_eq!((one.previous, one.next, one.pages), (None, None, 1));
    }
}
