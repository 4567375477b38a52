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
- The same holds for verifications, copies, restores, deletions and maintenance: what failed, repeats held back, and `resolved` with the
  first success. The damage of a backup is also over when the backup is deleted, failures of a schedule when it is removed; a failed
  restore stays under what is wrong for a week, unless one into the same place succeeds before.
- The dead-man's alert comes when a scheduled database has had no good backup for two slots of its schedule and one hour, whatever the
  reason: a process that did not run, a store that was away, backups that fail. What a run may wait for (a blackout, a lower load) is
  added. A schedule that runs after another counts by the times of the first one of the chain, with an hour for each one of it; of
  several schedules the one that is due first counts. Slots are counted from the newest good backup, and not from before the schedule
  was made, was switched on or was given other times.
- Nothing is expected of a database whose schedules are all off, or run after one that is off, and of one that is backed up by hand
  only: an alert that was open ends with \"No backup of shop is expected any more\". With `deadManHours` the alert covers
  every database, scheduled or not, from that many hours after its newest good backup, or after it was added.
- What stays wrong (no good backup, a store away, a disk low) is told again each day and is on the overview until it is over; `GET /api/alerts`
  has the same list.
- The size and the rows of a good backup are compared with the middle of the last ten of its schedule; fewer than three say nothing. A
  drop after a jump is told, although it came within the two hours.
- A delivery is tried five times: at once, after 30 seconds, 2 minutes, 10 minutes and an hour. What the service refuses for good (a wrong
  token, a page that is not there) is not tried again. A process that ends while it sends may send a message twice, never not at all. A
  service has 20 seconds to answer and decides by the status: a body that breaks off or never ends changes nothing. A mail server has 25.
- Texts are cut to what each service takes, in any script; what to do is never cut away for a long cause.
- A notifier of chosen projects or databases hears nothing of stores and disks: have one without that choice too.
- If this machine is down, nobody is left to tell: give schedules a heartbeat address at a service that watches from outside.

Thresholds are under Settings: `deadManHours`, `sizeChangePercent`, `rowsChangePercent`, `diskFreePercent`, `repeatAlertHours`, `groupMinutes`.

## Per project or database

A notifier can be limited to projects, to databases, or to both: it is then told of what concerns any of them. So that one team hears of its
own databases only, put them into a project (Projects, or `POST /api/projects` and `projectId` of a database) and choose it in the
notifier's form, or by API: `\"rules\": {\"projectIds\": [\"...\"]}`. A database that is moved is told of to whoever is limited to its new
project.

What was removed stays among the limits, so that a notifier never becomes one of everything by that. When nothing of its limits is left it
is told nothing; the list of notifiers, its form, `tellsNothing` by API and the audit trail (`notifier.silenced`) say so, until you choose
anew.

Addresses are looked up once, checked and then connected to exactly: link-local addresses and the metadata services of clouds are refused,
as they are written when the notifier is saved, and as their names resolve at each sending; redirects are not followed. What a service
answers is shown up to a line of it, without the secrets that it repeats. Secrets are sealed and never shown again; a setting marked *
says where they are sent, and they have to be entered again when it changes.

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
