//! Command lines of `apt-get`. The line that a message shows is the line that runs, but for the wait for the lock.

use towpath_core::shell_quote;

use crate::modules::Call;

/// The options of a task that go into command lines.
#[derive(Debug, Clone, Default)]
pub(in crate::modules) struct Flags {
    dpkg: Vec<String>,
    pub(super) purge: bool,
    pub(super) autoremove: bool,
    pub(super) simulate: bool,
    pub(super) only_upgrade: bool,
    pub(super) fixed: bool,
    force: bool,
    no_remove: bool,
    release: Option<String>,
    recommends: Option<bool>,
    unauthenticated: bool,
    downgrade: bool,
    held: bool,
    lock: String,
    policy: Option<String>,
    retries: i64,
    delay: i64,
}

impl Flags {
    pub(in crate::modules) fn of(call: &Call) -> Result<Self, String> {
        let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
        let number = |k: &str, default| call.text(k).and_then(|v| v.parse().ok()).unwrap_or(default);
        Ok(Self {
            // Words that go into a line for the shell: nothing else than what dpkg's options consist of.
            dpkg: call
                .text("dpkg_options")
                .unwrap_or_default()
                .split(',')
                .map(|o| o.trim().to_owned())
                .filter(|o| !o.is_empty() && o.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=/.:+".contains(&b)))
                .collect(),
            purge: yes("purge")?,
            autoremove: yes("autoremove")?,
            simulate: call.check,
            only_upgrade: yes("only_upgrade")?,
            fixed: call.text("state").as_deref() == Some("fixed"),
            force: yes("force")?,
            no_remove: yes("fail_on_autoremove")?,
            release: call.text("default_release"),
            recommends: call.yes("install_recommends")?,
            unauthenticated: yes("allow_unauthenticated")?,
            downgrade: yes("allow_downgrade")?,
            held: yes("allow_change_held_packages")?,
            lock: call.text("lock_timeout").unwrap_or_else(|| "60".into()),
            policy: call.text("policy_rc_d"),
            retries: number("update_cache_retries", 5),
            delay: number("update_cache_retry_max_delay", 12),
        })
    }

    fn options(&self) -> String {
        self.dpkg.iter().map(|o| format!("-o \"Dpkg::Options::=--{o}\"")).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn dpkg(&self) -> String {
        self.dpkg.iter().map(|o| format!(" --{o}")).collect()
    }

    fn when(on: bool, word: &'static str) -> &'static str {
        if on { word } else { "" }
    }

    fn tail(&self) -> String {
        let mut all = String::new();
        if let Some(r) = &self.release {
            all.push_str(&format!(" -t '{}'", r.replace('\'', "")));
        }
        match self.recommends {
            Some(true) => all.push_str(" -o APT::Install-Recommends=yes"),
            Some(false) => all.push_str(" -o APT::Install-Recommends=no"),
            None => {}
        }
        for (on, word) in [
            (self.unauthenticated, " --allow-unauthenticated"),
            (self.downgrade, " --allow-downgrades"),
            (self.held, " --allow-change-held-packages"),
        ] {
            all.push_str(Self::when(on, word));
        }
        all
    }

    pub(super) fn install(&self, packages: &[String]) -> String {
        format!(
            "/usr/bin/apt-get -y {} {} {} {} {} {} {} install {}{}",
            self.options(),
            Self::when(self.only_upgrade, "--only-upgrade"),
            Self::when(self.fixed, "--fix-broken"),
            Self::when(self.force, "--force-yes"),
            Self::when(self.autoremove, "--auto-remove"),
            Self::when(self.no_remove, "--no-remove"),
            Self::when(self.simulate, "--simulate"),
            quoted(packages),
            self.tail()
        )
    }

    pub(super) fn build_dep(&self, packages: &[String]) -> String {
        format!(
            "/usr/bin/apt-get -y {} {} {} {} {} {} build-dep {}{}",
            self.options(),
            Self::when(self.only_upgrade, "--only-upgrade"),
            Self::when(self.fixed, "--fix-broken"),
            Self::when(self.force, "--force-yes"),
            Self::when(self.no_remove, "--no-remove"),
            Self::when(self.simulate, "--simulate"),
            quoted(packages),
            self.tail()
        )
    }

    pub(super) fn remove(&self, packages: &[String]) -> String {
        format!(
            "/usr/bin/apt-get -q -y {} {} {} {} {} remove {}{}",
            self.options(),
            Self::when(self.purge, "--purge"),
            Self::when(self.force, "--force-yes"),
            Self::when(self.autoremove, "--auto-remove"),
            Self::when(self.simulate, "--simulate"),
            quoted(packages),
            Self::when(self.held, " --allow-change-held-packages")
        )
    }

    /// `autoremove` or `autoclean`.
    pub(super) fn clean_up(&self, what: &str) -> String {
        format!(
            "/usr/bin/apt-get -y {} {} {} {what} {}",
            self.options(),
            Self::when(self.purge, "--purge"),
            Self::when(self.force, "--force-yes"),
            Self::when(self.simulate, "--simulate"),
        )
    }

    pub(super) fn upgrade(&self, dist: bool) -> String {
        let verb = match (dist, self.autoremove) {
            (true, false) => "dist-upgrade",
            (true, true) => "dist-upgrade --auto-remove",
            (false, false) => "upgrade --with-new-pkgs",
            (false, true) => "upgrade --with-new-pkgs --auto-remove",
        };
        format!(
            "/usr/bin/apt-get -y {} {} {} {} {} {} {verb}{}",
            self.options(),
            Self::when(self.force, "--force-yes"),
            Self::when(self.no_remove, "--no-remove"),
            Self::when(self.unauthenticated, "--allow-unauthenticated"),
            Self::when(self.downgrade, "--allow-downgrades"),
            Self::when(self.simulate, "--simulate"),
            self.release.as_ref().map(|r| format!(" -t '{}'", r.replace('\'', ""))).unwrap_or_default()
        )
    }

    /// A script that runs a command line as apt wants it: no questions, one language, and the lock waited for.
    pub(super) fn run(&self, line: &str) -> String {
        let waiting =
            line.replacen("apt-get", &format!("apt-get -o DPkg::Lock::Timeout={}", shell_quote(&self.lock)), 1);
        match (&self.policy, self.simulate) {
            (Some(code), false) => format!(
                "p=/usr/sbin/policy-rc.d\nif [ -e $p ]; then mv $p $p.towpath; fi\n\
                 trap 'rm -f /usr/sbin/policy-rc.d; if [ -e /usr/sbin/policy-rc.d.towpath ]; then mv /usr/sbin/policy-rc.d.towpath /usr/sbin/policy-rc.d; fi' EXIT\n\
                 printf '#!/bin/sh\\nexit %s\\n' {} >$p && chmod 755 $p || exit $?\n{waiting}\n",
                shell_quote(code)
            ),
            _ => format!("{waiting}\n"),
        }
    }

    /// Reads the lists of packages again; tries again if that fails, and leaves with 77 after the last time.
    pub(in crate::modules) fn update(&self) -> String {
        format!(
            "i=0\nwhile :; do\ntp_e=$(apt-get -q -o APT::Update::Error-Mode=any -o DPkg::Lock::Timeout={} update 2>&1 >/dev/null) && break\n\
             i=$((i + 1)); if [ $i -ge {retries} ]; then printf '%s\\n' \"$tp_e\" >&2; exit 77; fi\n\
             s=$((1 << (i - 1))); [ $s -le {delay} ] || s={delay}; sleep $s\ndone\n",
            shell_quote(&self.lock),
            retries = self.retries,
            delay = self.delay,
        )
    }

    /// What is said when [`update`](Self::update) has failed.
    pub(in crate::modules) fn not_updated(&self, stderr: &str) -> String {
        let errors: Vec<String> =
            stderr.lines().filter_map(|l| l.strip_prefix("E: ")).map(|l| format!("E:{l}")).collect();
        format!("Failed to update apt cache after {} retries: {}", self.retries, errors.join(", "))
    }
}

fn quoted(packages: &[String]) -> String {
    packages.iter().map(|p| format!("'{}'", p.replace('\'', ""))).collect::<Vec<_>>().join(" ")
}

/// What apt needs to ask nothing.
pub(super) const QUIET: &str = "export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical LC_ALL=C LANG=C\n";

/// `tp_time` prints when the lists of packages were read.
pub(super) const TIME: &str = "tp_time() { for f in /var/lib/apt/periodic/update-success-stamp /var/lib/apt/lists; do\n\
    [ -e $f ] && { echo \"time=$(stat -c %Y $f)\"; break; }; done; }\n";
