//! The store against the simplest thing that could be right: a list in memory.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(u8, Vec<(u8, i64)>),
    ForgetNth(u8, usize),
    ForgetSession(u8, u8),
    ForgetBefore(u8, i64),
    ForgetAll(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let owner = 0..3_u8;
    prop_oneof![
        6 => (owner.clone(), proptest::collection::vec((0..4_u8, 0..20_i64), 1..5)).prop_map(|(u, m)| Step::Append(u, m)),
        3 => (owner.clone(), 0..20_usize).prop_map(|(u, n)| Step::ForgetNth(u, n)),
        1 => (owner.clone(), 0..4_u8).prop_map(|(u, s)| Step::ForgetSession(u, s)),
        1 => (owner.clone(), 0..20_i64).prop_map(|(u, t)| Step::ForgetBefore(u, t)),
        1 => owner.prop_map(Step::ForgetAll),
        1 => Just(Step::Reopen),
    ]
}

/// Session 0 is none.
fn session(n: u8) -> Option<String> {
    (n > 0).then(|| format!("s{n}"))
}

struct Model {
    rows: Vec<Vec<MemoryRecord>>,
    epochs: Vec<u64>,
}

impl Model {
    async fn apply(&mut self, store: &impl Store, step: Step) {
        let (owner, which) = match step {
            Step::Append(owner, memories) => return self.append(store, owner, &memories).await,
            Step::ForgetNth(owner, n) => {
                let id = self.rows[usize::from(owner)].get(n).map_or(id::mint(5), |memory| memory.id.clone());
                (owner, Forget::Id(id))
            }
            Step::ForgetSession(owner, s) => {
                (owner, Forget::Matching { session: Some(format!("s{s}")), before: None })
            }
            Step::ForgetBefore(owner, t) => {
                (owner, Forget::Matching { session: None, before: Some(UnixMillis(t)) })
            }
            Step::ForgetAll(owner) => (owner, Forget::ALL),
            Step::Reopen => return,
        };
        let matches = |memory: &MemoryRecord| match &which {
            Forget::Id(id) => memory.id == *id,
            Forget::Matching { session, before } => {
                session.as_ref().is_none_or(|s| memory.session.as_ref() == Some(s))
                    && before.is_none_or(|before| memory.created_at < before)
            }
        };
        let rows = &mut self.rows[usize::from(owner)];
        let gone: Vec<i64> = rows.iter().filter(|memory| matches(memory)).map(|memory| memory.seq).collect();
        rows.retain(|memory| !matches(memory));
        self.epochs[usize::from(owner)] += u64::from(!gone.is_empty());
        let forgotten = store.forget(&name(owner), which, NOW).await.unwrap();
        assert_eq!((forgotten.seqs, forgotten.epoch), (gone, self.epochs[usize::from(owner)]));
    }

    async fn append(&mut self, store: &impl Store, owner: u8, memories: &[(u8, i64)]) {
        let new = |(s, t): &(u8, i64)| NewMemory {
            session: session(*s),
            created_at: Some(UnixMillis(*t)),
            ..text(&format!("{s} {t}"))
        };
        let batch = Batch { memories: memories.iter().map(new).collect(), idempotency_key: None };
        let appended = store.append(&name(owner), batch, NOW).await.unwrap();
        self.epochs[usize::from(owner)] += 1;
        assert_eq!(appended.epoch, self.epochs[usize::from(owner)]);
        self.rows[usize::from(owner)].extend(appended.memories);
    }

    async fn compare(&self, store: &impl Store) {
        for (owner, rows) in (0..).zip(&self.rows) {
            let owner = name(owner);
            assert_eq!(&all(store, &owner).await, rows);
            let mut by_time = rows.clone();
            by_time.sort_by_key(|memory| (memory.created_at, memory.seq));
            assert_eq!(
                store.list(&owner, None, 200).await.unwrap().memories,
                by_time[..by_time.len().min(200)]
            );
            let counts = store.counts(&owner).await.unwrap();
            let sessions: std::collections::BTreeSet<_> =
                rows.iter().filter_map(|memory| memory.session.as_ref()).collect();
            assert_eq!((counts.memories, counts.sessions), (rows.len() as u64, sessions.len() as u64));
            assert_eq!(counts.oldest, by_time.first().map(|memory| memory.created_at));
            assert_eq!(counts.newest, by_time.last().map(|memory| memory.created_at));
        }
    }
}

fn name(owner: u8) -> UserId {
    user(&format!("user {owner}"))
}

pub(crate) fn it_does_what_a_list_would<T: TestStore>() {
    let config = ProptestConfig { cases: T::CASES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..30))| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_after_each::<T>(steps));
    });
}

async fn compare_after_each<T: TestStore>(steps: Vec<Step>) {
    let Some(database) = T::empty() else { return };
    let mut store = database.open();
    let mut model = Model { rows: vec![Vec::new(); 3], epochs: vec![0; 3] };
    for step in steps {
        if matches!(step, Step::Reopen) {
            drop(store);
            store = database.open();
        }
        model.apply(&store, step).await;
        model.compare(&store).await;
    }
}
