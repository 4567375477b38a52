//! The form that asks for a comparison, written and read.

use crate::{
    domain::{
        diff::{Diff, DiffOptions, DiffTier, SideRef},
        ids::{BackupId, DatabaseId},
    },
    error::{Error, Result},
    web::extract::Form,
};

/// What stands for the live database in a form and in an address.
pub const LIVE: &str = "live";

/// The fields of a form that asks for the same comparison with these options.
pub fn fields(diff: &Diff, options: &DiffOptions) -> Vec<(&'static str, String)> {
    let live = [diff.before, diff.after].iter().find_map(|side| match side {
        SideRef::DatabaseId(id) => Some(*id),
        SideRef::BackupId(_) => None,
    });
    let database = live.or(diff.database_id).map(|id| ("databaseId", id.to_string()));
    let mut fields: Vec<_> = database.into_iter().collect();
    fields.extend([("before", side_text(diff.before)), ("after", side_text(diff.after))]);
    let plain = DiffOptions::default();
    let lines = |lines: &[String]| (!lines.is_empty()).then(|| lines.join("\n"));
    let yes = |is: bool| is.then(|| "true".to_owned());
    let number = |number: u64| (number > 0).then(|| number.to_string());
    let optional = [
        ("tables", lines(&options.tables)),
        ("ignoreColumns", lines(&options.ignore_columns)),
        ("floatTolerance", (options.float_tolerance > 0.0).then(|| options.float_tolerance.to_string())),
        ("timeToleranceMs", number(options.time_tolerance_ms)),
        ("ignoreCase", yes(options.ignore_case)),
        ("ignoreTrailingSpace", yes(options.ignore_trailing_space)),
        ("tier", (options.tier != plain.tier).then(|| options.tier.to_string())),
        ("rowsPerSecond", number(options.rows_per_second)),
        (
            "statementTimeoutSeconds",
            (options.statement_timeout_seconds != plain.statement_timeout_seconds).then(|| options.statement_timeout_seconds.to_string()),
        ),
        (
            "lockTimeoutSeconds",
            (options.lock_timeout_seconds != plain.lock_timeout_seconds).then(|| options.lock_timeout_seconds.to_string()),
        ),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

fn side_text(side: SideRef) -> String {
    match side {
        SideRef::BackupId(id) => id.to_string(),
        SideRef::DatabaseId(_) => LIVE.to_owned(),
    }
}

/// The sides and options that a sent form stands for.
pub fn read(form: &Form) -> Result<(SideRef, SideRef, DiffOptions)> {
    let side = |name: &str, word: &str| match form.text(name) {
        "" => Err(Error::validation(format!("the side {word} was not chosen")).hint("choose a backup or the live database")),
        LIVE => form.parse::<DatabaseId>("databaseId")?.map(SideRef::DatabaseId).ok_or_else(|| Error::validation("no database was chosen")),
        id => id.parse::<BackupId>().map(SideRef::BackupId),
    };
    let (before, after) = (side("before", "before")?, side("after", "after")?);
    if before == after {
        return Err(Error::validation("both sides are the same").hint("choose two different backups, or a backup and the live database"));
    }
    Ok((before, after, options(form)?))
}

/// The options of a sent form. Errors when a number cannot be read.
pub fn options(form: &Form) -> Result<DiffOptions> {
    let plain = DiffOptions::default();
    let lines = |name: &str| form.raw(name).split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(DiffOptions {
        tables: lines("tables"),
        ignore_columns: lines("ignoreColumns"),
        float_tolerance: number(form, "floatTolerance", "the tolerance of floats", plain.float_tolerance)?,
        time_tolerance_ms: number(form, "timeToleranceMs", "the tolerance of times", plain.time_tolerance_ms)?,
        ignore_trailing_space: form.has("ignoreTrailingSpace"),
        ignore_case: form.has("ignoreCase"),
        tier: form.parse::<DiffTier>("tier")?.unwrap_or(plain.tier),
        rows_per_second: number(form, "rowsPerSecond", "the rows per second", plain.rows_per_second)?,
        statement_timeout_seconds: number(form, "statementTimeoutSeconds", "the timeout of statements", plain.statement_timeout_seconds)?,
        lock_timeout_seconds: number(form, "lockTimeoutSeconds", "the timeout of locks", plain.lock_timeout_seconds)?,
    })
}

fn number<T: std::str::FromStr>(form: &Form, name: &str, what: &str, otherwise: T) -> Result<T> {
    match form.text(name) {
        "" => Ok(otherwise),
        text => {
            text.parse().map_err(|_| Error::validation(format!("{what} is no number that fits: '{text}'")).hint("leave it blank for none"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{diff::DiffStatus, ids::DiffId, time::Moment};

    #[test]
    fn a_comparison_is_asked_for_again_by_its_form() {
        let options = DiffOptions {
            tables: vec!["shop.*".into()],
            ignore_columns: vec!["updated_at".into(), "users.seen".into()],
            float_tolerance: 1e-9,
            time_tolerance_ms: 5,
            ignore_case: true,
            ignore_trailing_space: true,
            tier: DiffTier::Full,
            rows_per_second: 5000,
            statement_timeout_seconds: 60,
            lock_timeout_seconds: 1,
        };
        let (backup, database) = (BackupId::new(), DatabaseId::new());
        let diff = Diff {
            id: DiffId::new(),
            database_id: None,
            database_name: "shop".into(),
            engine: "sqlite".into(),
            before: SideRef::BackupId(backup),
            after: SideRef::DatabaseId(database),
            before_label: String::new(),
            after_label: String::new(),
            options: options.clone(),
            status: DiffStatus::Completed,
            job_id: None,
            created_at: Moment(0),
            started_at: None,
            finished_at: None,
            error: None,
            report_size: 0,
            summary: None,
        };
        let form = Form(fields(&diff, &options).into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        assert_eq!(read(&form).unwrap(), (SideRef::BackupId(backup), SideRef::DatabaseId(database), options));
        let plain = Form(fields(&diff, &DiffOptions::default()).into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        assert_eq!((plain.0.len(), read(&plain).unwrap().2), (3, DiffOptions::default()));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_a_next_step() {
        let id = BackupId::new().to_string();
        for fields in [vec![("before", id.as_str())], vec![("before", &id), ("after", &id)], vec![("before", "live"), ("after", &id)]] {
            let form = Form(fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
            assert!(read(&form).is_err(), "{form:?}");
        }
        let form = Form(vec![("floatTolerance".into(), "tiny".into())]);
        assert!(options(&form).unwrap_err().to_string().contains("tiny"));
    }
}
