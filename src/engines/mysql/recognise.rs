//! Tells from its first bytes whether an upload is an SQL script of MySQL or MariaDB, and of no other database.

use super::token::{Tokens, What};
use crate::domain::artifact::DumpFormat;

/// Texts that only dump programs for MySQL and MariaDB write.
const MARKS: &[&str] = &[
    "-- MySQL dump ",
    "-- MariaDB dump ",
    "-- mysqldump",
    "-- phpMyAdmin SQL Dump",
    "-- Adminer",
    "/*!40",
    "/*!50",
    "/*!80",
    "/*M!",
    "ENGINE=InnoDB",
    "ENGINE=MyISAM",
    "AUTO_INCREMENT=",
    "-- HeidiSQL",
    "-- Navicat",
];
/// Words that a script may begin with.
const BEGINNINGS: &[&str] =
    &["alter", "create", "delete", "delimiter", "drop", "insert", "lock", "replace", "set", "start", "truncate", "update", "use"];

/// A script by a mark of its dump program, or by a first statement that quotes names as these databases do.
pub fn recognise(head: &[u8]) -> Option<DumpFormat> {
    if head.contains(&0) && !head.starts_with(b"--") && !head.starts_with(b"/*") {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}');
    if ["-- PostgreSQL database", "SQLite format 3", "PRAGMA "].iter().any(|other| text.contains(other)) {
        return None;
    }
    let text = text.as_bytes();
    let begins = Tokens::new(text).next().is_none_or(|first| BEGINNINGS.iter().any(|word| first.is(text, word)));
    let marked = MARKS.iter().any(|mark| memchr::memmem::find(text, mark.as_bytes()).is_some());
    let backticks = Tokens::new(text).take(200).any(|token| token.what == What::Name);
    (begins && (marked || backticks || uses(text))).then_some(DumpFormat::PlainSql)
}

/// Commands that no other database's scripts have.
fn uses(text: &[u8]) -> bool {
    Tokens::new(text).next().is_some_and(|first| ["use", "delimiter"].iter().any(|word| first.is(text, word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_these_databases_are_recognised_and_others_are_not() {
        for (head, expect) in [
            (&b"-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)\n--\n"[..], true),
            (b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.8.6-MariaDB\n", true),
            (b"/*!40101 SET NAMES binary*/;\n/*!40014 SET FOREIGN_KEY_CHECKS=0*/;\nCREATE TABLE `a` (", true),
            (b"-- phpMyAdmin SQL Dump\nSET SQL_MODE = \"NO_AUTO_VALUE_ON_ZERO\";\n", true),
            (b"CREATE TABLE `t` (`a` int);", true),
            (b"INSERT INTO `t` VALUES (1);", true),
            (b"USE shop;\nCREATE TABLE t (a int);", true),
            (b"CREATE TABLE t (a int);", false),
            (b"CREATE TABLE \"t\" (a text DEFAULT '`');", false),
            (b"--\n-- PostgreSQL database dump\n--\nSET a = 1; -- /*!40101", false),
            (b"SQLite format 3\0/*!40101", false),
            (b"hello `world`", false),
            (b"PGDMP\x01\x0e`", false),
            (b"", false),
        ] {
            assert_eq!(recognise(head).is_some(), expect, "{}", String::from_utf8_lossy(head));
        }
    }
}
