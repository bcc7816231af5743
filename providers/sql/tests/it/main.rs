//! SQLite does what every store does, and refuses files that it can't trust.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

use std::os::unix::fs::PermissionsExt as _;

use towpath_core::testkit::store::StoreFixture;
use towpath_core::{ErrorKind, Record, RunId};

async fn new_store() -> Option<StoreFixture> {
    let dir = tempfile::tempdir().unwrap();
    let store = towpath_sql::open(&format!("sqlite:{}", dir.path().join("store.db").display())).await.unwrap();
    Some(StoreFixture { store, keep: Box::new(dir) })
}

mod behaviour {
    towpath_core::store_behaviour!(super::new_store);
}

#[tokio::test]
async fn what_was_written_is_there_for_another_process_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("new/folder/store.db").display());
    let run = RunId::new();
    let record = Record::StepStarted { step: "a".into(), attempt: 1 };
    let first = towpath_sql::open(&url).await.unwrap();
    first.append(&run, None, std::slice::from_ref(&record)).await.unwrap();
    let second = towpath_sql::open(&url).await.unwrap();
    assert_eq!(second.journal(&run).await.unwrap()[0].record, record);
    drop((first, second));
    let third = towpath_sql::open(&url).await.unwrap();
    assert_eq!(third.journal(&run).await.unwrap().len(), 1);
    let mode = |p: &str| std::fs::metadata(dir.path().join(p)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("new/folder"), 0o700);
    for file in std::fs::read_dir(dir.path().join("new/folder")).unwrap() {
        let name = format!("new/folder/{}", file.unwrap().file_name().display());
        assert_eq!(mode(&name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn two_openers_of_a_new_file_do_not_get_in_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    let opened = futures_join(8, |_| towpath_sql::open(&url)).await;
    for store in opened {
        assert!(store.unwrap().leases().await.unwrap().is_empty());
    }
}

async fn futures_join<T, F: Future<Output = T>>(count: usize, make: impl Fn(usize) -> F) -> Vec<T> {
    let mut done = Vec::new();
    let mut open: Vec<_> = (0..count).map(|i| Box::pin(make(i))).collect();
    std::future::poll_fn(|cx| {
        open.retain_mut(|f| match f.as_mut().poll(cx) {
            std::task::Poll::Ready(t) => {
                done.push(t);
                false
            }
            std::task::Poll::Pending => true,
        });
        if open.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

async fn refused(content: &[u8]) -> towpath_core::Error {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    std::fs::write(&path, content).unwrap();
    let error = towpath_sql::open(&format!("sqlite:{}", path.display())).await.unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), content, "a refused file is not touched");
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.get("store").is_some());
    error
}

#[tokio::test]
async fn a_foreign_file_is_refused() {
    let error = refused(b"#!/bin/sh\necho not a store\n").await;
    assert!(error.message().contains("no store of towpath"), "{error}");
}

#[tokio::test]
async fn a_torn_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let url = format!("sqlite:{}", path.display());
    let store = towpath_sql::open(&url).await.unwrap();
    let text = "x".repeat(1000);
    for i in 0..50 {
        store.put_document("n", &format!("{i}"), Some(&text.as_str().into())).await.unwrap();
    }
    drop(store);
    // The writer closes on its own task; its checkpoint moves everything into the file.
    while dir.path().join("store.db-wal").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    assert!(end > 5 * 4096);
    bytes[3 * 4096..end - 4096].fill(0xA5);
    let error = refused(&bytes).await;
    assert!(error.message().contains("damaged"), "{error}");
    let error = refused(&bytes[..end / 2]).await;
    assert!(error.message().contains("damaged"), "{error}");
}

#[tokio::test]
async fn another_url_is_bad_input() {
    let error = towpath_sql::open("mysql://somewhere").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_full_disk_stops_before_the_effect_and_loses_nothing() {
    // `max_page_count` makes SQLite say what a full disk makes it say.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = towpath_sql::open(&format!("sqlite:{}", path.display())).await.unwrap();
    store.put_document("n", "kept", Some(&"kept".into())).await.unwrap();
    drop(store);
    let mount = dir.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k,mode=700", "none"])
        .arg(&mount)
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        eprintln!("NOT RUN: a full disk: run the tests as root, so that they can mount a small tmpfs");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "root may mount");
        return;
    }
    let unmount = scopeguard(|| {
        let _ = std::process::Command::new("umount").arg("-l").arg(&mount).status();
    });
    let store = towpath_sql::open(&format!("sqlite:{}", mount.join("store.db").display())).await.unwrap();
    let text = "x".repeat(20_000);
    let mut written = 0;
    let error = loop {
        match store.put_document("n", &format!("{written:04}"), Some(&text.as_str().into())).await {
            Ok(()) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 100, "256 KiB hold no 2 MB");
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.message().contains("full") || error.message().contains("disk"), "{error}");
    assert_eq!(store.documents("n").await.unwrap().len(), written, "what was accepted is there, and nothing else");
    drop(store);
    drop(unmount);
}

struct Guard<F: FnMut()>(F);
impl<F: FnMut()> Drop for Guard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
fn scopeguard<F: FnMut()>(f: F) -> Guard<F> {
    Guard(f)
}
