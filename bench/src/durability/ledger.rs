//! What must be there: every write with its texts, and whether it was acknowledged. Pure.
//!
//! A write that was under way when the gateway died may be there or not, but whole and once; it is repeated under its
//! idempotency key, and then it must be there, once.

use std::collections::HashMap;

/// A write of one or several memories, all or none.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who writes.
    pub user: String,
    /// Its name at the gateway.
    pub key: String,
    /// No two of them are alike in a whole run.
    pub texts: Vec<String>,
    /// The answer was read.
    pub acknowledged: bool,
}

/// A counter in a user's context that only grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// The last value that was acknowledged.
    pub acknowledged: u64,
    /// The last value that was sent.
    pub sent: u64,
}

/// What one writer has done in its life.
#[derive(Clone, Debug)]
pub struct Written {
    /// Who wrote.
    pub user: String,
    /// The name of its counter.
    pub counter: String,
    /// Its values.
    pub count: Counter,
    /// Its memories.
    pub writes: Vec<Write>,
}

/// What one user must have.
#[derive(Default)]
pub struct Account {
    /// Every write, by what is not alike.
    pub writes: Vec<Write>,
    /// By their names.
    pub counters: HashMap<String, Counter>,
}

/// What all users must have.
#[derive(Default)]
pub struct Ledger {
    /// By user.
    pub accounts: HashMap<String, Account>,
}

/// What is wrong with one user's memories.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Balance {
    /// Acknowledged and not there.
    pub lost: usize,
    /// There more than once.
    pub twice: usize,
    /// There and never written, or not with the rest of its batch.
    pub torn: usize,
}

impl Ledger {
    /// Enters what writers have done; how many writes were acknowledged.
    pub fn enter(&mut self, written: Vec<Written>) -> u64 {
        let mut acknowledged = 0;
        for Written { user, counter, count, writes } in written {
            acknowledged += count.acknowledged;
            acknowledged += writes.iter().filter(|write| write.acknowledged).count() as u64;
            let account = self.accounts.entry(user).or_default();
            account.counters.insert(counter, count);
            account.writes.extend(writes);
        }
        acknowledged
    }

    /// Writes whose answer nobody has read; from now on they must be there, for they will be repeated.
    pub fn open_ends(&mut self) -> Vec<Write> {
        let writes = self.accounts.values_mut().flat_map(|account| &mut account.writes);
        let open = writes.filter(|write| !write.acknowledged);
        open.map(|write| {
            write.acknowledged = true;
            write.clone()
        })
        .collect()
    }
}

impl Account {
    /// Compares with what is there.
    pub fn balance(&self, there: &[String]) -> Balance {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        there.iter().for_each(|text| *counts.entry(text).or_default() += 1);
        let twice = counts.values().filter(|count| **count > 1).count();
        let mut balance = Balance { twice, ..Balance::default() };
        for write in &self.writes {
            let found = write.texts.iter().filter(|text| counts.remove(text.as_str()).is_some()).count();
            match found {
                _ if found == write.texts.len() => {}
                0 if !write.acknowledged => {}
                _ if write.acknowledged => balance.lost += write.texts.len() - found,
                _ => balance.torn += 1,
            }
        }
        balance.torn += counts.len();
        balance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(acknowledged: bool) -> Account {
        let texts = vec!["a".to_owned(), "b".to_owned()];
        let write = Write { user: "u".to_owned(), key: "k".to_owned(), texts, acknowledged };
        Account { writes: vec![write], counters: HashMap::new() }
    }

    fn balance(acknowledged: bool, there: &[&str]) -> (usize, usize, usize) {
        let there: Vec<String> = there.iter().map(|text| (*text).to_owned()).collect();
        let Balance { lost, twice, torn } = account(acknowledged).balance(&there);
        (lost, twice, torn)
    }

    #[test]
    fn what_is_missing_doubled_or_torn_is_counted() {
        assert_eq!(balance(true, &["a", "b"]), (0, 0, 0));
        assert_eq!(balance(true, &["a"]), (1, 0, 0));
        assert_eq!(balance(true, &[]), (2, 0, 0));
        assert_eq!(balance(true, &["a", "b", "b"]), (0, 1, 0));
        assert_eq!(balance(true, &["a", "b", "b-"]), (0, 0, 1));
    }

    #[test]
    fn what_nobody_acknowledged_may_be_missing_but_not_by_half() {
        assert_eq!(balance(false, &[]), (0, 0, 0));
        assert_eq!(balance(false, &["a", "b"]), (0, 0, 0));
        assert_eq!(balance(false, &["b"]), (0, 0, 1));
    }

    #[test]
    fn what_is_repeated_must_be_there() {
        let mut ledger = Ledger { accounts: HashMap::from([("u".to_owned(), account(false))]) };
        assert_eq!(ledger.open_ends().len(), 1);
        assert_eq!(ledger.open_ends().len(), 0);
        assert_eq!(ledger.accounts["u"].balance(&[]).lost, 2);
    }
}
