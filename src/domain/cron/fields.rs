//! The five fields of a cron expression: checked, with names as numbers, and what their form says.

use crate::error::{Error, Result};

/// Name, smallest and largest value, and what values may be called.
struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: MONTHS },
    // 7 is Sunday too.
    Field { name: "day of week", least: 0, most: 7, names: WEEKDAYS },
];

const NAMED: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// What the pattern library is given, and what it does not tell.
pub(super) struct Fields {
    pub pattern: String,
    /// Neither minute nor hour has a `*` or a step.
    pub fixed: bool,
    /// The day of month begins with `*`: it does not count as given.
    pub any_day: bool,
    pub any_weekday: bool,
}

pub(super) fn read(text: &str) -> Result<Fields> {
    let named = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, pattern)| *pattern);
    let parts: Vec<&str> = match named {
        Some(pattern) => pattern.split(' ').collect(),
        None if text.starts_with('@') => return Err(refused(text, "there is no such name")),
        None => text.split_whitespace().collect(),
    };
    if parts.len() != FIELDS.len() {
        let why = match parts.len() {
            6 | 7 => format!("it has {} fields: seconds and years are not used here", parts.len()),
            found => format!("it has {found} of the five fields"),
        };
        return Err(refused(text, &why));
    }
    let read = |(field, part): (&Field, &&str)| field.read(part).map_err(|why| refused(text, &why));
    let pattern: Vec<String> = FIELDS.iter().zip(&parts).map(read).collect::<Result<_>>()?;
    let interval = |part: &str| part.contains(['*', '/']);
    Ok(Fields {
        pattern: pattern.join(" "),
        fixed: !interval(parts[0]) && !interval(parts[1]),
        any_day: parts[2].starts_with('*'),
        any_weekday: parts[4].starts_with('*'),
    })
}

pub(super) fn refused(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::validation(format!("'{shown}' is not a cron expression: {why}")).hint(
        "write minute, hour, day of month, month and day of week, such as '30 2 * * 1-5', or @hourly, @daily, @weekly, @monthly, @yearly",
    )
}

impl Field {
    /// The field in numbers. Errors with what is wrong.
    fn read(&self, part: &str) -> Result<String, String> {
        if part == "*" {
            return Ok(part.to_owned());
        }
        let items: Vec<String> = part.split(',').map(|item| self.item(item)).collect::<Result<_, _>>()?;
        Ok(items.join(","))
    }

    /// `*`, a value or a range, each with or without a step.
    fn item(&self, item: &str) -> Result<String, String> {
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, Some(self.step(step)?)),
            None => (item, None),
        };
        let (first, last) = match values.split_once('-') {
            _ if values == "*" => (self.least, self.most),
            Some((first, last)) => {
                let first = self.value(first)?;
                // As the end of a range Sunday is the last day of the week: `fri-sun`.
                (first, if first > 0 && self.names == WEEKDAYS && last.eq_ignore_ascii_case("sun") { self.most } else { self.value(last)? })
            }
            // A value with a step goes on to the end.
            None if step.is_some() => (self.value(values)?, self.most),
            None => return self.value(values).map(|value| value.to_string()),
        };
        if first > last {
            // Sunday is named once, as 0.
            let end = if self.names == WEEKDAYS { self.most - 1 } else { self.most };
            let parts = format!("{first}-{end},{}-{last}", self.least);
            return Err(format!("in the {} the range {values} ends before it begins: write {parts}", self.name));
        }
        Ok(format!("{first}-{last}/{}", step.unwrap_or(1)))
    }

    fn step(&self, text: &str) -> Result<u16, String> {
        let most = self.most - self.least + 1;
        match text.parse::<u16>() {
            Ok(step) if (1..=most).contains(&step) && text.bytes().all(|b| b.is_ascii_digit()) => Ok(step),
            _ => Err(format!("in the {} '{text}' is not a step from 1 to {most}", self.name)),
        }
    }

    fn value(&self, text: &str) -> Result<u16, String> {
        if let Some(place) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.least + u16::try_from(place).unwrap_or(0));
        }
        match text.parse::<u16>() {
            Ok(value) if (self.least..=self.most).contains(&value) && text.bytes().all(|b| b.is_ascii_digit()) => Ok(value),
            _ => Err(format!("the {} '{text}' is not {}", self.name, self.expected())),
        }
    }

    fn expected(&self) -> String {
        let numbers = format!("a number from {} to {}", self.least, self.most);
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("{numbers} or a name from {first} to {last}"),
            _ => numbers,
        }
    }
}
