//! Which member of a replica set to speak to.

use std::collections::{HashSet, VecDeque};

use mongodb::options::ReadPreference;

use super::{
    address::Address,
    connect::{Purpose, Seeds, Target},
    hello::Hello,
};
use crate::{
    domain::run::Run,
    engines::network::Link,
    error::{Error, Kind, Result},
};

/// More than a replica set may have.
const MOST_ASKED: usize = 64;

type Member = (Address, Link, Hello);

/// Asks the seeds, and the members that they name unless the target stays with its hosts, until one fits what the
/// connection is for. Errors when none does, with what each of them said.
pub async fn choose(target: &Target, seeds: &Seeds, purpose: Purpose, run: &Run) -> Result<Member> {
    let mut asked = HashSet::new();
    let mut waiting: VecDeque<Address> = seeds.hosts.iter().cloned().collect();
    let mut best: Option<(Fit, Member)> = None;
    let (mut failures, mut unfit): (Vec<Error>, Vec<String>) = (Vec::new(), Vec::new());
    while let Some(address) = waiting.pop_front() {
        if asked.len() == MOST_ASKED || !asked.insert(address.clone()) {
            continue;
        }
        let (link, hello) = match target.ask(&address, run).await {
            Ok(answer) => answer,
            // A refused key or certificate is no member that happens to be away.
            Err(error) if error.is_cancelled() || !error.retryable => return Err(error),
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        check_set(&address, &hello, seeds)?;
        if !target.direct {
            // The primary is asked next, because it mostly is what is looked for.
            hello.primary.iter().for_each(|primary| waiting.push_front(primary.clone()));
            waiting.extend(hello.members.iter().cloned());
        }
        let fit = fit(&hello, purpose, &target.preference, target.direct);
        if fit == Fit::None {
            unfit.push(format!("{address} is {}", hello.role()));
            continue;
        }
        let nearer = |other: &Hello| hello.round_trip < other.round_trip;
        let better = best.as_ref().is_none_or(|(other, member)| fit > *other || (fit == Fit::Nearest && nearer(&member.2)));
        if better {
            best = Some((fit, (address, link, hello)));
        }
        if fit == Fit::Exact {
            break;
        }
    }
    match best {
        Some((_, member)) => Ok(member),
        None => Err(none_fits(failures, &unfit, purpose)),
    }
}

/// How well a server fits, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    None,
    /// Where none better answers.
    Second,
    /// Each does; the nearest is taken.
    Nearest,
    Exact,
}

fn fit(hello: &Hello, purpose: Purpose, preference: &ReadPreference, direct: bool) -> Fit {
    if hello.set_name.is_none() {
        // A standalone or a router serves everything, unless it is a member that no set has taken in yet.
        return if hello.writable_primary || hello.mongos { Fit::Exact } else { Fit::None };
    }
    match (purpose, preference) {
        (Purpose::Write, _) => {
            if hello.writable_primary {
                Fit::Exact
            } else {
                Fit::None
            }
        }
        (Purpose::Read, _) if !hello.writable_primary && !hello.secondary => Fit::None,
        (Purpose::Read, _) if direct => Fit::Exact,
        (Purpose::Read, ReadPreference::Secondary { .. }) => {
            if hello.secondary {
                Fit::Exact
            } else {
                Fit::None
            }
        }
        (Purpose::Read, ReadPreference::SecondaryPreferred { .. }) => {
            if hello.secondary {
                Fit::Exact
            } else {
                Fit::Second
            }
        }
        (Purpose::Read, ReadPreference::PrimaryPreferred { .. }) => {
            if hello.writable_primary {
                Fit::Exact
            } else {
                Fit::Second
            }
        }
        (Purpose::Read, ReadPreference::Nearest { .. }) => Fit::Nearest,
        (Purpose::Read, _) => {
            if hello.writable_primary {
                Fit::Exact
            } else {
                Fit::None
            }
        }
    }
}

fn check_set(address: &Address, hello: &Hello, seeds: &Seeds) -> Result<()> {
    let Some(expected) = &seeds.replica_set else { return Ok(()) };
    match &hello.set_name {
        Some(set) if set == expected => Ok(()),
        _ if hello.mongos => Ok(()),
        Some(set) => Err(Error::new(Kind::Database, format!("{address} belongs to the replica set {set}, not to {expected}"))
            .hint("check the hosts, or the setting replicaSet")),
        None => Err(Error::new(Kind::Database, format!("{address} belongs to no replica set, but {expected} is asked for"))
            .hint("check the hosts, or clear the setting replicaSet")),
    }
}

fn none_fits(mut failures: Vec<Error>, unfit: &[String], purpose: Purpose) -> Error {
    if unfit.is_empty() && failures.len() == 1 {
        return failures.remove(0);
    }
    let retryable = failures.iter().any(|failure| failure.retryable) || !unfit.is_empty();
    let said: Vec<String> = unfit.iter().cloned().chain(failures.iter().map(|failure| failure.context.clone())).collect();
    let error = match purpose {
        Purpose::Read if unfit.is_empty() => Error::new(Kind::Database, format!("no server answers: {}", said.join("; "))),
        Purpose::Read => Error::new(Kind::Database, format!("no member fits the read preference: {}", said.join("; "))),
        Purpose::Write => Error::new(Kind::Database, format!("no primary is found to write to: {}", said.join("; "))),
    };
    let error = if unfit.is_empty() {
        error.hint("check the hosts")
    } else {
        error.hint("a replica set names its members itself: make those names reachable, or list reachable hosts and set directConnection")
    };
    if retryable { error.retryable() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_that_is_read_from_is_the_one_preferred() {
        let set = Some("rs0".to_owned());
        let primary = Hello { set_name: set.clone(), writable_primary: true, ..Hello::default() };
        let secondary = Hello { set_name: set.clone(), secondary: true, ..Hello::default() };
        let starting = Hello { set_name: set, ..Hello::default() };
        let options = None;
        for (preference, of_primary, of_secondary) in [
            (ReadPreference::Primary, Fit::Exact, Fit::None),
            (ReadPreference::PrimaryPreferred { options: options.clone() }, Fit::Exact, Fit::Second),
            (ReadPreference::Secondary { options: options.clone() }, Fit::None, Fit::Exact),
            (ReadPreference::SecondaryPreferred { options: options.clone() }, Fit::Second, Fit::Exact),
            (ReadPreference::Nearest { options }, Fit::Nearest, Fit::Nearest),
        ] {
            assert_eq!(fit(&primary, Purpose::Read, &preference, false), of_primary, "{preference:?}");
            assert_eq!(fit(&secondary, Purpose::Read, &preference, false), of_secondary, "{preference:?}");
            assert_eq!(fit(&starting, Purpose::Read, &preference, true), Fit::None);
            assert_eq!(fit(&secondary, Purpose::Read, &preference, true), Fit::Exact);
            assert_eq!(fit(&secondary, Purpose::Write, &preference, true), Fit::None);
        }
        let standalone = Hello { writable_primary: true, ..Hello::default() };
        assert_eq!(fit(&standalone, Purpose::Read, &ReadPreference::Secondary { options: None }, false), Fit::Exact);
    }
}
