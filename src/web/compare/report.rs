//! The page of one comparison: what changed, and how that is known.

use askama::Template;

use super::{
    cells::Look,
    grid::{self, Chosen, SchemaRow, Tables},
    place::{Place, View},
    tree::Step,
    words::{self, Totals},
};
use crate::{
    domain::{
        diff::{Change, ChangePage, Diff, DiffOptions, DiffStatus, DiffSummary, DiffTier, SideFacts, SideRef},
        time::Moment,
    },
    web::{filters, html::Layout, jobs::live::LiveLog},
};

/// One side as the head of the page shows it.
pub struct Side {
    word: &'static str,
    label: String,
    moment: Option<Moment>,
    /// The backup, where it is one.
    link: Option<String>,
    badge: String,
    live: bool,
}

#[derive(Template)]
#[template(path = "pages/compare/report.html")]
pub struct Report {
    layout: Layout,
    here: String,
    place: Place,
    headline: String,
    /// What changed in which table, in words.
    story: String,
    totals: Totals,
    sides: [Side; 2],
    provenance: Vec<String>,
    options: Vec<String>,
    notes: Vec<String>,
    tables: Tables,
    chosen: Option<Chosen>,
    /// What changed in the definitions, where that is shown.
    schema: Vec<SchemaRow>,
    schema_view: bool,
    schema_of: Option<String>,
    schema_link: String,
    /// Schema changes of the chosen table.
    table_schema: usize,
    /// Rows may be chosen and restored.
    selectable: bool,
    /// A full comparison would read more.
    verify: bool,
    /// Fields of a form that starts the same comparison in full.
    full: Vec<(&'static str, String)>,
    /// Fields of a form that starts it again, where that is worth it.
    again: Option<Vec<(&'static str, String)>>,
    log: LiveLog,
    /// Why the rows of the chosen table cannot be shown.
    problem: Option<(String, Option<String>)>,
    diff: Diff,
}

impl Report {
    /// Draws a comparison. `rows` is the page of the chosen table, where there is one.
    pub fn new(layout: Layout, diff: Diff, log: LiveLog, place: Place, rows: Option<ChangePage>) -> Self {
        let nothing = DiffSummary::default();
        let summary = diff.summary.as_ref().unwrap_or(&nothing);
        let chosen_table = chosen_table(summary, &place);
        let schema_view = place.view() == View::Schema || (chosen_table.is_none() && !summary.schema.is_empty());
        let schema_of = place.table.clone().filter(|_| place.view() == View::Schema);
        let of_table = |name: &str| summary.schema.iter().filter(|change| change.table.as_deref() == Some(name)).count();
        let full = DiffOptions { tier: DiffTier::Full, ..diff.options.clone() };
        let is_live = [diff.before, diff.after].iter().any(|side| matches!(side, SideRef::DatabaseId(_)));
        let worth_again = diff.status.is_over() && (is_live || diff.status != DiffStatus::Completed) && diff.database_id.is_some();
        Self {
            here: place.link(&diff.id),
            headline: words::headline(summary),
            story: words::story(summary),
            totals: Totals::of(summary),
            sides: sides(&diff, summary),
            provenance: if summary.provenance.tier.is_empty() { Vec::new() } else { words::provenance(&summary.provenance) },
            options: words::options(&diff.options),
            notes: summary.provenance.notes.clone(),
            tables: Tables::new(
                &diff.id,
                summary,
                &place,
                chosen_table.filter(|_| !schema_view || schema_of.is_some()).map(|table| table.name.as_str()),
            ),
            table_schema: chosen_table.map_or(0, |table| of_table(&table.name)),
            chosen: chosen_table.zip(rows).map(|(table, rows)| Chosen::new(&diff.id, summary, table, &place, rows)),
            schema: if schema_view { grid::schema_rows(summary, schema_of.as_deref()) } else { Vec::new() },
            schema_link: place.on_schema().link(&diff.id),
            schema_view,
            schema_of,
            selectable: diff.status == DiffStatus::Completed && layout.may_restore(),
            verify: words::may_be_verified(&diff),
            full: super::request::fields(&diff, &full),
            again: worth_again.then(|| super::request::fields(&diff, &diff.options)),
            log,
            problem: None,
            layout,
            place,
            diff,
        }
    }

    pub fn with_problem(self, problem: Option<(String, Option<String>)>) -> Self {
        Self { problem, ..self }
    }

    /// The fields of the address but one, for a form that sets that one; pages begin anew.
    fn fields_but(&self, name: &str) -> Vec<(&'static str, String)> {
        let gone = |field: &str| field == name || (name != "find" && (field == "page" || field == "next"));
        self.place.fields().into_iter().filter(|field| !gone(field.0)).collect()
    }

    /// The end of a patch's address: the filter of the chosen table.
    fn patch_fields(&self) -> &str {
        self.chosen.as_ref().map_or("", |chosen| chosen.links.patch.as_str())
    }
}

/// The table whose rows are shown: the one of the address, or the one that changed most.
pub fn chosen_table<'a>(summary: &'a DiffSummary, place: &Place) -> Option<&'a crate::domain::diff::TableDiff> {
    match &place.table {
        Some(name) => summary.tables.iter().find(|table| table.name == *name),
        None if place.view() == View::Schema => None,
        None => grid::first_table(summary),
    }
}

fn sides(diff: &Diff, summary: &DiffSummary) -> [Side; 2] {
    let side = |word, reference: SideRef, label: &str, facts: &SideFacts| Side {
        word,
        label: label.to_owned(),
        moment: facts.moment,
        link: match reference {
            SideRef::BackupId(id) => Some(format!("/backups/{id}")),
            SideRef::DatabaseId(_) => None,
        },
        badge: match (reference, label.rsplit_once('(')) {
            (SideRef::DatabaseId(_), _) => "live database".into(),
            (SideRef::BackupId(_), Some((_, kind))) => format!("{} backup", kind.trim_end_matches(')')),
            (SideRef::BackupId(_), None) => "backup".into(),
        },
        live: matches!(reference, SideRef::DatabaseId(_)),
    };
    let provenance = &summary.provenance;
    [side("Before", diff.before, &diff.before_label, &provenance.before), side("After", diff.after, &diff.after_label, &provenance.after)]
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use super::{super::samples, *};
    use crate::domain::permissions::{Actor, Role};

    fn drawn(query: &str, diff: Diff, rows: Option<ChangePage>) -> String {
        drawn_for(Actor::system(), query, diff, rows)
    }

    fn drawn_for(actor: Actor, query: &str, diff: Diff, rows: Option<ChangePage>) -> String {
        let place = axum::extract::Query::try_from_uri(&format!("/x?{query}").parse().unwrap()).unwrap().0;
        let layout = Layout::of(actor, true, &"/diffs/x".parse().unwrap(), &axum::http::HeaderMap::new());
        let report = Report::new(layout.titled("What changed"), diff, LiveLog::over("/diffs/x"), place, rows);
        report.render_with_values(&("tz", &chrono_tz::UTC as &dyn Any)).unwrap()
    }

    #[test]
    fn hostile_names_and_values_are_text_in_every_view() {
        for query in [
            "",
            "table=public.users",
            "table=public.users&view=side",
            "view=schema",
            "table=%3Csvg+onload%3E&find=%3Csvg+onload%3E&q=%3Csvg+onload%3E",
        ] {
            let page = drawn(query, samples::diff(), Some(samples::page()));
            assert!(!page.contains("<svg onload") && !page.contains(" style=") && !page.contains('\0'), "{query}");
            assert!(!page.contains('\u{202e}') || !page.contains(">\u{202e}"), "{query}: the direction is turned");
        }
    }

    #[test]
    fn old_and_new_stand_in_the_cell_with_signs_and_words() {
        let page = drawn("table=public.users", samples::diff(), Some(samples::page()));
        assert!(page.contains("10 of 45 tables differ") && page.contains("+1,205,373 added") && page.contains("Verify in full"));
        assert!(page.contains("oldmail</del>") && page.contains("newmail</ins>@") | page.contains("newmail</ins>.com"));
        for (sign, word) in [("+", "added"), ("−", "removed"), ("~", "changed")] {
            assert!(page.contains(&format!("aria-hidden=\"true\">{sign}</span><span class=\"visually-hidden\">{word}</span>")), "{word}");
        }
        assert!(page.contains("5 changes inside") && page.contains("limits.dbs"));
        assert!(
            page.contains("35 unchanged tables") && page.contains("no key") && page.contains("sample of 10%") && page.contains("3 hidden")
        );
    }

    #[test]
    fn columns_are_filtered_on_and_ignored_by_links() {
        let page = drawn("table=public.users&ignore=updated_at", samples::diff(), Some(ChangePage { ignored: 93, ..samples::page() }));
        assert!(page.contains("column=email"), "a head of a column filters");
        assert!(page.contains("ignore=updated_at%2Cemail"), "one click more ignores another column");
        assert!(page.contains("93 rows left out") && page.contains("without <bdi>updated_at</bdi>"));
    }

    #[test]
    fn only_changed_columns_leaves_the_others_out() {
        let all = drawn("table=public.users", samples::diff(), Some(samples::page()));
        let only = drawn("table=public.users&only=1", samples::diff(), Some(samples::page()));
        assert!(all.contains("Anna K.") && !only.contains("Anna K.") && only.contains("phone"), "a new column differs");
    }

    #[test]
    fn whoever_only_reads_can_change_nothing() {
        let viewer = Actor { role: Role::Viewer, ..Actor::system() };
        let page = drawn_for(viewer, "table=public.users", samples::diff(), None);
        for action in ["/restore", "/delete", "action=\"/compare\"", "/patch"] {
            assert!(!page.contains(&format!("{action}\"")) || action == "/restore" && !page.contains("id=\"chosen\""), "{action}");
        }
    }

    #[test]
    fn each_state_says_what_it_is() {
        let equal = DiffSummary { equal: true, tables: vec![samples::table("a", 0, 0, 0)], ..DiffSummary::default() };
        let page = drawn("", Diff { summary: Some(equal), ..samples::diff() }, None);
        assert!(page.contains("No differences") && page.contains("1 table compared"));
        let failed = Diff { summary: None, status: DiffStatus::Failed, error: Some("no route".into()), ..samples::diff() };
        let page = drawn("", failed, None);
        assert!(page.contains("The comparison failed") && page.contains("no route") && page.contains("Compare again"));
        let page = drawn("", Diff { status: DiffStatus::Cancelled, ..samples::diff() }, Some(samples::page()));
        assert!(page.contains("It is not the whole") && page.contains("So far: "));
        let none = ChangePage { changes: Vec::new(), total: Some(0), ..samples::page() };
        assert!(drawn("table=public.users&q=zzz", samples::diff(), Some(none)).contains("No change matches"));
    }
}
