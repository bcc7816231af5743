//! The kernel that boots, and the loader's menu.

use std::cmp::Ordering;

use crate::tree::Tree;

/// A kernel of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its file in /boot.
    pub(crate) file: String,
    /// Its initial RAM disk in /boot.
    pub(crate) initrd: Option<String>,
}

impl Kernel {
    /// The newest one, by its version.
    pub(crate) fn newest(tree: &Tree) -> Option<Self> {
        let names = tree.names("boot");
        let version = |n: &String| n.strip_prefix("vmlinuz-").filter(|v| !v.contains("rescue")).map(str::to_owned);
        let newest = names.iter().filter_map(version).max_by(|a, b| compare(a, b))?;
        let initrd = [format!("initrd.img-{newest}"), format!("initramfs-{newest}.img"), format!("initrd-{newest}")];
        let initrd = initrd.into_iter().find(|i| names.contains(i));
        Some(Self { file: format!("vmlinuz-{newest}"), initrd })
    }

    /// The loader's menu, on the screen and on the first serial port.
    pub(crate) fn menu(&self, tree: &Tree, uuid: &str) -> String {
        let initrd = self.initrd.as_deref().unwrap_or_default();
        // Debian leads these to the newest kernel, also after the box got another one.
        let follow = if tree.has(&["vmlinuz"]) && tree.has(&["initrd.img"]) {
            "if [ -e /vmlinuz -a -e /initrd.img ]; then\n  set kernel=/vmlinuz\n  set initrd=/initrd.img\nfi\n"
        } else {
            ""
        };
        format!(
            "# Made by towpath; a `grub-mkconfig` of the box's own may replace it.\n\
             set timeout=0\n\
             set kernel=/boot/{}\n\
             set initrd=/boot/{initrd}\n\
             {follow}\
             menuentry \"Linux\" {{\n  \
               linux $kernel root=UUID={uuid} ro net.ifnames=0 biosdevname=0 console=tty0 console=ttyS0\n  \
               initrd $initrd\n\
             }}\n",
            self.file
        )
    }
}

/// Compares versions: runs of digits as numbers, the rest as text.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
            let (word, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            parts.push((number.parse().unwrap_or(0), word.to_owned()));
            rest = after;
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (older, newer) in [
            ("6.1.0-9-amd64", "6.1.0-10-amd64"),
            ("5.15.0-105-generic", "6.1.0-9-amd64"),
            ("6.1.0-9-amd64", "6.1.0-9-cloud-amd64"),
            ("6.1", "6.1.1"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
        }
    }
}
