//! The hooks of a schedule as its form asks for them: one group of fields each, and one argument on each line.

use super::wrong;
use crate::{
    domain::schedule::{Hook, HookStage},
    error::Result,
    web::extract::Form,
};

/// Groups of fields that a form may send; more than a schedule may have hooks.
const MOST: usize = 50;

/// The fields of one hook.
pub struct HookFields {
    pub number: usize,
    pub after: bool,
    pub seconds: String,
    /// A program, or an address.
    pub run: String,
    pub arguments: String,
    /// The arguments as JSON, where lines cannot say them: they hold line breaks themselves.
    pub exact: String,
    pub problem: Option<String>,
}

/// Puts stored hooks into a form.
pub(super) fn fill(form: &mut Form, hooks: &[Hook]) {
    for (number, hook) in hooks.iter().enumerate() {
        let mut put = |name: &str, value: String| form.0.push((format!("hook.{number}.{name}"), value));
        put("stage", hook.stage.to_string());
        put("seconds", hook.timeout_seconds.to_string());
        match (&hook.url, hook.command.split_first()) {
            (Some(url), _) => put("run", url.clone()),
            (None, Some((program, arguments))) => {
                put("run", program.clone());
                put("arguments", lines(arguments));
                if arguments.iter().any(|argument| argument.contains(['\n', '\r'])) {
                    put("exact", serde_json::json!(arguments).to_string());
                }
            }
            (None, None) => {}
        }
    }
}

/// The groups to be drawn: as they were sent or stored, and a blank one. `problems` are those of the schedule.
pub(super) fn groups(form: &Form, problems: &[(String, String)]) -> Vec<HookFields> {
    let mut place = 0;
    let mut groups: Vec<HookFields> = Vec::new();
    for number in numbers(form) {
        if is_blank(form, number) {
            continue;
        }
        let of_this = format!("hooks.{place}");
        let problem = problems.iter().find(|problem| problem.0 == of_this).map(|problem| problem.1.clone());
        let text = |name: &str| raw(form, number, name).to_owned();
        groups.push(HookFields {
            number: place,
            after: raw(form, number, "stage") == HookStage::After.as_str(),
            seconds: text("seconds"),
            run: text("run"),
            arguments: text("arguments"),
            exact: text("exact"),
            problem,
        });
        place += 1;
    }
    groups.push(HookFields {
        number: place,
        after: false,
        seconds: "60".into(),
        run: String::new(),
        arguments: String::new(),
        exact: String::new(),
        problem: None,
    });
    groups
}

/// The hooks that a sent form stands for, without its blank groups; `None` when it asks for none.
pub(super) fn read(form: &Form) -> Result<Option<Vec<Hook>>> {
    let mut hooks: Option<Vec<Hook>> = None;
    for number in numbers(form) {
        let hooks = hooks.get_or_insert_default();
        if !is_blank(form, number) {
            let hook = read_one(form, number).map_err(|problem| wrong(&format!("hooks.{}", hooks.len()), &problem))?;
            hooks.push(hook);
        }
    }
    Ok(hooks)
}

fn read_one(form: &Form, number: usize) -> Result<Hook, String> {
    let stage = match raw(form, number, "stage").trim() {
        "" => HookStage::Before,
        text => text.parse().map_err(|_| "it runs either before or after".to_owned())?,
    };
    let timeout_seconds = match raw(form, number, "seconds").trim() {
        "" => 60,
        text => text.parse().map_err(|_| format!("its timeout '{text}' is not a number of seconds"))?,
    };
    let run = raw(form, number, "run").trim();
    let arguments = arguments(form, number);
    if run.is_empty() {
        return Err("it has arguments but neither a program nor an address: name one, or clear the arguments".into());
    }
    if !run.contains("://") {
        let command = std::iter::once(run.to_owned()).chain(arguments).collect();
        return Ok(Hook { stage, command, url: None, timeout_seconds });
    }
    match arguments.as_slice() {
        [] => Ok(Hook { stage, command: Vec::new(), url: Some(run.to_owned()), timeout_seconds }),
        _ => Err("an address takes no arguments: the backup's facts are posted to it".into()),
    }
}

/// Each line is one argument as it stands, an empty line an empty one. What nobody changed stays exactly as it is.
fn arguments(form: &Form, number: usize) -> Vec<String> {
    let typed = with_plain_breaks(raw(form, number, "arguments"));
    let exact: Option<Vec<String>> = serde_json::from_str(raw(form, number, "exact")).ok();
    match exact {
        Some(exact) if with_plain_breaks(&lines(&exact)) == typed => exact,
        _ => typed.lines().map(str::to_owned).collect(),
    }
}

/// Each argument with the end of its line, so that an empty last one is seen.
fn lines(arguments: &[String]) -> String {
    arguments.iter().map(|argument| format!("{argument}\n")).collect()
}

/// Browsers send every line break as two characters.
fn with_plain_breaks(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn numbers(form: &Form) -> impl Iterator<Item = usize> {
    (0..MOST).filter(|number| form.has(&format!("hook.{number}.run")))
}

fn raw<'a>(form: &'a Form, number: usize, name: &str) -> &'a str {
    form.raw(&format!("hook.{number}.{name}"))
}

/// Nothing was typed into it: blank lines alone are no arguments of a program that is not named.
fn is_blank(form: &Form, number: usize) -> bool {
    ["run", "arguments"].iter().all(|name| raw(form, number, name).trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(command: &[&str]) -> Hook {
        let command = command.iter().map(|&argument| argument.to_owned()).collect();
        Hook { stage: HookStage::After, command, url: None, timeout_seconds: 7 }
    }

    /// What a browser sends of a drawn form.
    fn sent(groups: &[HookFields]) -> Form {
        let mut form = Form::default();
        for group in groups {
            let stage = if group.after { "after" } else { "before" };
            let with_breaks = with_plain_breaks(&group.arguments).replace('\n', "\r\n");
            for (name, value) in
                [("stage", stage), ("seconds", &group.seconds), ("run", &group.run), ("arguments", &with_breaks), ("exact", &group.exact)]
            {
                form.0.push((format!("hook.{}.{name}", group.number), value.to_owned()));
            }
        }
        form
    }

    #[test]
    fn every_argument_comes_back_as_it_was() {
        let hooks = vec![
            hook(&["plain"]),
            hook(&["one", ""]),
            hook(&["blanks", "", "a b", "  lead and trail  ", "", ""]),
            hook(&["quotes", "\"double\"", "'single'", "back\\slash", "$(no shell)", "<&amp;>", "\t"]),
            hook(&["unicode", "naïve café", "数据库", "🗄️", "\u{feff}", "\u{2028}"]),
            hook(&["breaks", "two\nlines", "carriage\r\nreturn", "\n", "\r", ""]),
            Hook { stage: HookStage::Before, command: Vec::new(), url: Some("https://example.com/a b".into()), timeout_seconds: 3600 },
        ];
        let mut form = Form::default();
        fill(&mut form, &hooks);
        let drawn = groups(&form, &[]);
        assert_eq!(drawn.len(), hooks.len() + 1, "and a blank one");
        assert_eq!(read(&sent(&drawn)).unwrap().unwrap(), hooks);
    }

    #[test]
    fn a_group_that_was_cleared_is_gone_and_the_others_keep_their_problems() {
        let mut form = Form::default();
        fill(&mut form, &[hook(&["one", "x"]), hook(&["two"]), hook(&["three"])]);
        form.0.iter_mut().filter(|field| field.0 == "hook.1.run").for_each(|field| field.1 = " ".into());
        let read_back = read(&form).unwrap().unwrap();
        assert_eq!(read_back, [hook(&["one", "x"]), hook(&["three"])]);
        let drawn = groups(&form, &[("hooks.1".into(), "is odd".into())]);
        assert_eq!((drawn[1].run.as_str(), drawn[1].problem.as_deref()), ("three", Some("is odd")));
        assert!(read(&Form::default()).unwrap().is_none(), "a form without the fields asks for no change");
    }

    #[test]
    fn what_is_no_hook_is_refused_at_its_place() {
        for (fields, words) in [
            ([("run", ""), ("arguments", "x")], "neither a program nor an address"),
            ([("run", "https://example.com"), ("arguments", "x")], "takes no arguments"),
            ([("run", "go"), ("seconds", "soon")], "'soon' is not a number"),
            ([("run", "go"), ("stage", "during")], "either before or after"),
        ] {
            let mut form = Form::default();
            fill(&mut form, &[hook(&["fine"])]);
            form.0.extend(fields.map(|(name, value)| (format!("hook.1.{name}"), value.to_owned())));
            let error = read(&form).unwrap_err();
            assert!(error.fields[0].0 == "hooks.1" && error.fields[0].1.contains(words), "{error}");
        }
    }
}
