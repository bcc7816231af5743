//! Looks things up in a tree, and changes them.

use std::io;

use super::{Content, Kind, Node, Tree};

/// As many links as the kernel follows.
const LINKS: usize = 40;

impl Node {
    pub(crate) fn folder(mode: u32, time: u32) -> Self {
        Self { mode, uid: 0, gid: 0, time, attributes: Vec::new(), kind: Kind::Folder }
    }

    pub(crate) fn file(mode: u32, time: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind: Kind::File(Content::Bytes(bytes.into())), ..Self::folder(mode, time) }
    }

    pub(crate) fn symlink(to: &str, time: u32) -> Self {
        Self { kind: Kind::Symlink(to.as_bytes().to_vec()), ..Self::folder(0o777, time) }
    }

    pub(crate) fn owned_by(mut self, owner: (u32, u32)) -> Self {
        (self.uid, self.gid) = owner;
        self
    }
}

impl Tree {
    /// Where a path leads to, all links followed; none if there is nothing. The last part need not exist.
    fn follow(&self, path: &str) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> =
            path.split('/').rev().filter(|p| !p.is_empty()).map(|p| p.as_bytes().to_vec()).collect();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"." => continue,
                b".." => {
                    at.truncate(at.iter().rposition(|b| *b == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = if at.is_empty() { part } else { [at.as_slice(), b"/", &part].concat() };
            match self.nodes.get(&next).map(|n| &n.kind) {
                Some(Kind::Symlink(to)) => {
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    if to.first() == Some(&b'/') {
                        at.clear();
                    }
                    let parts = to.split(|b| *b == b'/').rev().filter(|p| !p.is_empty()).map(<[u8]>::to_vec);
                    todo.extend(parts);
                }
                Some(_) => at = next,
                None if todo.is_empty() => at = next,
                None => return None,
            }
        }
        Some(at)
    }

    /// What is at this path, all links followed.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.follow(path)?)
    }

    /// Says whether one of these exists.
    pub(crate) fn has(&self, paths: &[&str]) -> bool {
        paths.iter().any(|p| self.find(p).is_some())
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Some(at) = self.follow(folder) else { return Vec::new() };
        let prefix = if at.is_empty() { at } else { [at.as_slice(), b"/"].concat() };
        let below = self.nodes.range(prefix.clone()..).map(|(path, _)| path);
        below
            .take_while(|path| path.starts_with(&prefix))
            .filter_map(|path| std::str::from_utf8(path.get(prefix.len()..)?).ok())
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    /// The first bytes of a file, at most `limit`.
    pub(crate) fn head(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(Node { kind: Kind::File(content), .. }) = self.find(path) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(content.len().min(limit)).map_err(io::Error::other)?];
        self.read(content, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// A small file as text; empty if there is none.
    pub(crate) fn text(&self, path: &str) -> io::Result<String> {
        let bytes = self.head(path, 16 << 20)?.unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| io::Error::other(format!("/{path} is no UTF-8")))
    }

    /// Puts something there, with the folders on the way. Links on the way are followed, one at the end is replaced.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = Vec::new();
        let mut way = String::new();
        for part in folder.split('/').filter(|p| !p.is_empty()) {
            way.push('/');
            way.push_str(part);
            at = self.follow(&way).unwrap_or_else(|| way.trim_start_matches('/').as_bytes().to_vec());
            self.nodes.entry(at.clone()).or_insert_with(|| Node::folder(0o755, node.time));
        }
        let path =
            if at.is_empty() { name.as_bytes().to_vec() } else { [at.as_slice(), b"/", name.as_bytes()].concat() };
        self.nodes.insert(path, node);
    }

    /// Replaces a file's content, and leaves owner, mode and attributes as they are.
    pub(crate) fn rewrite(&mut self, path: &str, time: u32, bytes: Vec<u8>) {
        let at = self.follow(path);
        match at.and_then(|at| self.nodes.get_mut(&at)) {
            Some(node) => {
                node.kind = Kind::File(Content::Bytes(bytes));
                node.time = time;
            }
            None => self.put(path, Node::file(0o644, time, bytes)),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove_file(&mut self, path: &str) {
        if let Some(at) = self.follow(path)
            && self.nodes.get(&at).is_some_and(|n| !matches!(n.kind, Kind::Folder))
        {
            self.nodes.remove(&at);
        }
    }

    /// Copies all in a folder into another one, for somebody else.
    pub(crate) fn copy_into(&mut self, from: &str, to: &str, owner: (u32, u32)) {
        for name in self.names(from) {
            let Some(node) = self.find(&format!("{from}/{name}")).cloned() else { continue };
            let is_folder = matches!(node.kind, Kind::Folder);
            let bytes = self.head(&format!("{from}/{name}"), 16 << 20).ok().flatten();
            let node = match bytes {
                // A copy is a file of its own.
                Some(bytes) => Node { kind: Kind::File(Content::Bytes(bytes)), ..node },
                None => node,
            };
            self.put(&format!("{to}/{name}"), node.owned_by(owner));
            if is_folder {
                self.copy_into(&format!("{from}/{name}"), &format!("{to}/{name}"), owner);
            }
        }
    }
}
