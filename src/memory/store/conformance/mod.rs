//! What every store must do: tests that are generic over a [`TestStore`], which each store instantiates among its own
//! with [`conformance_tests`].

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;

use super::*;

pub(crate) mod contexts;
pub(crate) mod isolation;
pub(crate) mod keys;
pub(crate) mod model;
pub(crate) mod reading;
pub(crate) mod vectors;

/// Where a store under test keeps its data.
pub(crate) trait TestStore {
    /// What is kept there.
    type Store: Store;

    /// How often the model of a store is tried.
    const CASES: u32;

    /// An empty one; `None` without the server that it needs.
    fn empty() -> Option<Self>
    where
        Self: Sized;

    /// The store over it.
    fn open(&self) -> Self::Store;

    /// Whether `word` is anywhere in it.
    fn holds(&self, word: &str) -> bool;
}

/// A time in 2026.
pub(crate) const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

/// Runs beside the test.
#[allow(clippy::disallowed_methods)]
pub(crate) fn task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

pub(crate) fn text(text: &str) -> NewMemory {
    NewMemory { role: "user".into(), text: text.into(), tokens: 3, ..NewMemory::default() }
}

pub(crate) fn batch(texts: &[&str]) -> Batch {
    Batch { memories: texts.iter().map(|t| text(t)).collect(), idempotency_key: None }
}

pub(crate) fn embedding(first: i8) -> StoredEmbedding {
    StoredEmbedding { embedder: "builtin/1".into(), scale: 0.0078, vector: vec![first, -128, 127, 0] }
}

pub(crate) async fn all(store: &impl Store, user: &UserId) -> Vec<MemoryRecord> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let into = rows.clone();
    store.load(user, Box::new(move |chunk| into.lock().extend(chunk))).await.unwrap();
    let mut rows = rows.lock();
    std::mem::take(&mut rows)
}

pub(crate) fn texts(memories: &[MemoryRecord]) -> Vec<&str> {
    memories.iter().map(|memory| memory.text.as_str()).collect()
}

/// The suite as tests of one [`TestStore`]. A test that is not listed here is dead code, which the compiler reports.
macro_rules! conformance_tests {
    ($store:ty) => {
        conformance_tests! { $store;
            contexts {
                #[tokio::test] a_context_is_replaced_merged_and_kept
                #[tokio::test] conditions_are_met_or_nothing_is_written
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)] no_update_is_lost
            }
            isolation {
                #[tokio::test] nobody_sees_or_changes_what_is_not_theirs
                #[tokio::test] a_stranger_has_nothing_and_leaves_no_trace
            }
            keys {
                #[tokio::test] a_repetition_gets_what_was_stored_and_other_content_a_refusal
                #[tokio::test] a_key_is_known_for_a_day
                #[tokio::test] a_late_repetition_does_not_bring_back_what_was_forgotten
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)] of_many_repetitions_at_once_one_writes
            }
            reading {
                #[tokio::test] everything_of_a_memory_comes_back_also_after_a_restart
                #[tokio::test] any_text_comes_back_letter_by_letter
                #[tokio::test] pages_cover_everything_once_oldest_first
                #[tokio::test] names_and_numbers_grow_also_when_the_clock_goes_back
                #[tokio::test] counts_and_activity_tell_what_happened_and_no_word_of_it
                #[tokio::test] a_load_is_of_one_moment_and_a_sink_that_panics_hurts_only_itself
                #[tokio::test] embeddings_are_replaced_only_where_the_memory_still_is
            }
            vectors {
                #[tokio::test] who_waits_is_found_in_pieces_and_over_a_restart
                #[tokio::test] what_is_not_dealt_with_is_found_again_and_so_is_what_comes_later
                #[tokio::test] vectors_are_counted_as_they_are_replaced_forgotten_and_brought_along
                #[tokio::test] of_a_long_text_the_beginning_is_embedded
            }
        }

        mod model {
            use super::*;

            #[test]
            fn it_does_what_a_list_would() {
                conformance::model::it_does_what_a_list_would::<$store>();
            }
        }
    };
    ($store:ty; $($part:ident { $(#[$kind:meta] $test:ident)* })*) => {
        $(mod $part {
            use super::*;

            $(#[$kind]
            async fn $test() {
                conformance::$part::$test::<$store>().await;
            })*
        })*
    };
}
pub(super) use conformance_tests;
