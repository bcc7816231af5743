//! Which sessions have to begin again after a change.
//!
//! A session takes from the host, when it begins, which groups its user is in, what sudo allows it, which limits and variables it
//! has. With Ansible each task begins one; here they stay, so those must end that a change concerns.

use towpath_core::{Action, Json};

use super::pool::ShellKey;
use crate::modules::{Fields, Pending};

/// The sessions that a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sessions {
    /// Those of all users.
    All,
    /// Those that became this user. The connection's own user is another one.
    Of(String),
}

impl Sessions {
    /// What a change concerns, if anything. `args`: the task's; `user`: whose the connection is, if that is known.
    pub(super) fn after(action: &str, args: &Fields, pending: &Pending, user: Option<&str>) -> Option<Self> {
        const FILES: [&str; 11] = [
            "/etc/environment",
            "/etc/group",
            "/etc/gshadow",
            "/etc/login.defs",
            "/etc/nsswitch.conf",
            "/etc/pam.d",
            "/etc/passwd",
            "/etc/profile",
            "/etc/security",
            "/etc/shadow",
            "/etc/sudoers",
        ];
        match action {
            // Nobody is in a new group.
            "group" if pending.action == Action::Create => None,
            "group" => Some(Self::All),
            "user" => Some(match (args.get("name").or_else(|| args.get("user")).and_then(Json::as_str), user) {
                (Some(name), Some(own)) if name != own => Self::Of(name.to_owned()),
                _ => Self::All,
            }),
            _ => pending.path.as_deref().is_some_and(|p| FILES.iter().any(|f| p.starts_with(f))).then_some(Self::All),
        }
    }

    /// Whether a shell of that user is one of them.
    pub(super) fn concerns(&self, shell: &ShellKey) -> bool {
        match (self, shell) {
            (Self::All, _) => true,
            (Self::Of(name), Some((user, ..))) => name == user,
            (Self::Of(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use towpath_core::{Action, BecomeMethod};

    use super::Sessions;
    use crate::modules::{Fields, Pending};

    fn after(action: &str, what: Action, name: &str, path: Option<&str>) -> Option<Sessions> {
        let pending = Pending {
            script: String::new(),
            action: what,
            subject: String::new(),
            path: path.map(Into::into),
            before: None,
            after: None,
            certain: true,
            foreign: false,
            expected: Fields::new(),
            finish: Box::new(|_| Fields::new()),
        };
        let args = crate::modules::fields([("name", name.into())]);
        Sessions::after(action, &args, &pending, Some("deploy"))
    }

    #[test]
    fn sessions_begin_again_after_what_they_are_made_of() {
        let file = |path| after("copy", Action::Update, "file", Some(path));
        assert_eq!(file("/etc/sudoers.d/deploy"), Some(Sessions::All));
        assert_eq!(file("/etc/security/limits.conf"), Some(Sessions::All));
        assert_eq!(file("/etc/motd"), None);
        assert_eq!(after("command", Action::Run, "command id", None), None);
    }

    #[test]
    fn a_user_concerns_his_own_sessions() {
        let shell = |user: &str| Some((user.to_owned(), BecomeMethod::Sudo, Vec::new()));
        let ann = after("user", Action::Update, "ann", None).expect("a user has sessions");
        assert!(ann.concerns(&shell("ann")));
        assert!(!ann.concerns(&shell("root")));
        assert!(!ann.concerns(&None));
        // What the connection's own user may become depends on his groups.
        assert_eq!(after("user", Action::Update, "deploy", None), Some(Sessions::All));
        assert_eq!(after("group", Action::Create, "app", None), None);
        assert_eq!(after("group", Action::Update, "app", None), Some(Sessions::All));
    }
}
