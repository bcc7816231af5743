//! The user `vagrant`, as Vagrant expects it in a box.

use std::io;

use crate::tree::{Node, Tree};

/// The public half of the key that everybody knows: Vagrant replaces it by one of its own at the first `up`.
///
/// Source: Vagrant's repository, `keys/vagrant.pub`.
const INSECURE_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key\n";

/// A user as /etc/passwd has it.
struct User {
    uid: u32,
    gid: u32,
    home: String,
}

fn fields<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    text.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name))
}

fn user(passwd: &str, name: &str) -> Option<User> {
    let fields = fields(passwd, name)?;
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(User { uid: number(2)?, gid: number(3)?, home: (*fields.get(5)?).to_owned() })
}

/// Adds a line at the end of a file that has lines.
fn append(tree: &mut Tree, path: &str, time: u32, line: &str) -> io::Result<()> {
    let mut text = tree.text(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    tree.rewrite(path, time, text.into_bytes());
    Ok(())
}

/// Makes the user if there is none, gives it the key and sudo without a password.
pub(super) fn add_vagrant(tree: &mut Tree, time: u32) -> io::Result<()> {
    let passwd = tree.text("etc/passwd")?;
    let user = match user(&passwd, "vagrant") {
        Some(user) => user,
        None => new_user(tree, time, &passwd)?,
    };
    let owner = (user.uid, user.gid);
    let home = user.home.trim_matches('/').to_owned();
    let ssh = format!("{home}/.ssh");
    if tree.find(&ssh).is_none() {
        tree.put(&ssh, Node::folder(0o700, time).owned_by(owner));
    }
    let keys = format!("{ssh}/authorized_keys");
    let mut text = tree.text(&keys)?;
    if !text.contains(INSECURE_KEY) {
        text.push_str(INSECURE_KEY);
    }
    tree.put(&keys, Node::file(0o600, time, text).owned_by(owner));
    tree.put("etc/sudoers.d/vagrant", Node::file(0o440, time, "vagrant ALL=(ALL:ALL) NOPASSWD: ALL\n"));
    Ok(())
}

fn new_user(tree: &mut Tree, time: u32, passwd: &str) -> io::Result<User> {
    let group = tree.text("etc/group")?;
    let taken = |text: &str, id: u32| text.lines().any(|l| l.split(':').nth(2) == Some(id.to_string().as_str()));
    let free = (1000..60_000).find(|id| !taken(passwd, *id) && !taken(&group, *id));
    let free = free.ok_or_else(|| io::Error::other("no user id below 60000 is free"))?;
    let gid = match fields(&group, "vagrant").and_then(|f| f.get(2)?.parse().ok()) {
        Some(gid) => gid,
        None => {
            append(tree, "etc/group", time, &format!("vagrant:x:{free}:"))?;
            if tree.has(&["etc/gshadow"]) {
                append(tree, "etc/gshadow", time, "vagrant:!::")?;
            }
            free
        }
    };
    let shell = if tree.has(&["bin/bash"]) { "/bin/bash" } else { "/bin/sh" };
    append(tree, "etc/passwd", time, &format!("vagrant:x:{free}:{gid}::/home/vagrant:{shell}"))?;
    // No password fits `*`; a key does all the same.
    append(tree, "etc/shadow", time, "vagrant:*:19000:0:99999:7:::")?;
    let owner = (free, gid);
    tree.put("home/vagrant", Node::folder(0o755, time).owned_by(owner));
    tree.copy_into("etc/skel", "home/vagrant", owner);
    Ok(User { uid: free, gid, home: "/home/vagrant".into() })
}
