//! docs/notifications.md lists what there is to be told and each notifier's settings, from the program's own data.

use std::{fmt::Write, fs, path::Path};

use dbsnap::{
    domain::{fields::FieldKind, notice::NoticeEvent},
    notifiers::{self, NotifierInfo},
};

const INTRO: &str = "# Notifications

Add a notifier under Notifications or with `POST /api/notifiers`, and press Send a test. Each message says what failed, why, what to do, and
has a link (set BASE_URL so that it leads to your installation).

- A backup's failure is told when its last attempt has failed. The same failure again within two hours is held back, and the next message
  says how many were; the first good backup after failures is told as a recovery. Whoever was told of a problem is told of its end.
- The dead-man's alert comes when a scheduled database has had no good backup for two slots of its schedule and one hour, whatever the
  reason: a process that did not run, a store that was away, backups that fail. With `deadManHours` it
  covers every database, scheduled or not.
- What stays wrong (no good backup, a store away, a disk low) is told again each day and is on the overview until it is over; `GET /api/alerts`
  has the same list.
- The size and the rows of a good backup are compared with the middle of the last ten of its schedule; fewer than three say nothing.
- A delivery is tried five times: at once, after 30 seconds, 2 minutes, 10 minutes and an hour. What the service refuses for good (a wrong
  token, a page that is not there) is not tried again. A process that ends while it sends may send a message twice, never not at all.
- A notifier of chosen databases hears nothing of stores and disks: have one without that choice too.
- If this machine is down, nobody is left to tell: give schedules a heartbeat address at a service that watches from outside.

Thresholds are under Settings: `deadManHours`, `sizeChangePercent`, `rowsChangePercent`, `diskFreePercent`, `repeatAlertHours`, `groupMinutes`.

Addresses are looked up once, checked and then connected to exactly: link-local addresses and the metadata services of clouds are refused,
redirects are not followed. Secrets are sealed and never shown again; a setting marked * says where they are sent, and they have to be
entered again when it changes.

## Webhook

The body is the notice as JSON: `id`, `event`, `severity`, `at`, `projectId`, `databaseId`, `subject`, `title`, `what`, `nextStep`, `link`,
`facts` (pairs of name and value) and `group`, which a failure and the recovery from it share. `X-DBSnap-Event` names the event and
`X-DBSnap-Delivery` the notice, the same at every try. With a signing secret, compare `X-DBSnap-Signature` with `sha256=` and the hex
HMAC-SHA256 of the value of `X-DBSnap-Timestamp` (seconds), a dot and the raw body, and refuse what is older than a few minutes.

The rest of this page is compared with the program by a test; `UPDATE_DOCS=1 cargo test --test it notifiers::docs` writes it anew.
";

#[test]
fn the_page_of_notifications_lists_every_event_and_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/notifications.md");
    let mut page = format!("{INTRO}\n## Events\n\n| event | meaning |\n|---|---|\n");
    for event in NoticeEvent::choosable() {
        writeln!(page, "| `{event}` | {} |", event.meaning()).unwrap();
    }
    page.push_str("\nWithout a choice a notifier is told everything but `backup.succeeded`.\n\n## Kinds\n");
    let page = notifiers::registry().iter().fold(page, |page, kind| page + &section(kind.info()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let same = fs::read_to_string(&path).unwrap_or_default() == page;
    assert!(same, "docs/notifications.md is out of date: UPDATE_DOCS=1 cargo test --test it notifiers::docs");
}

fn section(info: &NotifierInfo) -> String {
    let mut text = format!("\n### {} (`{}`)\n\n| name | value | default | what it is |\n|---|---|---|---|\n", info.label, info.id);
    for field in info.settings {
        let value = match field.kind {
            FieldKind::Secret => "secret text".to_owned(),
            FieldKind::SecretLines => "secret lines of text".to_owned(),
            FieldKind::Lines => "lines of text".to_owned(),
            FieldKind::Integer { max: i64::MAX, .. } => "number".to_owned(),
            FieldKind::Integer { min, max } => format!("{min} to {max}"),
            FieldKind::Choice { of } => of.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "),
            FieldKind::List => "list of text".to_owned(),
            _ => "text".to_owned(),
        };
        let required = if field.required { ", required" } else { "" };
        let default = if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) };
        let mark = if field.binds_secrets { " *" } else { "" };
        let help = if field.help.is_empty() { String::new() } else { format!(": {}", field.help.replace('<', "&lt;")) };
        writeln!(text, "| `{}`{mark} | {value}{required} | {default} | {}{help} |", field.name, field.label).unwrap();
    }
    text
}
