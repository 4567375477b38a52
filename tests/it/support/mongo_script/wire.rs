//! Messages: OP_MSG, and OP_QUERY for the first `isMaster` of drivers.

use std::{io, sync::Arc};

use mongodb::bson::{Document, RawDocumentBuf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Command, State};

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;
const MORE_TO_COME: u32 = 2;

pub async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await?;
        let number = |at: usize| i32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let mut body = vec![0; usize::try_from(number(0)).unwrap() - 16];
        stream.read_exact(&mut body).await?;
        let (id, kind) = (number(4), number(12));
        let (command, silent) = match kind {
            OP_QUERY => (query(&body), false),
            OP_MSG => message(&body),
            other => panic!("a message of kind {other}"),
        };
        let Some(answer) = state.answer(command).await else { return Ok(()) };
        if silent {
            continue;
        }
        let answer = answer.to_vec().unwrap();
        let mut out = Vec::new();
        if kind == OP_QUERY {
            for number in [0, 0, 0, 0, 1] {
                out.extend(i32::to_le_bytes(number));
            }
        } else {
            out.extend([0; 5]);
        }
        out.extend(answer);
        let reply = if kind == OP_QUERY { OP_REPLY } else { OP_MSG };
        let length = i32::try_from(out.len() + 16).unwrap();
        let mut whole: Vec<u8> = [length, 1, id, reply].iter().flat_map(|number| number.to_le_bytes()).collect();
        whole.extend(out);
        stream.write_all(&whole).await?;
    }
}

/// Flags, name, numbers to skip and return, document.
fn query(body: &[u8]) -> Command {
    let name = body[4..].iter().position(|byte| *byte == 0).unwrap();
    let mut document = Document::from_reader(&body[4 + name + 1 + 8..]).unwrap();
    if !document.contains_key("$db") {
        document.insert("$db", "admin");
    }
    Command { body: document, documents: Vec::new() }
}

/// Flags and sections; whether no answer is wanted.
fn message(body: &[u8]) -> (Command, bool) {
    let flags = u32::from_le_bytes(body[..4].try_into().unwrap());
    let mut rest = &body[4..];
    let length = |bytes: &[u8]| usize::try_from(i32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
    let (mut main, mut documents) = (Document::new(), Vec::new());
    while let [section, after @ ..] = rest {
        let size = length(after);
        let (this, next) = after.split_at(size);
        rest = next;
        if *section == 0 {
            main = Document::from_reader(this).unwrap();
            continue;
        }
        let name = 4 + this[4..].iter().position(|byte| *byte == 0).unwrap();
        let mut items = &this[name + 1..];
        while !items.is_empty() {
            let (item, more) = items.split_at(length(items));
            documents.push(RawDocumentBuf::from_bytes(item.to_vec()).unwrap());
            items = more;
        }
    }
    if main.contains_key("insert")
        && let Some(inline) = main.remove("documents")
    {
        documents.extend(inline.as_array().unwrap().iter().map(|one| RawDocumentBuf::try_from(one.as_document().unwrap()).unwrap()));
    }
    (Command { body: main, documents }, flags & MORE_TO_COME != 0)
}
