//! The table of contents of the product: every address, then what each request passes through.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode},
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use super::{
    account, assets, audit, backups, browse, compare, databases, diffs, document as openapi_document, engines, error::Failure, events,
    exports, jobs, logs, middleware, notifiers, projects, restores, retention, schedules, stores, system,
};
use crate::{
    error::{Error, Result},
    services::Ctx,
};

/// Largest form or JSON body, bytes. Uploads have their own limit.
const BODY_LIMIT: usize = 1024 * 1024;

type Routes = OpenApiRouter<Arc<Ctx>>;

/// Addresses with their methods.
type Table = Vec<(&'static str, Vec<(Method, MethodRouter<Arc<Ctx>>)>)>;

/// One address of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub method: Method,
    pub path: String,
    /// Reached without a session.
    pub public: bool,
}

/// Addresses under /api, for programs. All are in the OpenAPI document by construction.
fn api() -> Routes {
    Routes::with_openapi(openapi_document::base())
        // databases
        .routes(routes!(databases::list::api, databases::create::api))
        .routes(routes!(databases::test_connection::api_unsaved))
        .routes(routes!(databases::show::api, databases::update::api, databases::delete::api))
        .routes(routes!(databases::test_connection::api))
        .routes(routes!(engines::list))
        // projects
        .routes(routes!(projects::list::api, projects::change::api_create))
        .routes(routes!(projects::list::api_one, projects::change::api_update, projects::change::api_delete))
        // backups
        .routes(routes!(backups::list::api, backups::start::api))
        .routes(routes!(backups::show::api, backups::delete::api))
        .routes(routes!(backups::download::api))
        .routes(routes!(backups::logs::api))
        .routes(routes!(backups::tables::api))
        .routes(routes!(backups::rows::api_tables))
        .routes(routes!(backups::rows::api))
        .routes(routes!(backups::rows::api_history))
        .routes(routes!(backups::verify::api))
        .routes(routes!(backups::cancel::api))
        .routes(routes!(backups::pin::api_pin, backups::pin::api_unpin))
        // schedules
        .routes(routes!(schedules::list::api, schedules::create::api))
        .routes(routes!(schedules::preview::api))
        .routes(routes!(schedules::show::api, schedules::update::api, schedules::delete::api))
        .routes(routes!(schedules::enable::api_enable))
        .routes(routes!(schedules::enable::api_disable))
        .routes(routes!(schedules::run::api))
        .routes(routes!(schedules::preview::api_stored))
        .routes(routes!(schedules::show::api_runs))
        // restores
        .routes(routes!(restores::list::api, restores::start::api))
        .routes(routes!(restores::upload::api).layer(DefaultBodyLimit::disable()))
        .routes(routes!(restores::show::api))
        .routes(routes!(restores::logs::api))
        .routes(routes!(restores::cancel::api))
        // comparisons
        .routes(routes!(diffs::api::list, diffs::api::start))
        .routes(routes!(diffs::api::show, diffs::api::delete))
        .routes(routes!(diffs::api::cancel))
        .routes(routes!(diffs::api::logs))
        .routes(routes!(diffs::api::tables))
        .routes(routes!(diffs::api::schema))
        .routes(routes!(diffs::api::changes))
        .routes(routes!(diffs::api::value))
        .routes(routes!(diffs::api::patch))
        .routes(routes!(diffs::api::restore))
        .routes(routes!(exports::api))
        // jobs
        .routes(routes!(jobs::list::api))
        .routes(routes!(jobs::queue::api))
        .routes(routes!(jobs::dead::api_retry))
        .routes(routes!(jobs::dead::api_drop))
        .routes(routes!(jobs::show::api, jobs::priority::api))
        .routes(routes!(jobs::logs::api))
        .routes(routes!(jobs::cancel::api))
        .routes(routes!(jobs::retry::api))
        .routes(routes!(logs::list::api))
        .routes(routes!(logs::export::api))
        // retention
        .routes(routes!(retention::list::api, retention::create::api))
        .routes(routes!(retention::preview::api_plan))
        .routes(routes!(retention::preview::api_draft))
        .routes(routes!(retention::run::api))
        .routes(routes!(retention::show::api, retention::update::api, retention::delete::api))
        .routes(routes!(retention::preview::api))
        .routes(routes!(retention::choose::api))
        .routes(routes!(backups::copies::api))
        // stores
        .routes(routes!(stores::list::api, stores::create::api))
        .routes(routes!(stores::show::api, stores::update::api, stores::delete::api))
        .routes(routes!(stores::test::api))
        .routes(routes!(stores::objects::api))
        // notifications
        .routes(routes!(notifiers::list::api, notifiers::change::api_create))
        .routes(routes!(notifiers::list::api_one, notifiers::change::api_update, notifiers::change::api_delete))
        .routes(routes!(notifiers::test::api))
        .routes(routes!(notifiers::deliveries::api))
        .routes(routes!(notifiers::list::api_kinds))
        .routes(routes!(notifiers::deliveries::api_notices))
        .routes(routes!(notifiers::alerts::api))
        // accounts
        .routes(routes!(account::users::api_list, account::users::api_create))
        .routes(routes!(account::users::api_update, account::users::api_delete))
        .routes(routes!(account::sessions::api_list))
        .routes(routes!(account::sessions::api_revoke))
        .routes(routes!(account::keys::api_list, account::keys::api_create))
        .routes(routes!(account::keys::api_delete))
        .routes(routes!(audit::list::api))
        // the product itself
        .routes(routes!(system::status::api))
        .routes(routes!(system::settings::api_get, system::settings::api_put))
        .routes(routes!(system::stats::api))
        .routes(routes!(system::maintenance::api))
        .routes(routes!(events::api::stream))
}

/// Addresses under /api that need no session.
fn public_api() -> Routes {
    Routes::default().routes(routes!(system::health::live)).routes(routes!(system::health::ready)).routes(routes!(engines::openapi))
}

/// Pages and their forms.
fn pages() -> Table {
    let unlimited = DefaultBodyLimit::disable;
    vec![
        ("/", vec![(Method::GET, get(system::dashboard::page))]),
        ("/databases", vec![(Method::GET, get(databases::list::page)), (Method::POST, post(databases::create::submit))]),
        ("/databases/new", vec![(Method::GET, get(databases::create::page)), (Method::POST, post(databases::create::from_url))]),
        ("/databases/test", vec![(Method::POST, post(databases::test_connection::form_part))]),
        ("/databases/{id}", vec![(Method::GET, get(databases::show::page)), (Method::POST, post(databases::update::submit))]),
        ("/databases/{id}/edit", vec![(Method::GET, get(databases::update::page))]),
        ("/databases/{id}/test", vec![(Method::POST, post(databases::test_connection::stored_part))]),
        ("/databases/{id}/backup", vec![(Method::POST, post(databases::show::back_up))]),
        ("/databases/{id}/delete", vec![(Method::POST, post(databases::delete::submit))]),
        ("/projects", vec![(Method::GET, get(projects::list::page)), (Method::POST, post(projects::change::create))]),
        ("/projects/new", vec![(Method::GET, get(projects::change::new_page))]),
        ("/projects/{id}", vec![(Method::POST, post(projects::change::update))]),
        ("/projects/{id}/edit", vec![(Method::GET, get(projects::change::edit_page))]),
        ("/projects/{id}/delete", vec![(Method::POST, post(projects::change::delete))]),
        ("/backups", vec![(Method::GET, get(backups::list::page))]),
        ("/backups/{id}", vec![(Method::GET, get(backups::show::page))]),
        ("/backups/{id}/cancel", vec![(Method::POST, post(backups::cancel::submit))]),
        ("/backups/{id}/verify", vec![(Method::POST, post(backups::verify::submit))]),
        ("/backups/{id}/pin", vec![(Method::POST, post(backups::pin::submit))]),
        ("/backups/{id}/delete", vec![(Method::POST, post(backups::delete::submit))]),
        ("/backups/{id}/browse", vec![(Method::GET, get(browse::rows::page))]),
        ("/backups/{id}/browse/export", vec![(Method::POST, post(browse::export::submit))]),
        ("/backups/{id}/browse/row", vec![(Method::GET, get(browse::row::page))]),
        ("/schedules", vec![(Method::GET, get(schedules::list::page)), (Method::POST, post(schedules::create::submit))]),
        ("/schedules/new", vec![(Method::GET, get(schedules::create::page))]),
        ("/schedules/preview", vec![(Method::POST, post(schedules::preview::form_part))]),
        ("/schedules/tables", vec![(Method::GET, get(schedules::preview::tables_part))]),
        ("/schedules/{id}", vec![(Method::GET, get(schedules::show::page)), (Method::POST, post(schedules::update::submit))]),
        ("/schedules/{id}/edit", vec![(Method::GET, get(schedules::update::page))]),
        ("/schedules/{id}/enabled", vec![(Method::POST, post(schedules::enable::submit))]),
        ("/schedules/{id}/run", vec![(Method::POST, post(schedules::run::submit))]),
        ("/schedules/{id}/delete", vec![(Method::POST, post(schedules::delete::submit))]),
        ("/compare", vec![(Method::GET, get(compare::picker::page)), (Method::POST, post(compare::picker::submit))]),
        ("/diffs/{id}", vec![(Method::GET, get(compare::show::page))]),
        ("/diffs/{id}/value", vec![(Method::GET, get(compare::value::page))]),
        ("/diffs/{id}/cancel", vec![(Method::POST, post(compare::end::cancel))]),
        ("/diffs/{id}/delete", vec![(Method::POST, post(compare::end::delete))]),
        ("/diffs/{id}/restore", vec![(Method::POST, post(compare::restore::plan))]),
        ("/diffs/{id}/restore/check", vec![(Method::POST, post(compare::restore::check))]),
        ("/diffs/{id}/restore/start", vec![(Method::POST, post(compare::restore::start))]),
        ("/restores", vec![(Method::GET, get(restores::list::page)), (Method::POST, post(restores::start::submit))]),
        ("/restores/{id}", vec![(Method::GET, get(restores::show::page))]),
        ("/restores/{id}/cancel", vec![(Method::POST, post(restores::cancel::submit))]),
        ("/restore/new", vec![(Method::GET, get(restores::wizard::page))]),
        ("/restore/plan", vec![(Method::POST, post(restores::wizard::check))]),
        ("/restore/upload", vec![(Method::POST, post(restores::upload::submit).layer(unlimited()))]),
        ("/jobs", vec![(Method::GET, get(jobs::list::page))]),
        ("/jobs/retry", vec![(Method::POST, post(jobs::dead::submit_retry))]),
        ("/jobs/drop", vec![(Method::POST, post(jobs::dead::submit_drop))]),
        ("/jobs/{id}/priority", vec![(Method::POST, post(jobs::priority::submit))]),
        ("/jobs/{id}", vec![(Method::GET, get(jobs::show::page))]),
        ("/jobs/{id}/live", vec![(Method::GET, get(jobs::live::stream))]),
        ("/jobs/{id}/cancel", vec![(Method::POST, post(jobs::cancel::submit))]),
        ("/jobs/{id}/retry", vec![(Method::POST, post(jobs::retry::submit))]),
        ("/logs", vec![(Method::GET, get(logs::list::page))]),
        ("/retention-policies", vec![(Method::GET, get(retention::list::page)), (Method::POST, post(retention::create::submit))]),
        ("/retention-policies/new", vec![(Method::GET, get(retention::create::page))]),
        ("/retention-policies/plan", vec![(Method::GET, get(retention::preview::page))]),
        ("/retention-policies/preview", vec![(Method::POST, post(retention::preview::part))]),
        ("/retention-policies/run", vec![(Method::POST, post(retention::run::submit))]),
        ("/retention-policies/manual", vec![(Method::POST, post(retention::choose::submit))]),
        ("/retention-policies/{id}", vec![(Method::POST, post(retention::update::submit))]),
        ("/retention-policies/{id}/edit", vec![(Method::GET, get(retention::update::page))]),
        ("/retention-policies/{id}/delete", vec![(Method::POST, post(retention::delete::submit))]),
        ("/stores", vec![(Method::GET, get(stores::list::page)), (Method::POST, post(stores::create::submit))]),
        ("/stores/new", vec![(Method::GET, get(stores::create::page))]),
        ("/stores/{id}", vec![(Method::POST, post(stores::update::submit))]),
        ("/stores/{id}/edit", vec![(Method::GET, get(stores::update::page))]),
        ("/stores/{id}/test", vec![(Method::POST, post(stores::test::submit))]),
        ("/stores/{id}/delete", vec![(Method::POST, post(stores::delete::submit))]),
        ("/notifiers", vec![(Method::GET, get(notifiers::list::page)), (Method::POST, post(notifiers::change::create))]),
        ("/notifiers/new", vec![(Method::GET, get(notifiers::change::new_page))]),
        ("/notifiers/databases", vec![(Method::GET, get(notifiers::databases::suggest)), (Method::POST, post(notifiers::databases::add))]),
        ("/notifiers/{id}", vec![(Method::POST, post(notifiers::change::update))]),
        ("/notifiers/{id}/edit", vec![(Method::GET, get(notifiers::change::edit_page))]),
        ("/notifiers/{id}/test", vec![(Method::POST, post(notifiers::test::submit))]),
        ("/notifiers/{id}/delete", vec![(Method::POST, post(notifiers::change::delete))]),
        ("/audit", vec![(Method::GET, get(audit::list::page))]),
        ("/settings", vec![(Method::GET, get(system::settings::page)), (Method::POST, post(system::settings::submit))]),
        ("/settings/maintenance", vec![(Method::POST, post(system::maintenance::submit))]),
        ("/account", vec![(Method::GET, get(account::show::page))]),
        ("/account/password", vec![(Method::POST, post(account::password::submit))]),
        ("/account/sessions/{id}/revoke", vec![(Method::POST, post(account::sessions::submit_revoke))]),
        ("/account/keys", vec![(Method::POST, post(account::keys::submit_create))]),
        ("/account/keys/{id}/delete", vec![(Method::POST, post(account::keys::submit_delete))]),
        ("/logout", vec![(Method::POST, post(account::logout::submit))]),
        ("/jump", vec![(Method::GET, get(system::jump::page))]),
        ("/live", vec![(Method::GET, get(events::changes::follow))]),
    ]
}

/// What is reached without a session.
fn public_pages() -> Table {
    vec![
        ("/setup", vec![(Method::GET, get(account::setup::page)), (Method::POST, post(account::setup::submit))]),
        ("/login", vec![(Method::GET, get(account::login::page)), (Method::POST, post(account::login::submit))]),
        ("/exports/{token}", vec![(Method::GET, get(exports::file))]),
        ("/metrics", vec![(Method::GET, get(system::metrics::text))]),
        ("/theme", vec![(Method::GET, get(system::theme::set))]),
        ("/static/{*name}", vec![(Method::GET, get(assets::serve))]),
    ]
}

/// The whole product as a router. Errors when BASE_URL cannot be an origin.
pub fn router(ctx: Arc<Ctx>) -> Result<Router> {
    let add = |router: Router<Arc<Ctx>>, table: Table| {
        table
            .into_iter()
            .flat_map(|(path, methods)| methods.into_iter().map(move |(_, method)| (path, method)))
            .fold(router, |router, (path, method)| router.route(path, method))
    };
    let private = add(api().into(), pages()).route_layer(from_fn(middleware::identity::require));
    let public = add(public_api().into(), public_pages());
    let csrf = middleware::csrf::layer(ctx.config.base_url.as_ref())?;
    // Each `layer` goes around those above it.
    let router = private
        .merge(public)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(csrf)
        .layer(from_fn_with_state(Arc::clone(&ctx), middleware::host::check))
        .layer(CatchPanicLayer::custom(middleware::panics::answer))
        .layer(from_fn_with_state(Arc::clone(&ctx), middleware::errors::answer))
        .layer(from_fn_with_state(Arc::clone(&ctx), middleware::identity::find))
        .layer(compression())
        .layer(from_fn(middleware::headers::add))
        .layer(from_fn(middleware::request::trace));
    Ok(router.with_state(ctx))
}

/// The OpenAPI document of everything under /api.
pub fn document() -> OpenApi {
    let mut document = api().to_openapi();
    document.merge(public_api().to_openapi());
    openapi_document::finish(document)
}

/// Every address with its methods, for the tests that walk them all.
pub fn entries() -> Vec<Entry> {
    let paged = |table: Table, public| {
        table
            .into_iter()
            .flat_map(move |(path, methods)| methods.into_iter().map(move |(method, _)| Entry { method, path: path.to_owned(), public }))
    };
    let documented = |mut routes: Routes, public| {
        openapi_document::operations(&routes.to_openapi()).into_iter().map(move |(method, path)| Entry { method, path, public })
    };
    documented(api(), false).chain(documented(public_api(), true)).chain(paged(pages(), false)).chain(paged(public_pages(), true)).collect()
}

/// Text is compressed; artifacts, which are already, and event streams, which must not wait, are not.
fn compression() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().compress_when(
        SizeAbove::new(1024)
            .and(NotForContentType::const_new("text/event-stream"))
            .and(NotForContentType::const_new("application/octet-stream")),
    )
}

async fn not_found(request: axum::extract::Request) -> Failure {
    Error::not_found(format_args!("the address {}", request.uri().path())).hint("check the address, or start at /").into()
}

async fn wrong_method(request: axum::extract::Request) -> (StatusCode, Failure) {
    let error = Error::validation(format!("{} does not take {}", request.uri().path(), request.method()));
    (StatusCode::METHOD_NOT_ALLOWED, error.hint("see /api/openapi.json for what it takes").into())
}
