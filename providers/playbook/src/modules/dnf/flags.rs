//! Options of the task as options of the command line.

use towpath_core::shell_quote;

use crate::modules::Call;

/// Which command: their options differ a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) enum Tool {
    Dnf4,
    Dnf5,
}

impl Tool {
    /// Puts the command into `$tp_d`, or says that there is none.
    pub(super) fn find(self) -> String {
        let names = match self {
            Self::Dnf4 => "dnf-3 dnf4 dnf yum",
            Self::Dnf5 => "dnf5",
        };
        // On newer systems `dnf` is a link to the other one.
        let other = match self {
            Self::Dnf4 => "case $(readlink -f -- \"$tp_x\") in */dnf5) continue;; esac\n",
            Self::Dnf5 => "",
        };
        format!(
            "tp_d=\nfor tp_n in {names}; do tp_x=$(command -v $tp_n) || continue\n{other}tp_d=$tp_x; break\ndone\n\
             if [ -z \"$tp_d\" ]; then printf 'none=%s\\n' \"$PATH\"; exit 0; fi\n"
        )
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dnf4 => "dnf",
            Self::Dnf5 => "dnf5",
        }
    }
}

/// What each command line of a task has.
#[derive(Debug, Clone)]
pub(super) struct Flags {
    pub(super) tool: Tool,
    /// For all commands.
    all: String,
    /// Only where packages are installed.
    install: String,
    autoremove: bool,
    pub(super) root: String,
    pub(super) download_only: bool,
    /// Packages that are not there, or can't be installed, are no error.
    pub(super) skips: bool,
    lock: i64,
}

impl Flags {
    pub(super) fn of(call: &Call, tool: Tool) -> Result<Self, String> {
        let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
        let four = tool == Tool::Dnf4;
        let mut all = String::new();
        let mut add = |flag: &str, value: &str| all.push_str(&format!(" {}", shell_quote(&format!("{flag}{value}"))));
        if let Some(file) = call.text("conf_file") {
            add("--config=", &file);
        }
        if let Some(release) = call.text("releasever") {
            add("--releasever=", &release);
        }
        let root = call.text("installroot").unwrap_or_else(|| "/".into());
        if root != "/" {
            add("--installroot=", &root);
        }
        if let Some(what) = call.text("disable_excludes") {
            add(
                if four { "--disableexcludes=" } else { "--setopt=disable_excludes=" },
                if what == "all" && !four { "*" } else { &what },
            );
        }
        for (key, flag) in [
            ("disable_plugin", if four { "--disableplugin=" } else { "--disable-plugin=" }),
            ("enable_plugin", if four { "--enableplugin=" } else { "--enable-plugin=" }),
        ] {
            for value in call.list(key).unwrap_or_default() {
                add(flag, &value);
            }
        }
        // By settings, since dnf refuses to enable a repository that it does not know, which Ansible only warns of.
        for (key, value) in [("disablerepo", "enabled=0"), ("enablerepo", "enabled=1")] {
            for repo in call.list(key).unwrap_or_default() {
                add("--setopt=", &format!("{repo}.{value}"));
            }
        }
        if yes("cacheonly")? {
            add("-C", "");
        }
        if yes("update_cache")? {
            add("--refresh", "");
        }
        if !call.yes("sslverify")?.unwrap_or(true) {
            add("--setopt=sslverify=", "0");
        }
        let mut install = String::new();
        let mut add =
            |flag: &str, value: &str| install.push_str(&format!(" {}", shell_quote(&format!("{flag}{value}"))));
        for name in call.list("exclude").unwrap_or_default() {
            add("--exclude=", &name);
        }
        if yes("disable_gpg_check")? {
            add(if four { "--nogpgcheck" } else { "--no-gpgchecks" }, "");
        } else {
            // Also of files, which dnf by itself takes unsigned.
            add("--setopt=localpkg_gpgcheck=", "1");
        }
        if !call.yes("install_weak_deps")?.unwrap_or(true) {
            add("--setopt=install_weak_deps=", "0");
        }
        if yes("allowerasing")? {
            add("--allowerasing", "");
        }
        let best = call.yes("best")?;
        match (best, call.yes("nobest")?.map(|n| !n)) {
            (Some(true), _) | (None, Some(true)) => add("--best", ""),
            (Some(false), _) | (None, Some(false)) => add(if four { "--nobest" } else { "--no-best" }, ""),
            (None, None) => {}
        }
        let skips = yes("skip_broken")?;
        if skips {
            add("--skip-broken", "");
            if four {
                add("--setopt=strict=", "0");
            } else {
                add("--skip-unavailable", "");
            }
        }
        let download_only = yes("download_only")?;
        if download_only {
            add("--downloadonly", "");
            if let Some(folder) = call.text("download_dir") {
                add(if four { "--downloaddir=" } else { "--destdir=" }, &folder);
            }
        }
        let lock = call.args.get("lock_timeout").and_then(towpath_core::Json::as_i64).unwrap_or(30);
        Ok(Self { tool, all, install, autoremove: yes("autoremove")?, root, download_only, skips, lock })
    }

    /// A command line with the words that name packages; `ask` only asks what it would do.
    pub(super) fn line(&self, verb: &str, words: &str, ask: bool) -> String {
        let own = match verb {
            "remove" | "autoremove" => {
                format!(" --setopt=clean_requirements_on_remove={}", u8::from(self.autoremove))
            }
            // Whoever only asks need not check signatures, and without any key dnf would not even answer.
            "install" | "upgrade" | "upgrade-minimal" if ask => {
                let unchecked = if self.tool == Tool::Dnf4 { "--nogpgcheck" } else { "--no-gpgchecks" };
                format!("{} {unchecked}", self.install)
            }
            "install" | "upgrade" | "upgrade-minimal" => self.install.clone(),
            _ => String::new(),
        };
        let yes = if ask { "--assumeno" } else { "-y" };
        format!("\"$tp_d\" {yes}{}{own} {verb}{words}", self.all)
    }

    /// A command line that only reads.
    pub(super) fn query(&self, words: &str) -> String {
        format!("\"$tp_d\" -q{} {words}", self.all)
    }

    /// `tp_rpm` prints the packages that are there.
    pub(super) fn list(&self) -> String {
        let root = if self.root == "/" { String::new() } else { format!(" --root {}", shell_quote(&self.root)) };
        // `tp_newer` says whether a newer version of a package is there; without `sort -V`, it never is.
        format!(
            "tp_rpm() {{ rpm{root} \"$@\"; }}\ntp_all() {{ tp_rpm -qa --qf '{}'; }}\n\
             tp_newer() {{ tp_l=$(tp_all | grep -F -- \"${{1%%|*}}|\" | grep -- \"^${{1%%|*}}|\" | head -n 1); [ -n \"$tp_l\" ] && \
             [ \"$(printf '%s\\n%s\\n' \"$1\" \"$tp_l\" | sort -V 2>/dev/null | tail -n 1)\" = \"$tp_l\" ]; }}\n",
            super::names::FORMAT
        )
    }

    /// Waits for others that hold dnf's locks; leaves with 75 if they do not end.
    pub(super) fn wait(&self) -> String {
        if self.tool == Tool::Dnf5 {
            return String::new();
        }
        let over = if self.lock < 0 { String::new() } else { format!("[ $tp_i -lt {} ] || exit 75\n", self.lock) };
        format!(
            "tp_i=0\nwhile tp_h=; do for tp_f in /var/cache/dnf/*.pid /var/lib/dnf/*.pid /var/run/dnf*.pid; do\n\
             [ -s \"$tp_f\" ] && read -r tp_p <\"$tp_f\" && [ -d \"/proc/$tp_p\" ] && tp_h=$tp_p\ndone\n\
             [ -n \"$tp_h\" ] || break\n{over}tp_i=$((tp_i + 1)); sleep 1\ndone\n"
        )
    }
}
