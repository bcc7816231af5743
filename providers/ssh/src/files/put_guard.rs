//! The temporary file of a transfer that is under way.

use std::sync::Arc;

use super::sftp_session::{CLEANING, Sftp};

/// Removes the file unless it was renamed: at once where one can wait, in the background where the future was dropped.
pub(super) struct Temporary {
    sftp: Arc<Sftp>,
    pub(super) path: String,
    pub(super) handle: Option<String>,
    there: bool,
}

impl Temporary {
    pub(super) fn new(sftp: &Arc<Sftp>, path: String) -> Self {
        Self { sftp: Arc::clone(sftp), path, handle: None, there: true }
    }

    /// It has its final name.
    pub(super) fn renamed(&mut self) {
        self.there = false;
    }

    pub(super) async fn remove(&mut self) {
        if std::mem::take(&mut self.there) {
            clean(&self.sftp, self.handle.take(), &self.path).await;
        }
    }
}

async fn clean(sftp: &Sftp, handle: Option<String>, path: &str) {
    let both = async {
        if let Some(handle) = handle {
            let _ = sftp.raw.close(handle).await;
        }
        let _ = sftp.raw.remove(path).await;
    };
    let _ = tokio::time::timeout(CLEANING, both).await;
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.there {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (sftp, handle, path) = (Arc::clone(&self.sftp), self.handle.take(), std::mem::take(&mut self.path));
        runtime.spawn(async move { clean(&sftp, handle, &path).await });
    }
}
