//! Reads what SHOW GRANTS answers.

/// Where a privilege holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum On {
    Server,
    /// A pattern with `%` and `_`.
    Database(String),
    Table(String, String),
    /// A procedure or function.
    Routine,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    /// In capitals, such as `SELECT`; those for some columns of a table only are left out.
    privileges: Vec<String>,
    on: On,
    /// A partial revoke of MySQL, which takes from grants on the server.
    revoked: bool,
}

/// What an account was granted, by itself and through its roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// From the lines of SHOW GRANTS; lines of another form grant nothing that counts here.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        Self(lines.into_iter().filter_map(grant).collect())
    }

    /// True when the privilege holds for the whole server.
    pub fn on_server(&self, privilege: &str) -> bool {
        self.0.iter().any(|grant| grant.on == On::Server && !grant.revoked && grant.gives(privilege))
    }

    /// True when the privilege holds for everything in a database.
    pub fn on_database(&self, privilege: &str, database: &str) -> bool {
        let here = |grant: &&Grant| matches!(&grant.on, On::Database(pattern) if like(pattern, database)) && grant.gives(privilege);
        let revoked = self.0.iter().filter(|grant| grant.revoked).any(|grant| here(&grant));
        (self.on_server(privilege) && !revoked) || self.0.iter().filter(|grant| !grant.revoked).any(|grant| here(&grant))
    }

    /// True when the privilege holds for a table.
    pub fn on_table(&self, privilege: &str, database: &str, table: &str) -> bool {
        let this = |on: &On| matches!(on, On::Table(d, t) if d == database && t == table);
        self.on_database(privilege, database) || self.0.iter().any(|grant| this(&grant.on) && grant.gives(privilege))
    }

    /// Every privilege and where it holds, for people: `the server`, or quoted names.
    pub fn all(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().filter(|grant| !grant.revoked).flat_map(|grant| {
            let place = match &grant.on {
                On::Server => "the server".to_owned(),
                On::Database(pattern) => pattern.replace('\\', ""),
                On::Table(database, table) => format!("{database}.{table}"),
                On::Routine => "routines".to_owned(),
            };
            grant.privileges.iter().map(move |privilege| (privilege.as_str(), place.clone()))
        })
    }
}

impl Grant {
    fn gives(&self, privilege: &str) -> bool {
        // What is granted apart from ALL PRIVILEGES is never asked for here.
        self.privileges.iter().any(|given| given == privilege || given == "ALL PRIVILEGES" || given == "ALL")
    }
}

/// `GRANT privileges ON place TO account`, or `REVOKE ... FROM`.
fn grant(line: &str) -> Option<Grant> {
    let words = words(line);
    let mut rest = words.as_slice();
    let revoked = match rest.first()? {
        Word::Plain(word) if word.eq_ignore_ascii_case("GRANT") => false,
        Word::Plain(word) if word.eq_ignore_ascii_case("REVOKE") => true,
        _ => return None,
    };
    rest = &rest[1..];
    let on = rest.iter().position(|word| word.is("ON"))?;
    let to = rest.iter().rposition(|word| word.is(if revoked { "FROM" } else { "TO" })).filter(|to| *to > on)?;
    let mut privileges = Vec::new();
    for item in rest[..on].split(|word| *word == Word::Sign(',')) {
        // Those with a list of columns hold for parts of tables alone.
        if item.iter().all(|word| matches!(word, Word::Plain(_))) && !item.is_empty() {
            let name: Vec<String> = item.iter().map(|word| word.text().to_ascii_uppercase()).collect();
            privileges.push(name.join(" "));
        }
    }
    let on = match &rest[on + 1..to] {
        [Word::Sign('*'), Word::Sign('.'), Word::Sign('*')] => On::Server,
        [Word::Plain(kind), ..] if ["PROCEDURE", "FUNCTION", "PACKAGE"].iter().any(|known| kind.eq_ignore_ascii_case(known)) => On::Routine,
        [database, Word::Sign('.'), Word::Sign('*')] => On::Database(database.text().to_owned()),
        [database, Word::Sign('.'), table] => On::Table(database.text().to_owned(), table.text().to_owned()),
        _ => return None,
    };
    if rest[to..].windows(2).any(|pair| pair[0].is("GRANT") && pair[1].is("OPTION")) {
        privileges.push("GRANT OPTION".into());
    }
    Some(Grant { privileges, on, revoked })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
    Sign(char),
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Plain(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Quoted(text) => text,
            Self::Sign(_) => "",
        }
    }
}

fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    // Lists of columns are left out as a whole, so that a comma in one divides nothing: a sign stands for it.
    while let Some(c) = chars.next() {
        match c {
            '`' | '\'' | '"' => {
                let mut text = String::new();
                while let Some(inner) = chars.next() {
                    if inner == c {
                        if chars.peek() != Some(&c) {
                            break;
                        }
                        chars.next();
                    }
                    text.push(inner);
                }
                words.push(Word::Quoted(text));
            }
            '(' => {
                let mut quote = None;
                for inner in chars.by_ref() {
                    match quote {
                        Some(open) if inner == open => quote = None,
                        Some(_) => {}
                        None if matches!(inner, '`' | '\'' | '"') => quote = Some(inner),
                        None if inner == ')' => break,
                        None => {}
                    }
                }
                words.push(Word::Sign('('));
            }
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                let mut text = String::from(c);
                while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || matches!(next, '_' | '$')) {
                    text.push(next);
                }
                words.push(Word::Plain(text));
            }
            c if c.is_whitespace() => {}
            c => words.push(Word::Sign(c)),
        }
    }
    words
}

/// SQL's LIKE with `%`, `_` and the backslash, as the server matches database names of grants.
fn like(pattern: &str, name: &str) -> bool {
    fn step(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['%', rest @ ..] => (0..=name.len()).any(|skip| step(rest, &name[skip..])),
            ['\\', c, rest @ ..] => name.first() == Some(c) && step(rest, &name[1..]),
            ['_', rest @ ..] => !name.is_empty() && step(rest, &name[1..]),
            [c, rest @ ..] => name.first() == Some(c) && step(rest, &name[1..]),
        }
    }
    // No name is longer; a hostile pattern cannot make the search long.
    let pattern: Vec<char> = pattern.chars().take(256).collect();
    if pattern.iter().filter(|c| **c == '%').count() > 4 {
        return false;
    }
    step(&pattern, &name.chars().take(64).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_found_where_they_hold() {
        let grants = Grants::read([
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*ON x.* TO'",
            "GRANT SELECT, SHOW VIEW ON `shop\\_1`.* TO `u`@`%`",
            "GRANT SELECT (`a`, `b`), INSERT ON `crm`.`t``x` TO 'u'@'%' WITH GRANT OPTION",
            "GRANT EXECUTE ON PROCEDURE `crm`.`p` TO 'u'@'%'",
            "GRANT `role`@`%` TO `u`@`%`",
            "GRANT PROXY ON ''@'' TO 'root'@'localhost' WITH GRANT OPTION",
        ]);
        assert!(grants.on_database("SELECT", "shop_1") && grants.on_database("SHOW VIEW", "shop_1"));
        assert!(!grants.on_database("SELECT", "shopX1") && !grants.on_database("SELECT", "crm") && !grants.on_server("SELECT"));
        assert!(grants.on_table("INSERT", "crm", "t`x") && !grants.on_table("SELECT", "crm", "t`x"), "some columns are not the table");
        let all: Vec<_> = grants.all().filter(|(privilege, _)| *privilege == "GRANT OPTION").collect();
        assert_eq!(all, [("GRANT OPTION", "crm.t`x".to_owned())]);
    }

    #[test]
    fn all_privileges_are_every_privilege_and_revokes_take_away() {
        let grants =
            Grants::read(["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "REVOKE SELECT ON `secret`.* FROM `root`@`%`"]);
        assert!(grants.on_server("RELOAD") && grants.on_database("SELECT", "shop"));
        assert!(!grants.on_database("SELECT", "secret") && grants.on_database("INSERT", "secret"));
    }

    #[test]
    fn patterns_match_as_the_server_matches_them() {
        let check = |pattern, name, expect| assert_eq!(like(pattern, name), expect, "{pattern} {name}");
        check("shop%", "shop_1", true);
        check("shop\\_1", "shop_1", true);
        check("shop\\_1", "shopx1", false);
        check("shop_1", "shopx1", true);
        check("%", "", true);
        check("a", "ab", false);
    }
}
