//! With which calls a process is ready: those that wait, or those that were named instead.
use crate::calls::{self, Rule};
use crate::failure::Failure;
use crate::layout;

/// The rules of all calls, by number. `named`: the calls that settle a process, if there are any.
pub fn rules(named: &[u32]) -> impl Iterator<Item = Rule> {
    (0..layout::CALLS as u32).map(calls::rule_of).map(|rule| match named {
        [] => rule,
        _ => Rule { named: true, waits: u8::from(named.contains(&rule.nr)), ..rule },
    })
}

/// Numbers of calls, with commas.
pub fn parse(text: &str) -> Result<Vec<u32>, Failure> {
    let number = |word: &str| word.parse().ok().filter(|number| (*number as usize) < layout::CALLS);
    text.split(',').map(number).collect::<Option<_>>().ok_or_else(|| {
        Failure::usage(&format!("--settling {text}: numbers of calls, with commas between them"))
    })
}
