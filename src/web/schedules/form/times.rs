//! The times of a schedule as its form asks for them.

use super::wrong;
use crate::{error::Result, web::extract::Form};

pub const WEEKDAYS: &[(&str, &str)] =
    &[("1", "Monday"), ("2", "Tuesday"), ("3", "Wednesday"), ("4", "Thursday"), ("5", "Friday"), ("6", "Saturday"), ("0", "Sunday")];

/// The fields of an expression: one of the usual ones, or as it is.
pub(super) fn times(cron: Option<&str>) -> Form {
    let mut fields = vec![
        ("frequency", "daily".to_owned()),
        ("minute", "0".to_owned()),
        ("dailyTime", "02:30".to_owned()),
        ("weeklyDay", "0".to_owned()),
        ("weeklyTime", "02:30".to_owned()),
        ("monthlyDay", "1".to_owned()),
        ("monthlyTime", "02:30".to_owned()),
        ("cron", cron.unwrap_or("30 2 * * 1-5").to_owned()),
    ];
    let mut set = |name: &str, value: String| {
        if let Some(field) = fields.iter_mut().find(|field| field.0 == name) {
            field.1 = value;
        }
    };
    if let Some(cron) = cron {
        let parts: Vec<&str> = cron.split_whitespace().collect();
        let number = |text: &str| text.parse::<u8>().ok();
        let time = |minute: &str, hour: &str| Some(format!("{:02}:{:02}", number(hour)?, number(minute)?));
        match parts.as_slice() {
            [minute, "*", "*", "*", "*"] if number(minute).is_some() => {
                set("frequency", "hourly".to_owned());
                set("minute", (*minute).to_owned());
            }
            [minute, hour, day, "*", weekday] if let Some(time) = time(minute, hour) => match (*day, *weekday) {
                ("*", "*") => set("dailyTime", time),
                ("*", day) if WEEKDAYS.iter().any(|known| known.0 == day) => {
                    set("frequency", "weekly".to_owned());
                    set("weeklyDay", day.to_owned());
                    set("weeklyTime", time);
                }
                (day, "*") if number(day).is_some() => {
                    set("frequency", "monthly".to_owned());
                    set("monthlyDay", day.to_owned());
                    set("monthlyTime", time);
                }
                _ => set("frequency", "custom".to_owned()),
            },
            _ => set("frequency", "custom".to_owned()),
        }
    }
    Form(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The expression that the form's times stand for; `None` when it runs after another schedule.
pub fn cron(form: &Form) -> Result<Option<String>> {
    let at = |name: &str| {
        let time = form.text(name).split_once(':').and_then(|(hour, minute)| Some((hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?)));
        time.ok_or_else(|| wrong("cron", "the time of day is not one: write it as 02:30"))
    };
    Ok(Some(match form.text("frequency") {
        "hourly" => format!("{} * * * *", form.text("minute")),
        "weekly" => at("weeklyTime").map(|(hour, minute)| format!("{minute} {hour} * * {}", form.text("weeklyDay")))?,
        "monthly" => at("monthlyTime").map(|(hour, minute)| format!("{minute} {hour} {} * *", form.text("monthlyDay")))?,
        "custom" => form.text("cron").to_owned(),
        "after" => return Ok(None),
        _ => at("dailyTime").map(|(hour, minute)| format!("{minute} {hour} * * *"))?,
    }))
}
