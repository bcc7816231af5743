use std::any::Any;
use std::fmt;

use futures::future::BoxFuture;

use crate::{Context, ErrorKind, Result};

/// Something that a fixture can do to the world behind a provider's back.
pub type Act<A, T = ()> = Box<dyn Fn(A) -> BoxFuture<'static, T> + Send + Sync>;

/// Kept until a test is over: folders, containers.
pub type Keep = Box<dyn Any + Send + Sync>;

/// One behaviour of a suite, by its name. [`trial`](super::trial) runs them from such a list.
pub struct Behaviour<F> {
    /// The function's name.
    pub name: &'static str,
    /// Runs it; panics if the behaviour is not there.
    pub run: fn(F) -> BoxFuture<'static, ()>,
}

impl<F> fmt::Debug for Behaviour<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Makes a suite's list of behaviours, and the macro that gives a provider one test for each.
///
/// The first argument is a dollar sign, which the inner macro needs and the outer one can't write.
macro_rules! suite {
    ($d:tt $module:ident $behaviour:ident $fixture:ty { $($name:ident),* $(,)? }) => {
        /// Every behaviour of the suite.
        pub fn behaviours() -> Vec<$crate::testkit::Behaviour<$fixture>> {
            vec![$($crate::testkit::Behaviour { name: stringify!($name), run: |f| Box::pin($name(f)) }),*]
        }

        /// Makes one `#[tokio::test]` per behaviour. The argument is an `async fn() -> Option<Fixture>`; it gives `None`
        /// after it has said (`NOT RUN: ...`) what real counterpart is missing.
        #[macro_export]
        macro_rules! $behaviour {
            ($d new:path) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        if let Some(fixture) = $d new().await {
                            $crate::testkit::$module::$name(fixture).await;
                        }
                    }
                )*
            };
        }
    };
}
pub(crate) use suite;

/// A context that is cancelled already.
pub(crate) fn cancelled(cx: &Context) -> Context {
    let (cx, token) = cx.child();
    token.cancel();
    cx
}

/// Asserts that a verb outside the capabilities says so. Silence would be a skipped test.
#[track_caller]
pub(crate) fn lacks<T>(verb: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("`{verb}` is not among the capabilities, and works"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Unsupported, "`{verb}` is not among the capabilities: {e:?}"),
    }
}

/// Asserts the kind of a failure.
#[track_caller]
pub(crate) fn fails<T>(kind: ErrorKind, result: Result<T>) -> crate::Error {
    match result {
        Ok(_) => panic!("succeeded, and should have failed with {kind:?}"),
        Err(e) => {
            assert_eq!(e.kind(), kind, "{e:?}");
            e
        }
    }
}

/// Asserts that capabilities are sorted, without doubles, and only of known names.
#[track_caller]
pub(crate) fn known(capabilities: &crate::Capabilities, names: &[&str]) {
    let mut sorted = capabilities.verbs.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(capabilities.verbs, sorted, "sorted, no doubles");
    assert!(!sorted.is_empty(), "a provider that can do nothing");
    for verb in &sorted {
        assert!(names.contains(&verb.as_str()), "`{verb}` is none of {names:?}");
    }
}
