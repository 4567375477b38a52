//! Accounts: the first administrator, signing in, sessions, API keys, roles.

use std::{fs, sync::Arc};

use dbsnap::{
    app::{self, Opened},
    config::Config,
    domain::{
        page::PageRequest,
        permissions::{Actor, Permission, Role},
        secret::Secret,
    },
    error::Kind,
    services::{
        Ctx,
        accounts::{self, Client},
        audit,
    },
};
use rusqlite::Connection;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery";

struct Bench {
    folder: TempDir,
    opened: Opened,
}

impl Bench {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vars = [("ENCRYPTION_KEY", "a key of the tests that is long enough")];
        let vars = vars.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_vars(vars, folder.path()).unwrap();
        Self { opened: app::open(config).await.unwrap(), folder }
    }

    fn ctx(&self) -> &Arc<Ctx> {
        &self.opened.ctx
    }

    /// The catalogue behind the product's back.
    fn file(&self) -> Connection {
        Connection::open(&self.ctx().config.database_path).unwrap()
    }

    /// A setup token as a person finds it in the log: the stored hash is put in place of an announced one.
    fn plant_setup_token(&self) -> &'static str {
        let token = "a-token-from-the-log";
        let hash = dbsnap::auth::token::hash(token);
        let sql = "INSERT INTO settings (name, value, updated_at) VALUES ('setup_token_hash', ?1, 0)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.file().execute(sql, [hash]).unwrap();
        token
    }

    /// With an administrator `anna`, signed in.
    async fn set_up(&self) -> (Actor, Secret) {
        let token = self.plant_setup_token();
        let (_, session) = accounts::setup(self.ctx(), token, "Anna", PASSWORD, from("192.0.2.1")).await.unwrap();
        (self.actor(&session).await.unwrap(), session)
    }

    async fn actor(&self, session: &Secret) -> Option<Actor> {
        accounts::authenticate(self.ctx(), session.expose()).await.unwrap().map(|(actor, _)| actor)
    }

    async fn add(&self, admin: &Actor, name: &str, role: Role) -> Actor {
        accounts::create_user(self.ctx(), admin, name, PASSWORD, role).await.unwrap();
        let (_, session) = accounts::login(self.ctx(), name, PASSWORD, from(&format!("host of {name}"))).await.unwrap();
        self.actor(&session).await.unwrap()
    }
}

fn from(address: &str) -> Client {
    Client { address: Some(address.to_owned()), agent: Some("tests".to_owned()) }
}

#[tokio::test]
async fn only_the_setup_token_makes_the_first_administrator_and_only_once() {
    let bench = Bench::new().await;
    assert!(accounts::setup_needed(bench.ctx()).await.unwrap());
    for wrong in ["", "guessed"] {
        let refused = accounts::setup(bench.ctx(), wrong, "anna", PASSWORD, from("192.0.2.1")).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Forbidden, "without an announced token nothing fits");
    }
    accounts::announce_setup(bench.ctx()).await.unwrap();
    let announced: String =
        bench.file().query_row("SELECT value FROM settings WHERE name = 'setup_token_hash'", [], |row| row.get(0)).unwrap();
    assert_eq!(announced.len(), 64, "what is stored is a SHA-256, not the token");

    let token = bench.plant_setup_token();
    let weak = accounts::setup(bench.ctx(), token, "anna", "short", from("192.0.2.1")).await.unwrap_err();
    assert_eq!(weak.kind, Kind::Validation);
    let (user, session) = accounts::setup(bench.ctx(), token, " Anna ", PASSWORD, from("192.0.2.1")).await.unwrap();
    assert_eq!((user.name.as_str(), user.role), ("anna", Role::Admin));
    assert_eq!(bench.actor(&session).await.unwrap().user_id, Some(user.id));
    assert!(!accounts::setup_needed(bench.ctx()).await.unwrap());
    let late = accounts::setup(bench.ctx(), token, "eve", PASSWORD, from("192.0.2.2")).await.unwrap_err();
    assert_eq!(late.kind, Kind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_setups_at_the_same_time_one_wins() {
    let bench = Bench::new().await;
    let token = bench.plant_setup_token();
    let rivals: Vec<_> = (0..6)
        .map(|n| {
            let ctx = Arc::clone(bench.ctx());
            tokio::spawn(async move { accounts::setup(&ctx, token, &format!("rival{n}"), PASSWORD, from(&format!("192.0.2.{n}"))).await })
        })
        .collect();
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind, Kind::Conflict, "{error}"),
        }
    }
    assert_eq!(won, 1);
    let users: i64 = bench.file().query_row("SELECT COUNT(*) FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(users, 1);
}

#[tokio::test]
async fn a_login_needs_the_right_name_and_password_and_does_not_say_which_was_wrong() {
    let bench = Bench::new().await;
    let (anna, first) = bench.set_up().await;
    let wrong_password = accounts::login(bench.ctx(), "anna", "wrong password", from("192.0.2.3")).await.unwrap_err();
    let wrong_name = accounts::login(bench.ctx(), "nobody", PASSWORD, from("192.0.2.3")).await.unwrap_err();
    assert_eq!((wrong_password.kind, wrong_password.to_string()), (Kind::Unauthorized, wrong_name.to_string()));

    let (_, second) = accounts::login(bench.ctx(), "ANNA", PASSWORD, from("192.0.2.3")).await.unwrap();
    assert_ne!(first.expose(), second.expose(), "each login has its own token");
    assert_eq!(accounts::sessions(bench.ctx(), &anna).await.unwrap().len(), 2);
    assert!(accounts::authenticate(bench.ctx(), "made up").await.unwrap().is_none());

    let trail = audit::list(bench.ctx(), &anna, PageRequest::default()).await.unwrap().items;
    let actions: Vec<_> = trail.iter().map(|event| (event.action.as_str(), event.actor.as_str())).collect();
    assert_eq!(actions, [("login", "anna"), ("login.failed", "nobody"), ("login.failed", "anna"), ("setup", "anna")]);
    assert_eq!(trail[0].address.as_deref(), Some("192.0.2.3"));
}

#[tokio::test]
async fn guessing_is_slowed_down_even_when_the_last_guess_is_right() {
    let bench = Bench::new().await;
    bench.set_up().await;
    for _ in 0..10 {
        let refused = accounts::login(bench.ctx(), "anna", "a wrong password", from("198.51.100.7")).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Unauthorized);
    }
    let limited = accounts::login(bench.ctx(), "anna", PASSWORD, from("198.51.100.7")).await.unwrap_err();
    assert_eq!(limited.kind, Kind::RateLimited);
    accounts::login(bench.ctx(), "anna", PASSWORD, from("192.0.2.1")).await.expect("the owner at another address is not locked out");
}

#[tokio::test]
async fn a_session_ends_at_once_when_it_is_revoked_idle_or_old() {
    let bench = Bench::with(&[("SESSION_IDLE_HOURS", "1"), ("SESSION_MAX_HOURS", "2")]).await;
    let (anna, session) = bench.set_up().await;
    let login = async || accounts::login(bench.ctx(), "anna", PASSWORD, from("192.0.2.1")).await.unwrap().1;

    let revoked = login().await;
    let id = accounts::authenticate(bench.ctx(), revoked.expose()).await.unwrap().unwrap().1.id;
    accounts::revoke_session(bench.ctx(), &anna, id).await.unwrap();
    assert!(bench.actor(&revoked).await.is_none());
    assert_eq!(accounts::revoke_session(bench.ctx(), &anna, id).await.unwrap_err().kind, Kind::NotFound);
    assert!(bench.actor(&session).await.is_some());

    let hour = 3_600_000;
    let age = |column: &str, token: &Secret, by: i64| {
        let sql = format!("UPDATE sessions SET {column} = {column} - ?1 WHERE token_hash = ?2");
        assert_eq!(bench.file().execute(&sql, rusqlite::params![by, dbsnap::auth::token::hash(token.expose())]).unwrap(), 1);
    };
    age("last_seen_at", &session, hour / 2);
    assert!(bench.actor(&session).await.is_some());
    age("last_seen_at", &session, hour / 2 + 60_000);
    assert!(bench.actor(&session).await.is_some(), "using it half an hour ago kept it");
    age("last_seen_at", &session, hour);
    assert!(bench.actor(&session).await.is_none(), "idle for more than an hour");

    let old = login().await;
    age("expires_at", &old, 2 * hour);
    assert!(bench.actor(&old).await.is_none(), "past its end");
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let bench = Bench::new().await;
    let (anna, session) = bench.set_up().await;
    let (_, elsewhere) = accounts::login(bench.ctx(), "anna", PASSWORD, from("192.0.2.9")).await.unwrap();
    let keep = accounts::authenticate(bench.ctx(), session.expose()).await.unwrap().map(|(_, session)| session.id);

    let new = "another staple of words";
    let wrong = accounts::change_password(bench.ctx(), &anna, "not the old one", new, keep).await.unwrap_err();
    assert_eq!(wrong.kind, Kind::Validation);
    accounts::change_password(bench.ctx(), &anna, PASSWORD, new, keep).await.unwrap();
    assert!(bench.actor(&elsewhere).await.is_none());
    assert!(bench.actor(&session).await.is_some());
    assert!(accounts::login(bench.ctx(), "anna", PASSWORD, from("192.0.2.9")).await.is_err());
    accounts::login(bench.ctx(), "anna", new, from("192.0.2.9")).await.unwrap();
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_the_last_administrator_stays() {
    let bench = Bench::new().await;
    let (anna, _) = bench.set_up().await;
    let id = anna.user_id.unwrap();
    for refused in [
        accounts::delete_user(bench.ctx(), &anna, id).await.unwrap_err(),
        accounts::update_user(bench.ctx(), &anna, id, Role::Admin, true).await.unwrap_err(),
        accounts::update_user(bench.ctx(), &anna, id, Role::Viewer, false).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind, Kind::Conflict);
        assert!(refused.to_string().contains("only administrator"), "{refused}");
    }
    accounts::create_user(bench.ctx(), &anna, "ben", PASSWORD, Role::Admin).await.unwrap();
    let twice = accounts::create_user(bench.ctx(), &anna, "BEN", PASSWORD, Role::Viewer).await.unwrap_err();
    assert_eq!(twice.kind, Kind::Conflict);
    let (ben, session) = accounts::login(bench.ctx(), "ben", PASSWORD, from("192.0.2.5")).await.unwrap();
    let ben_acts = bench.actor(&session).await.unwrap();
    let (_, key) = accounts::create_api_key(bench.ctx(), &ben_acts, "ci", Role::Operator).await.unwrap();

    let disabled = accounts::update_user(bench.ctx(), &anna, ben.id, Role::Admin, true).await.unwrap();
    assert!(disabled.disabled);
    assert!(bench.actor(&session).await.is_none());
    assert!(accounts::authenticate_key(bench.ctx(), key.expose()).await.unwrap().is_none());
    assert_eq!(accounts::login(bench.ctx(), "ben", PASSWORD, from("192.0.2.5")).await.unwrap_err().kind, Kind::Unauthorized);
    assert_eq!(accounts::delete_user(bench.ctx(), &anna, id).await.unwrap_err().kind, Kind::Conflict, "ben cannot sign in");

    accounts::update_user(bench.ctx(), &anna, ben.id, Role::Admin, false).await.unwrap();
    assert!(bench.actor(&session).await.is_none(), "an old session does not come back");
    accounts::delete_user(bench.ctx(), &anna, ben.id).await.unwrap();
    assert_eq!(accounts::users(bench.ctx(), &anna).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_api_key_may_do_no_more_than_its_role_and_its_user() {
    let bench = Bench::new().await;
    let (anna, _) = bench.set_up().await;
    let oscar = bench.add(&anna, "oscar", Role::Operator).await;
    let too_much = accounts::create_api_key(bench.ctx(), &oscar, "ci", Role::Admin).await.unwrap_err();
    assert_eq!(too_much.kind, Kind::Forbidden);

    let (about, key) = accounts::create_api_key(bench.ctx(), &oscar, "ci", Role::Operator).await.unwrap();
    let role = async || accounts::authenticate_key(bench.ctx(), key.expose()).await.unwrap().map(|actor| (actor.role, actor.name));
    assert_eq!(role().await, Some((Role::Operator, "oscar (key ci)".to_owned())));
    accounts::update_user(bench.ctx(), &anna, oscar.user_id.unwrap(), Role::Viewer, false).await.unwrap();
    assert_eq!(role().await.unwrap().0, Role::Viewer, "its user may do less now, and so may it");

    let vera = bench.add(&anna, "vera", Role::Viewer).await;
    assert!(accounts::api_keys(bench.ctx(), &vera).await.unwrap().is_empty(), "others' keys are not shown");
    assert_eq!(accounts::delete_api_key(bench.ctx(), &vera, about.id).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(accounts::api_keys(bench.ctx(), &anna).await.unwrap().len(), 1);
    accounts::delete_api_key(bench.ctx(), &anna, about.id).await.unwrap();
    assert!(role().await.is_none());
}

#[tokio::test]
async fn an_api_key_manages_neither_keys_nor_people_even_an_administrators() {
    let bench = Bench::new().await;
    let (anna, session) = bench.set_up().await;
    let ctx = bench.ctx();
    let own = accounts::authenticate(ctx, session.expose()).await.unwrap().unwrap().1.id;
    let (about, key) = accounts::create_api_key(ctx, &anna, "ci", Role::Admin).await.unwrap();
    let by_key = accounts::authenticate_key(ctx, key.expose()).await.unwrap().unwrap();
    assert!(by_key.via_key && by_key.may(Permission::Accounts) && !anna.via_key);
    let anna_id = anna.user_id.unwrap();
    let refused = [
        accounts::create_api_key(ctx, &by_key, "more", Role::Viewer).await.map(drop).unwrap_err(),
        accounts::delete_api_key(ctx, &by_key, about.id).await.unwrap_err(),
        accounts::revoke_session(ctx, &by_key, own).await.unwrap_err(),
        accounts::change_password(ctx, &by_key, PASSWORD, "another staple of words", None).await.unwrap_err(),
        accounts::create_user(ctx, &by_key, "eve", PASSWORD, Role::Admin).await.map(drop).unwrap_err(),
        accounts::update_user(ctx, &by_key, anna_id, Role::Admin, false).await.map(drop).unwrap_err(),
        accounts::set_user_password(ctx, &by_key, anna_id, PASSWORD).await.unwrap_err(),
        accounts::delete_user(ctx, &by_key, anna_id).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind, Kind::Forbidden, "{error}");
        assert!(error.to_string().contains("sign in"), "{error}");
    }
    assert!(bench.actor(&session).await.is_some());
    assert_eq!(accounts::users(ctx, &by_key).await.unwrap().len(), 1, "it may read who there is");
}

#[tokio::test]
async fn only_who_manages_accounts_manages_accounts() {
    let bench = Bench::new().await;
    let (anna, _) = bench.set_up().await;
    for (name, role) in [("oscar", Role::Operator), ("vera", Role::Viewer)] {
        let actor = bench.add(&anna, name, role).await;
        assert!(!actor.may(Permission::Accounts));
        let target = anna.user_id.unwrap();
        let ctx = bench.ctx();
        let refused = [
            accounts::users(ctx, &actor).await.map(drop).unwrap_err(),
            accounts::create_user(ctx, &actor, "eve", PASSWORD, Role::Admin).await.map(drop).unwrap_err(),
            accounts::update_user(ctx, &actor, actor.user_id.unwrap(), Role::Admin, false).await.map(drop).unwrap_err(),
            accounts::set_user_password(ctx, &actor, target, PASSWORD).await.unwrap_err(),
            accounts::delete_user(ctx, &actor, target).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind == Kind::Forbidden), "{refused:?}");
    }
}

#[tokio::test]
async fn no_password_and_no_token_is_in_the_files() {
    let bench = Bench::new().await;
    let (anna, session) = bench.set_up().await;
    let (_, key) = accounts::create_api_key(bench.ctx(), &anna, "ci", Role::Viewer).await.unwrap();
    let mut files = 0;
    for entry in fs::read_dir(bench.folder.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for secret in [PASSWORD, session.expose(), key.expose(), key.expose().trim_start_matches("dbsnap_")] {
                assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{} holds a secret", path.display());
            }
        }
    }
    assert!(files >= 2, "the catalogue and its journal were looked at");
}

#[tokio::test]
async fn without_accounts_there_is_nothing_to_set_up() {
    let bench = Bench::with(&[("AUTH_MODE", "none")]).await;
    assert!(!accounts::setup_needed(bench.ctx()).await.unwrap());
    let token = bench.plant_setup_token();
    assert_eq!(accounts::setup(bench.ctx(), token, "eve", PASSWORD, from("192.0.2.1")).await.unwrap_err().kind, Kind::Conflict);
    let nobody = Actor::anonymous();
    assert!(accounts::sessions(bench.ctx(), &nobody).await.unwrap().is_empty());
    let refused = accounts::create_api_key(bench.ctx(), &nobody, "ci", Role::Admin).await.unwrap_err();
    assert!(refused.to_string().contains("AUTH_MODE=password"), "{refused}");
}
