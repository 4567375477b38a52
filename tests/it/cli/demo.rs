//! The demonstration needs nothing but the binary.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use super::Place;
use crate::support::served::free_port;

#[test]
fn the_demo_shows_each_step_and_leaves_what_it_says() {
    let place = Place::new();
    let said = place.command(&["demo", "--once", "--dir", "shown"]).output().unwrap();
    let said = super::Said::from(said).ok();
    for words in [
        "1. Made a shop",
        "2. Backed it up",
        "3. Changed it",
        "4. Backed it up again",
        "5. Verified both",
        "6. Restored the first",
        "orders 4000 (now 3000)",
    ] {
        assert!(said.out.contains(words), "'{words}' is not in: {}", said.out);
    }
    let count = |file: &str| {
        let connection = rusqlite::Connection::open(place.path("shown").join(file)).unwrap();
        connection.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("shop.db"), count("shop-as-it-was.db")), (3000, 4000));
    let said = place.command(&["demo", "--once", "--dir", "shown"]).output().unwrap();
    super::Said::from(said).failed(2, "shown");
}

#[tokio::test]
async fn the_demo_serves_what_it_made_until_it_is_asked_to_stop() {
    let place = Place::new();
    let mut demo = place.command(&["demo"]).env("PORT", free_port().to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(demo.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let address = loop {
        let line = lines.recv_timeout(Duration::from_secs(120)).expect("the demo says where to see it");
        if let Some(place) = line.strip_prefix("See it at ") {
            break place.split_whitespace().next().unwrap().to_owned();
        }
    };
    assert_eq!(reqwest::get(&address).await.unwrap().status(), 200);
    rustix::process::kill_process(rustix::process::Pid::from_child(&demo), rustix::process::Signal::TERM).unwrap();
    assert!(demo.wait().unwrap().success());
    assert!(reqwest::get(&address).await.is_err(), "nothing listens any more");
}
