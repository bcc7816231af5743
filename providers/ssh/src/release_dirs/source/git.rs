//! A revision of a Git repository, by the real `git` of this machine.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use towpath_core::local_tool::ask;
use towpath_core::{Context, ErrorKind, EventKind, Result};

use super::super::{PROVIDER, error};

/// `REPOSITORY#REVISION[:FOLDER]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revision<'a> {
    pub(super) repository: &'a str,
    /// A commit, or a tag.
    pub(super) revision: &'a str,
    pub(super) folder: Option<&'a str>,
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

impl<'a> Revision<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let invalid = |says: &str| Err(error(ErrorKind::InvalidInput, "stage", says));
        let Some((repository, rest)) = text.split_once('#') else {
            return invalid("say which revision: `git+REPOSITORY#TAG`, or a commit");
        };
        let (revision, folder) = match rest.split_once(':') {
            Some((revision, folder)) => (revision, Some(folder)),
            None => (rest, None),
        };
        let Some((scheme, place)) = repository.split_once("://") else {
            return invalid("the repository is an address: `git+https://...`, `git+ssh://...`, `git+file:///...`");
        };
        if !["https", "http", "ssh", "git", "file"].contains(&scheme) || place.is_empty() || place.starts_with('-') {
            return invalid("the repository's address begins with `https://`, `ssh://`, `git://` or `file://`");
        }
        let user = place.split('/').next().and_then(|host| host.rsplit_once('@')).map(|(user, _)| user);
        if user.is_some_and(|u| u.contains(':')) || (scheme.starts_with("http") && user.is_some()) {
            return invalid(
                "no passwords and tokens in the address, since the journal keeps it: set up Git's credential helper",
            );
        }
        // Source: git-check-ref-format(1).
        let odd = |c: char| c.is_control() || c.is_whitespace() || "~^?*[\\@{".contains(c);
        if revision.is_empty() || revision.starts_with(['-', '/']) || revision.contains(odd) || revision.contains("..")
        {
            return invalid("this is no revision: give a tag, or a commit's hash");
        }
        if folder.is_some_and(|f| f.is_empty() || f.starts_with('/') || f.split('/').any(|p| p == "..")) {
            return invalid("the folder is one of the repository: `git+REPOSITORY#REVISION:app/web`");
        }
        Ok(Self { repository, revision, folder })
    }

    fn maybe_commit(&self) -> bool {
        (7..=64).contains(&self.revision.len()) && is_hex(self.revision)
    }
}

/// Variables by which Git works in another place than its folder. Source: `git rev-parse --local-env-vars`.
const ELSEWHERE: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_QUARANTINE_PATH",
];

struct Git<'a> {
    cx: &'a Context,
    dir: &'a Path,
    of: &'a Revision<'a>,
}

impl Git<'_> {
    /// Runs `git` in the folder. The inner error is what it says.
    async fn run(&self, args: &[&str]) -> Result<Result<String, String>> {
        let mut command = Command::new("git");
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").current_dir(self.dir);
        // Where this runs in a hook of Git, these name the hook's repository, and what is fetched would go there.
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        // Whatever hooks and addresses that run programs this machine is set up with: not for this.
        command.args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"]).args(args);
        let done = ask(self.cx, PROVIDER, "stage", &mut command).await?.map_err(|e| {
            let missing = e.kind() == std::io::ErrorKind::NotFound;
            let kind = if missing { ErrorKind::NotFound } else { ErrorKind::ToolFailed };
            error(kind, "stage", "`git` can't be run on this machine: install it").caused_by(e)
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok(if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) })
    }

    fn failed(&self, kind: ErrorKind, says: &str, said: String) -> towpath_core::Error {
        error(kind, "stage", says)
            .with("repository", self.of.repository)
            .with("revision", self.of.revision)
            .caused_by(said)
    }

    async fn must(&self, args: &[&str], says: &str) -> Result<String> {
        self.run(args).await?.map_err(|said| self.failed(ErrorKind::ToolFailed, says, said))
    }

    /// Fetches the revision, as little of the rest as the server allows. Gives its commit.
    async fn commit(&self) -> Result<String> {
        let (of, remote) = (self.of, self.of.repository);
        let tag = format!("refs/tags/{}", of.revision);
        let only = async |what: &str| self.run(&["fetch", "-q", "--depth", "1", "--no-tags", "--", remote, what]).await;
        if only(&format!("{tag}:{tag}")).await?.is_ok() {
            return self.must(&["rev-parse", "--verify", &format!("{tag}^{{commit}}")], "the tag is no commit").await;
        }
        if of.maybe_commit() && of.revision.len() >= 40 && only(of.revision).await?.is_ok() {
            return Ok(of.revision.to_owned());
        }
        // A server may give branches and tags only; and a short hash means nothing to it.
        let all = ["fetch", "-q", "--no-tags", "--", remote, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        if let Err(said) = self.run(&all).await? {
            let kind =
                if said.contains("not found") || said.contains("does not exist") || said.contains("not appear to be") {
                    ErrorKind::NotFound
                } else {
                    ErrorKind::Unreachable
                };
            let says = "the repository can't be fetched: check its address, and what this user may read";
            return Err(self.failed(kind, says, said).retry_later());
        }
        let branch = format!("refs/heads/{}", of.revision);
        if !of.maybe_commit() && self.run(&["rev-parse", "--verify", "-q", &branch]).await?.is_ok() {
            let says = "this is a branch, and a release must mean the same tomorrow: give a tag, or a commit's hash";
            return Err(self.failed(ErrorKind::InvalidInput, says, format!("{branch} is a branch")));
        }
        let commit = self.run(&["rev-parse", "--verify", "-q", &format!("{}^{{commit}}", of.revision)]).await?;
        let missing = |said| self.failed(ErrorKind::NotFound, "the repository has no such tag or commit", said);
        commit.map_err(missing)
    }
}

/// Puts the tree of a revision into a tar archive below `to`. A `digest` pins the commit: `git:COMMIT`.
pub(super) async fn archive(cx: &Context, of: &Revision<'_>, digest: &str, to: &Path) -> Result<PathBuf> {
    let message = format!("fetching {} of {}", of.revision, of.repository);
    cx.emit(EventKind::Progress { message, done: None, total: None });
    let git = Git { cx, dir: to, of };
    git.must(&["init", "-q", "--bare", "."], "a repository can't be made here").await?;
    let commit = git.commit().await?;
    let pinned = digest.strip_prefix("git:").unwrap_or(digest);
    if !pinned.is_empty() && pinned != commit {
        let says = "the revision is another commit than the release's digest says: was the tag moved?";
        return Err(error(ErrorKind::Conflict, "stage", says)
            .with("repository", of.repository)
            .with("revision", of.revision)
            .with("commit", &commit)
            .with("digest", digest));
    }
    let path = to.join("source.tar");
    let file = path.display().to_string();
    let tree = of.folder.map_or_else(|| commit.clone(), |folder| format!("{commit}:{folder}"));
    git.must(&["archive", "--format=tar", "-o", &file, &tree], "the tree can't be read: check the folder").await?;
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_said() {
        for (text, words) in [
            ("https://a.example/web", "say which revision"),
            ("a.example/web#v1", "is an address"),
            ("ext::sh -c x#v1", "is an address"),
            ("ext://sh#v1", "begins with"),
            ("ssh://-oProxyCommand=x/y#v1", "begins with"),
            ("https://user:token@a.example/web#v1", "no passwords"),
            ("https://token@a.example/web#v1", "no passwords"),
            ("ssh://git:word@a.example/web#v1", "no passwords"),
            ("file:///srv/web#", "no revision"),
            ("file:///srv/web#--upload-pack=x", "no revision"),
            ("file:///srv/web#v1..v2", "no revision"),
            ("file:///srv/web#v1:../etc", "folder"),
        ] {
            let error = Revision::parse(text).unwrap_err();
            assert!(error.message().contains(words), "{text}: {error}");
        }
        assert!(Revision::parse("ssh://git@a.example/web.git#1f2e3d4").unwrap().maybe_commit());
    }
}
