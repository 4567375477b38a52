//! When two values are equal: by how they are written, by what they mean, or because the options hide the difference.

use super::{
    bson, json,
    number::{boolean_as_number, float, number},
    times,
};
use crate::{
    domain::diff::DiffOptions,
    snapshot::{Class, Column},
};

/// How two values stand to each other, the stronger the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Equal,
    /// They differ, and the options say that it does not count.
    Hidden,
    /// Documents that differ in the order of their fields alone: a change, with that mark.
    Order,
    Different,
}

impl Verdict {
    pub fn of(equal: bool) -> Self {
        if equal { Self::Equal } else { Self::Different }
    }

    /// The row counts as changed.
    pub fn counts(self) -> bool {
        self >= Self::Order
    }
}

/// What the options say about values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    pub float_tolerance: f64,
    /// Nanoseconds.
    pub time_tolerance: i128,
    pub ignore_trailing_space: bool,
    pub ignore_case: bool,
}

impl Rules {
    pub fn of(options: &DiffOptions) -> Self {
        Self {
            float_tolerance: options.float_tolerance,
            time_tolerance: i128::from(options.time_tolerance_ms) * 1_000_000,
            ignore_trailing_space: options.ignore_trailing_space,
            ignore_case: options.ignore_case,
        }
    }

    /// Zero is equal to minus zero, and what is no number to itself.
    pub fn floats(&self, before: f64, after: f64) -> Verdict {
        if before == after || (before.is_nan() && after.is_nan()) {
            Verdict::Equal
        } else if self.float_tolerance > 0.0 && (before - after).abs() <= self.float_tolerance {
            Verdict::Hidden
        } else {
            Verdict::Different
        }
    }

    /// Moments in nanoseconds.
    pub fn apart(&self, before: i128, after: i128) -> Verdict {
        match before.abs_diff(after) {
            0 => Verdict::Equal,
            apart if apart <= self.time_tolerance.unsigned_abs() => Verdict::Hidden,
            _ => Verdict::Different,
        }
    }

    pub fn texts(&self, before: &[u8], after: &[u8]) -> Verdict {
        if before == after {
            return Verdict::Equal;
        }
        let trim = |text| if self.ignore_trailing_space { <[u8]>::trim_ascii_end(text) } else { text };
        let (before, after) = (trim(before), trim(after));
        let folded = |text: &[u8]| String::from_utf8_lossy(text).to_lowercase();
        let hidden = before == after || (self.ignore_case && folded(before) == folded(after));
        if hidden { Verdict::Hidden } else { Verdict::Different }
    }
}

/// How the values of one column are compared.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    before: Class,
    after: Class,
    /// Nothing is known to be written in another way: different digits are a difference.
    same_type: bool,
    /// Which side's numbers have four bytes, where the other side's have eight.
    single: Option<Single>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Single {
    Before,
    After,
}

impl Comparison {
    pub fn of(before: &Column, after: &Column) -> Self {
        let single = |column: &Column| {
            let name = column.type_name.to_ascii_lowercase();
            column.class == Class::Float && (name == "float" || ["real", "float4", "float("].iter().any(|start| name.starts_with(start)))
        };
        Self {
            before: before.class,
            after: after.class,
            same_type: before.class == after.class && before.type_name == after.type_name,
            single: match (single(before), single(after)) {
                (true, false) => Some(Single::Before),
                (false, true) => Some(Single::After),
                _ => None,
            },
        }
    }

    /// Two cells. NULL is equal to NULL alone, whatever a text says.
    #[inline]
    pub fn cells(&self, rules: &Rules, before: Option<&[u8]>, after: Option<&[u8]>) -> Verdict {
        match (before, after) {
            (None, None) => Verdict::Equal,
            (Some(before), Some(after)) if before == after && self.before == self.after => Verdict::Equal,
            (Some(before), Some(after)) => self.values(rules, before, after),
            _ => Verdict::Different,
        }
    }

    fn values(&self, rules: &Rules, before: &[u8], after: &[u8]) -> Verdict {
        match (self.before, self.after) {
            (Class::Any, Class::Any) => self.stored(rules, before, after),
            (Class::Any, other) => {
                let (class, value) = storage(before);
                classes(rules, class, value, other, after)
            }
            (other, Class::Any) => {
                let (class, value) = storage(after);
                classes(rules, other, before, class, value)
            }
            (Class::Decimal, Class::Decimal) if self.same_type => Verdict::Different,
            (Class::Float, Class::Float) if self.widened(before, after) => Verdict::Equal,
            (one, other) => classes(rules, one, before, other, after),
        }
    }

    /// Values of SQLite: another storage class is another value.
    fn stored(&self, rules: &Rules, before: &[u8], after: &[u8]) -> Verdict {
        let ((before_class, before), (after_class, after)) = (storage(before), storage(after));
        if before_class == after_class { classes(rules, before_class, before, after_class, after) } else { Verdict::Different }
    }

    /// The text of a number of four bytes is shorter than that of the same number in eight.
    fn widened(&self, before: &[u8], after: &[u8]) -> bool {
        let wide = |text: &[u8]| float(text).map(|number| f64::from(number as f32));
        match self.single {
            Some(Single::Before) => wide(before) == float(after),
            Some(Single::After) => float(before) == wide(after),
            None => false,
        }
    }
}

/// Storage class and value of a SQLite cell.
pub fn storage(cell: &[u8]) -> (Class, &[u8]) {
    match cell.split_first() {
        Some((b'i', value)) => (Class::Integer, value),
        Some((b'r', value)) => (Class::Float, value),
        Some((b't', value)) => (Class::Text, value),
        Some((_, value)) => (Class::Bytes, value),
        None => (Class::Bytes, cell),
    }
}

fn classes(rules: &Rules, before_class: Class, before: &[u8], after_class: Class, after: &[u8]) -> Verdict {
    use Class::{Bson, Date, Float, Instant, Json, Text, Time, Timestamp};
    match (before_class, after_class) {
        (Text, Text) => rules.texts(before, after),
        (Float, Float) => floats(rules, before, after),
        (one, other) if numeric(one) && numeric(other) => numbers(rules, before_class, before, after_class, after),
        (Time, Time) | (Date | Timestamp | Instant, Date | Timestamp | Instant) => moments(rules, before, after),
        (Json, Json | Text) | (Text, Json) => json::compare(before, after).unwrap_or(Verdict::of(before == after)),
        (Bson, Bson) => documents(rules, before, after),
        _ => Verdict::of(before == after),
    }
}

fn numeric(class: Class) -> bool {
    matches!(class, Class::Integer | Class::Decimal | Class::Float | Class::Boolean)
}

fn floats(rules: &Rules, before: &[u8], after: &[u8]) -> Verdict {
    match (float(before), float(after)) {
        (Some(before), Some(after)) => rules.floats(before, after),
        _ => Verdict::of(before == after),
    }
}

/// Numbers of different types: what they say, to the last digit; a tolerance holds where one of them is a float.
fn numbers(rules: &Rules, before_class: Class, before: &[u8], after_class: Class, after: &[u8]) -> Verdict {
    let plain = |class, text| if class == Class::Boolean { boolean_as_number(text) } else { text.into() };
    let (before, after) = (plain(before_class, before), plain(after_class, after));
    let equal = match (number(&before), number(&after)) {
        (Some(before), Some(after)) => before == after,
        _ => before == after,
    };
    let with_float = before_class == Class::Float || after_class == Class::Float;
    if equal {
        Verdict::Equal
    } else if with_float && rules.float_tolerance > 0.0 {
        // Another last digit is a difference, hidden by the tolerance, even where the nearest floats are the same.
        floats(rules, &before, &after).max(Verdict::Hidden)
    } else {
        Verdict::Different
    }
}

/// Dates, times and timestamps; where only one side has a zone, the other is taken as UTC.
fn moments(rules: &Rules, before: &[u8], after: &[u8]) -> Verdict {
    if times::split(before) == times::split(after) {
        return Verdict::Equal;
    }
    match (times::nanoseconds(before), times::nanoseconds(after)) {
        (Some(before), Some(after)) => rules.apart(before, after),
        _ => Verdict::Different,
    }
}

fn documents(rules: &Rules, before: &[u8], after: &[u8]) -> Verdict {
    let mut worst = Verdict::Equal;
    match bson::compare(rules, before, after, |_, verdict| worst = worst.max(verdict)) {
        Ok(true) => worst.max(Verdict::Order),
        Ok(false) => worst,
        // What is no document is compared by its bytes.
        Err(_) => Verdict::of(before == after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(class: Class, type_name: &str) -> Column {
        Column {
            name: "c".into(),
            type_name: type_name.into(),
            class,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        }
    }

    fn with(rules: &Rules, before: (Class, &str, &str), after: (Class, &str, &str)) -> Verdict {
        let comparison = Comparison::of(&column(before.0, before.1), &column(after.0, after.1));
        let forth = comparison.cells(rules, Some(before.2.as_bytes()), Some(after.2.as_bytes()));
        let turned = Comparison::of(&column(after.0, after.1), &column(before.0, before.1));
        assert_eq!(forth, turned.cells(rules, Some(after.2.as_bytes()), Some(before.2.as_bytes())), "the same both ways");
        forth
    }

    fn check(class: Class, before: &str, after: &str, expect: Verdict) {
        assert_eq!(with(&Rules::default(), (class, "", before), (class, "", after)), expect, "{class:?} {before} {after}");
    }

    fn across(before: (Class, &str, &str), after: (Class, &str, &str), expect: Verdict) {
        assert_eq!(with(&Rules::default(), before, after), expect, "{before:?} {after:?}");
    }

    #[test]
    fn values_of_one_type_are_equal_when_they_mean_the_same() {
        use Verdict::{Different, Equal, Order};
        check(Class::Integer, "1", "1", Equal);
        check(Class::Integer, "1", "2", Different);
        check(Class::Decimal, "1.0", "1.00", Different);
        check(Class::Float, "-0", "0", Equal);
        check(Class::Float, "NaN", "NaN", Equal);
        check(Class::Float, "NaN", "0", Different);
        check(Class::Float, "Infinity", "-Infinity", Different);
        check(Class::Float, "odd", "1", Different);
        check(Class::Boolean, "t", "f", Different);
        check(Class::Timestamp, "2024-01-01 00:00:00.10", "2024-01-01 00:00:00.1", Equal);
        check(Class::Timestamp, "2024-01-01 00:00:00.10", "2024-01-01 00:00:00.11", Different);
        check(Class::Instant, "2024-01-01 00:00:00.000+00", "2024-01-01 00:00:00+00", Equal);
        check(Class::Timestamp, "infinity", "-infinity", Different);
        check(Class::Time, "10:00:00.0", "10:00:00", Equal);
        check(Class::Time, "10:00:00+00", "10:00:00+01", Different);
        check(Class::Text, "a", "A", Different);
        check(Class::Text, "a", "a ", Different);
        check(Class::Bytes, "a", "b", Different);
        check(Class::Json, "{\"a\": 1}", "{\"a\":1}", Equal);
        check(Class::Json, "{\"a\":1,\"b\":1}", "{\"b\":1,\"a\":1}", Order);
        check(Class::Json, "{", "{ ", Different);
        check(Class::Bson, "no document", "another", Different);
        check(Class::Any, "i7", "r7", Different);
        check(Class::Any, "r0", "r-0", Equal);
        check(Class::Any, "t7", "i7", Different);
        check(Class::Any, "b7", "b8", Different);
        check(Class::Any, "", "b8", Different);
    }

    #[test]
    fn documents_are_compared_by_their_fields() {
        use bson::tests::{document, int};
        let (a, b) = ((0x10, "a", int(1)), (0x10, "b", int(2)));
        let documents = [document(&[a.clone(), b.clone()]), document(&[b.clone(), a.clone()]), document(&[b])];
        let comparison = Comparison::of(&column(Class::Bson, ""), &column(Class::Bson, ""));
        let judge = |one: &[u8], other: &[u8]| comparison.cells(&Rules::default(), Some(one), Some(other));
        assert_eq!(judge(&documents[0], &documents[1]), Verdict::Order);
        assert_eq!(judge(&documents[0], &documents[2]), Verdict::Different);
        assert_eq!(judge(&documents[0], &documents[0]), Verdict::Equal);
    }

    #[test]
    fn null_is_equal_to_null_alone() {
        let comparison = Comparison::of(&column(Class::Text, ""), &column(Class::Integer, ""));
        let rules = Rules { ignore_trailing_space: true, ignore_case: true, float_tolerance: 9.0, time_tolerance: 9 };
        for text in ["NULL", "null", "", "\\N", "0"] {
            assert_eq!(comparison.cells(&rules, None, Some(text.as_bytes())), Verdict::Different);
            assert_eq!(comparison.cells(&rules, Some(text.as_bytes()), None), Verdict::Different);
        }
        assert_eq!(comparison.cells(&rules, None, None), Verdict::Equal);
    }

    #[test]
    fn values_of_other_types_are_compared_for_what_they_mean() {
        use Verdict::{Different, Equal};
        across((Class::Decimal, "numeric(5,1)", "1.0"), (Class::Decimal, "numeric(5,2)", "1.00"), Equal);
        across((Class::Decimal, "numeric(5,1)", "1.1"), (Class::Decimal, "numeric(5,2)", "1.11"), Different);
        across((Class::Decimal, "numeric", "NaN"), (Class::Float, "real", "NaN"), Equal);
        across((Class::Integer, "int", "1"), (Class::Decimal, "numeric", "1.00"), Equal);
        across((Class::Integer, "int", "9007199254740993"), (Class::Float, "double", "9007199254740992"), Different);
        across((Class::Integer, "int", "1"), (Class::Float, "double", "1.5"), Different);
        across((Class::Boolean, "bool", "t"), (Class::Integer, "int", "1"), Equal);
        across((Class::Boolean, "bool", "f"), (Class::Integer, "int", "1"), Different);
        across((Class::Boolean, "bool", "odd"), (Class::Integer, "int", "1"), Different);
        across((Class::Float, "real", "0.1"), (Class::Float, "double precision", "0.10000000149011612"), Equal);
        across((Class::Float, "real", "0.1"), (Class::Float, "double precision", "0.1"), Equal);
        across((Class::Float, "double", "0.1"), (Class::Float, "double precision", "0.10000000149011612"), Different);
        across((Class::Timestamp, "", "2024-01-01 00:00:00"), (Class::Instant, "", "2024-01-01 00:00:00.0+00"), Equal);
        across((Class::Date, "", "2024-01-01"), (Class::Timestamp, "", "2024-01-01 00:00:00"), Equal);
        across((Class::Date, "", "2024-01-01"), (Class::Timestamp, "", "2024-01-01 00:00:01"), Different);
        across((Class::Text, "", "[1, 2]"), (Class::Json, "", "[1,2]"), Equal);
        across((Class::Text, "", "odd"), (Class::Json, "", "[1,2]"), Different);
        across((Class::Text, "", "1.0"), (Class::Integer, "", "1"), Different);
        across((Class::Text, "", "1"), (Class::Integer, "", "1"), Equal);
        across((Class::Text, "", "ab"), (Class::Bytes, "", "ab"), Equal);
        across((Class::Any, "", "i7"), (Class::Integer, "", "7"), Equal);
        across((Class::Any, "", "t7"), (Class::Float, "", "7"), Equal);
        across((Class::Any, "", "ta"), (Class::Text, "", "a"), Equal);
        across((Class::Any, "", "r7.5"), (Class::Integer, "", "7"), Different);
    }

    #[test]
    fn what_the_options_hide_is_told() {
        let rules = Rules::of(&DiffOptions {
            float_tolerance: 0.5,
            time_tolerance_ms: 10,
            ignore_trailing_space: true,
            ignore_case: true,
            ..DiffOptions::default()
        });
        let hidden = |class, before: &str, after: &str, expect| {
            assert_eq!(with(&rules, (class, "", before), (class, "", after)), expect, "{before} {after}");
        };
        hidden(Class::Float, "1", "1.5", Verdict::Hidden);
        hidden(Class::Float, "1", "1.6", Verdict::Different);
        hidden(Class::Float, "NaN", "1", Verdict::Different);
        hidden(Class::Decimal, "1.0", "1.1", Verdict::Different);
        hidden(Class::Text, "Straße  ", "STRAßE", Verdict::Hidden);
        hidden(Class::Text, "a ", "a", Verdict::Hidden);
        hidden(Class::Text, " a", "a", Verdict::Different);
        hidden(Class::Any, "tA", "ta", Verdict::Hidden);
        hidden(Class::Instant, "2024-01-01 00:00:00.99+00", "2024-01-01 00:00:01+00", Verdict::Hidden);
        hidden(Class::Instant, "2024-01-01 00:00:00.98+00", "2024-01-01 00:00:01+00", Verdict::Different);
        assert_eq!(with(&rules, (Class::Decimal, "", "1.25"), (Class::Float, "", "1.5")), Verdict::Hidden);
        assert_eq!(with(&rules, (Class::Decimal, "", "1.25"), (Class::Float, "", "2.5")), Verdict::Different);
        assert!(Verdict::Order.counts() && Verdict::Different.counts() && !Verdict::Hidden.counts());
    }
}
