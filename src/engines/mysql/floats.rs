//! Tables with FLOAT columns. mysqldump prints a FLOAT with 6 digits, so their rows are not its work: it writes their
//! definitions and triggers, and [`super::rows`] what is between, read from a snapshot of our own.
//!
//! In the dump the definitions stand before everything else, because views need them, and the rows and triggers at the
//! end: while they are read, the program waits for nothing and no time limit of the server runs against it.

use bytes::Bytes;
use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    arguments::{Arguments, Part},
    catalogue::{FloatTable, Scope},
    connect::{Target, clean, failed, ident},
    record::record,
    rows,
    text::{Head, send},
};
use crate::{
    domain::{run::Run, stream::ByteSender},
    error::{Error, Kind, Result},
};

/// Longest list of names on one command line, bytes.
const NAMES: usize = 64 * 1024;

/// How a script of rows begins and ends: as mysqldump's do.
const BEGIN: &str = "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!50503 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
";
const END: &str = "
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;
";

/// The tables whose rows we read ourselves, and the snapshot to read them from.
pub struct Floats {
    pub tables: Vec<FloatTable>,
    pub reader: Conn,
}

impl Floats {
    /// What stands before the program's own statements.
    pub async fn begin(&mut self, arguments: &Arguments<'_>, target: &Target, scope: &Scope, out: &ByteSender, run: &Run) -> Result<()> {
        send(out, arguments.without_binary_log()).await?;
        if arguments.data_only() {
            return Ok(());
        }
        for tables in self.tables.chunk_by(|one, next| one.database == next.database) {
            let database = &tables[0].database;
            if scope.is_all() {
                let row = record(&mut self.reader, &format!("SHOW CREATE DATABASE IF NOT EXISTS {}", ident(database))).await;
                let row = row.map_err(|failure| target.explain(failure.while_doing(format!("reading the definition of {database}"))))?;
                send(out, format!("\n{};\n\nUSE {};\n\n", row.text(1), ident(database))).await?;
            }
            part(Part::Definitions, tables, arguments, target, out, run).await?;
        }
        Ok(())
    }

    /// What stands after them, up to the end mark.
    pub async fn end(&mut self, arguments: &Arguments<'_>, target: &Target, scope: &Scope, out: &ByteSender, run: &Run) -> Result<()> {
        for tables in self.tables.chunk_by(|one, next| one.database == next.database) {
            if scope.is_all() {
                let choose = format!("USE {}", ident(&tables[0].database));
                let chosen = self.reader.query_drop(&choose).await;
                chosen.map_err(|cause| target.explain(failed(format!("choosing the database {}", tables[0].database), cause)))?;
                send(out, format!("\n{choose};\n\n")).await?;
            }
            send(out, BEGIN).await?;
            for table in tables {
                send(out, format!("\n--\n-- Dumping data for table {}\n--\n\n", clean(&ident(&table.name)))).await?;
                run.until_cancelled(rows::write(&mut self.reader, table, target, out)).await?;
            }
            send(out, END).await?;
            if arguments.triggers() {
                part(Part::Triggers, tables, arguments, target, out, run).await?;
            }
        }
        Ok(())
    }
}

/// Lets the program write a part of some tables of one database.
async fn part(part: Part, tables: &[FloatTable], arguments: &Arguments<'_>, target: &Target, out: &ByteSender, run: &Run) -> Result<()> {
    let mut rest = tables;
    while !rest.is_empty() {
        let mut length = 0;
        let fits = |table: &&FloatTable| {
            length += table.name.len() + 1;
            length <= NAMES
        };
        let (some, more) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = more;
        let program = target
            .program(arguments.tool, run)?
            .args(arguments.part(part))
            .args(["--", &tables[0].database])
            .args(some.iter().map(|table| &table.name))
            .stdout();
        let mut child = program.spawn(run)?;
        let sent = async {
            let head = Head::read(&mut child, run).await?;
            send(out, head.all()).await?;
            child.send_to(out, run).await
        };
        match sent.await {
            Ok(_) => child.success(run).await?,
            Err(error) => {
                child.kill().await;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The names of the tables, for a message.
pub fn names(tables: &[FloatTable], scope: &Scope) -> String {
    let name = |table: &FloatTable| if scope.is_all() { format!("{}.{}", table.database, table.name) } else { table.name.clone() };
    tables.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The last line of a finished dump, taken off its end. Errors when it is not there.
pub fn cut_end_mark(tail: &Bytes) -> Result<(Bytes, Bytes)> {
    const MARK: &[u8] = b"-- Dump completed";
    let at = memchr::memmem::rfind(tail, MARK).filter(|at| {
        let line = &tail[*at..];
        (*at == 0 || tail[*at - 1] == b'\n') && !line[..line.len() - 1].contains(&b'\n')
    });
    match at {
        Some(at) => Ok((tail.slice(..at), tail.slice(at..))),
        None => Err(Error::new(Kind::Backup, "the dump does not end with the line 'Dump completed'")),
    }
}
