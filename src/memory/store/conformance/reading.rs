//! What was written is read, whole, in order, and after a restart.

use super::*;

pub(crate) async fn everything_of_a_memory_comes_back_also_after_a_restart<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let alice = user("alice");
    let new = NewMemory {
        session: Some("s1".into()),
        role: "assistant".into(),
        speaker: Some("Ann".into()),
        text: "I like tea".into(),
        created_at: Some(UnixMillis(-5)),
        metadata: Some(r#"{"n": 1.50}"#.into()),
        tokens: 4,
        embedding: Some(embedding(-7)),
    };
    let store = database.open();
    let batch = Batch { memories: vec![new, text("plain")], idempotency_key: None };
    let appended = store.append(&alice, batch, NOW).await.unwrap();
    assert_eq!((appended.epoch, appended.replayed), (1, false));
    assert_eq!(appended.memories[1].created_at, NOW);
    drop(store);

    let store = database.open();
    assert_eq!(all(&store, &alice).await, appended.memories);
    for memory in &appended.memories {
        assert_eq!(store.get(&alice, &memory.id).await.unwrap().as_ref(), Some(memory));
    }
    assert_eq!(appended.memories[0].embedding, Some(embedding(-7)));
    assert_eq!(store.epoch(&alice).await.unwrap(), 1);
}

pub(crate) async fn any_text_comes_back_letter_by_letter<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let long = "long words ".repeat(100_000);
    let hard = [
        "",
        " ",
        "100 % sure_",
        "it's \"quoted\" `so`",
        "'; DROP TABLE memories; --",
        "a\0b\0",
        "🦀👩‍👩‍👧‍👦 é e\u{301}",
        "\u{202e}right to left\u{202c}",
        "日本語 العربية",
        "NEAR(a b) * ^ OR -x",
        "\r\n\t\u{7f}\u{feff}\u{fffd}",
        &long,
    ];
    for (n, word) in hard.iter().enumerate() {
        let mut new = text(word);
        new.session = Some((*word).into());
        new.speaker = Some((*word).into());
        new.metadata = Some((*word).into());
        let batch = Batch { memories: vec![new], idempotency_key: None };
        let memory = store.append(&alice, batch, NOW).await.unwrap().memories.remove(0);
        let found = store.get(&alice, &memory.id).await.unwrap().unwrap();
        assert_eq!(found, memory, "number {n}");
        assert_eq!((found.text.as_str(), found.session.as_deref()), (*word, Some(*word)));
    }
    assert_eq!(texts(&all(&store, &alice).await), hard);
    // A session is forgotten by its name and not by a pattern.
    for (n, word) in hard.iter().enumerate() {
        let which = Forget::Matching { session: Some((*word).into()), before: None };
        let forgotten = store.forget(&alice, which, NOW).await.unwrap();
        assert_eq!(forgotten.seqs.len(), 1, "number {n}");
    }
}

pub(crate) async fn pages_cover_everything_once_oldest_first<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let memories = (0..450).map(|n| {
        let created_at = Some(UnixMillis(NOW.0 - (n * 7919) % 100));
        NewMemory { created_at, ..text(&n.to_string()) }
    });
    let batch = Batch { memories: memories.collect(), idempotency_key: None };
    store.append(&alice, batch, NOW).await.unwrap();

    let (mut seen, mut cursor, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = store.list(&alice, cursor, 1000).await.unwrap();
        sizes.push(page.memories.len());
        seen.extend(page.memories);
        // As a client sends it back.
        cursor = page.next.and_then(|next| Cursor::parse(&next.to_string()));
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [200, 200, 50]);
    assert!(seen.is_sorted_by_key(|memory| (memory.created_at, memory.seq)));
    let mut numbers: Vec<i32> = seen.iter().map(|memory| memory.text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..450).collect::<Vec<_>>());
    assert_eq!(store.list(&alice, None, 0).await.unwrap().memories.len(), 1);
    // A page that ends exactly at the end is the last.
    let before_last = Cursor { created_at: seen[249].created_at.0, seq: seen[249].seq };
    let last = store.list(&alice, Some(before_last), 200).await.unwrap();
    assert_eq!((last.memories.len(), last.next), (200, None));
}

pub(crate) async fn names_and_numbers_grow_also_when_the_clock_goes_back<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    for now in [NOW, UnixMillis(NOW.0 - 1_000_000), UnixMillis(0), UnixMillis(NOW.0 + 1)] {
        store.append(&alice, batch(&["a", "b"]), now).await.unwrap();
    }
    // Also past rows that are forgotten.
    store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    drop(store);
    let store = database.open();
    let before = id::next_seq(0, UnixMillis(NOW.0 + 1)) + 1;
    let after = store.append(&alice, batch(&["c"]), UnixMillis(0)).await.unwrap().memories.remove(0);
    assert_eq!(after.seq, before + 1);
}

pub(crate) async fn counts_and_activity_tell_what_happened_and_no_word_of_it<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    assert_eq!(store.counts(&alice).await.unwrap(), UserCounts::default());
    assert_eq!(store.activity(&alice).await.unwrap(), []);

    for session in ["s1", "s1", "s2"] {
        let new = NewMemory { session: Some(session.into()), ..text("word") };
        let batch = Batch { memories: vec![new], idempotency_key: None };
        store.append(&alice, batch, NOW).await.unwrap();
    }
    let old = NewMemory { created_at: Some(UnixMillis(9)), ..text("old") };
    store.append(&alice, Batch { memories: vec![old], idempotency_key: None }, NOW).await.unwrap();
    let counts = store.counts(&alice).await.unwrap();
    let expected = UserCounts { memories: 4, sessions: 2, oldest: Some(UnixMillis(9)), newest: Some(NOW) };
    assert_eq!(counts, expected);

    let later = UnixMillis(NOW.0 + 5);
    store.forget(&alice, Forget::ALL, later).await.unwrap();
    let newest = store.activity(&alice).await.unwrap()[0];
    assert_eq!(newest, Activity { at: later, kind: ActivityKind::Forgotten, items: 4 });
    for _ in 0..80 {
        store.append(&alice, batch(&["x"]), NOW).await.unwrap();
    }
    assert_eq!(store.activity(&alice).await.unwrap().len(), 50);
}

pub(crate) async fn a_load_is_of_one_moment_and_a_sink_that_panics_hurts_only_itself<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    let texts: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    store.append(&alice, batch(&texts), NOW).await.unwrap();

    // Something is written while the load is half done.
    let (seen, writes) = (Arc::new(Mutex::new(0)), store.clone());
    let (rows, alice2) = (seen.clone(), alice.clone());
    let runtime = tokio::runtime::Handle::current();
    let sink = move |chunk: Vec<MemoryRecord>| {
        *rows.lock() += chunk.len();
        let write = writes.append(&alice2, batch(&["late"]), NOW);
        runtime.block_on(write).unwrap();
    };
    let epoch = store.load(&alice, Box::new(sink)).await.unwrap();
    assert_eq!((*seen.lock(), epoch), (1000, 1));
    assert_eq!(store.epoch(&alice).await.unwrap(), 5);

    for _ in 0..20 {
        let failed = store.load(&alice, Box::new(|_| panic!("in the sink"))).await;
        assert!(matches!(failed, Err(StoreError::Failed(_))));
    }
    assert_eq!(all(&*store, &alice).await.len(), 1004);
}

pub(crate) async fn embeddings_are_replaced_only_where_the_memory_still_is<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    let rows = store.append(&alice, batch(&["a", "b"]), NOW).await.unwrap().memories;
    store.forget(&alice, Forget::Id(rows[0].id.clone()), NOW).await.unwrap();
    let news = vec![(rows[0].seq, embedding(1)), (rows[1].seq, embedding(2)), (77, embedding(3))];
    assert_eq!(store.set_embeddings(&bob, news.clone()).await.unwrap(), 0);
    store.append(&bob, batch(&["c"]), NOW).await.unwrap();
    store.set_embeddings(&bob, news.clone()).await.unwrap();
    assert_eq!(all(&store, &alice).await[0].embedding, None);

    assert_eq!(store.set_embeddings(&alice, news).await.unwrap(), 3);
    let left = all(&store, &alice).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].embedding, Some(embedding(2)));
}
