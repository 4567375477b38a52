//! What SHOW CREATE TABLE answers, taken apart where it holds more than a definition.

/// A statement that makes a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// Without the next number of AUTO_INCREMENT, which changes with the rows.
    pub definition: String,
    pub auto_increment: Option<String>,
    pub partition_by: Option<String>,
}

impl Shape {
    pub fn of(statement: &str) -> Self {
        let bytes = statement.as_bytes();
        let (mut depth, mut quote, mut at) = (0_usize, None, 0);
        let (mut number, mut partition) = (None, None);
        let mut columns_over = false;
        while at < bytes.len() {
            let byte = bytes[at];
            match (quote, byte) {
                // Names have no escapes but the doubled quote, which ends one and begins another.
                (Some(b'\''), b'\\') => at += 1,
                (Some(end), _) if end == byte => quote = None,
                (Some(_), _) => {}
                (None, b'\'' | b'"' | b'`') => quote = Some(byte),
                (None, b'(') => depth += 1,
                (None, b')') => {
                    depth = depth.saturating_sub(1);
                    columns_over |= depth == 0;
                }
                (None, b' ') if columns_over && depth == 0 && number.is_none() => {
                    const WORDS: &str = " AUTO_INCREMENT=";
                    if bytes[at..].starts_with(WORDS.as_bytes()) {
                        let start = at + WORDS.len();
                        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                        number = Some((at, start, start + digits));
                    }
                }
                (None, b'P') if columns_over && depth == 0 && partition.is_none() => {
                    partition = bytes[at..].starts_with(b"PARTITION BY ").then_some(at);
                }
                _ => {}
            }
            at += 1;
        }
        let partition_by = partition.map(|at| statement[at..].trim_end().trim_end_matches("*/").trim_end().to_owned());
        match number {
            Some((from, start, end)) => Self {
                definition: format!("{}{}", &statement[..from], &statement[end..]),
                auto_increment: Some(statement[start..end].to_owned()),
                partition_by,
            },
            None => Self { definition: statement.to_owned(), auto_increment: None, partition_by },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_and_the_partitions_are_found_outside_of_names_and_texts() {
        let statement = "CREATE TABLE `a (\\` (\n  `id` int DEFAULT '\\' ) AUTO_INCREMENT=1 ' COMMENT 'it''s ) AUTO_INCREMENT=2 PARTITION BY'\n) \
             ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4 COMMENT=' AUTO_INCREMENT=7'\n\
             /*!50100 PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (9) ENGINE = InnoDB) */";
        let shape = Shape::of(statement);
        assert_eq!(shape.auto_increment.as_deref(), Some("42"));
        assert_eq!(shape.definition, statement.replace(" AUTO_INCREMENT=42", ""));
        assert_eq!(shape.partition_by.as_deref(), Some("PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (9) ENGINE = InnoDB)"));
        assert_eq!(Shape::of("CREATE TABLE `t` (`a` int)").auto_increment, None);
    }
}
