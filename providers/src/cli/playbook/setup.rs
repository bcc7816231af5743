//! What all commands begin with: settings, colours, vaults, extra variables, the inventory.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::playbook::{
    AnsibleSettings, ConnectionDefaults, InventorySources, LoadedInventory, Passwords, Vault, parse_extra_vars,
    select_hosts,
};
use crate::{Result, Vars};

use super::options::{Become, Common, Connection, Hosts};
use super::secrets::{self, Held};
use super::stdout::{Look, Printer};
use super::{Stop, exit};

/// What ends the command, for people.
pub(crate) fn complain(message: &str) {
    let mut err = std::io::stderr();
    let color = use_color(&AnsibleSettings::load().unwrap_or_default());
    let text = super::stdout::Color::Failed.paint(&format!("ERROR! {message}"), color);
    let _ = writeln!(err, "{text}");
}

/// Whether to colour: as told, else where a terminal reads it.
pub(crate) fn use_color(settings: &AnsibleSettings) -> bool {
    if settings.flag("ANSIBLE_FORCE_COLOR") == Some(true) {
        return true;
    }
    let off = settings
        .get("ANSIBLE_NOCOLOR")
        .is_some_and(|v| !v.is_empty() && settings.flag("ANSIBLE_NOCOLOR") != Some(false));
    !off && std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// What a command stands on.
pub(crate) struct Base {
    pub(crate) name: String,
    pub(crate) settings: AnsibleSettings,
    pub(crate) verbosity: u8,
    pub(crate) held: Held,
    pub(crate) color: bool,
}

impl Base {
    pub(crate) fn new(name: &str, common: &Common) -> std::result::Result<Self, Stop> {
        let settings = AnsibleSettings::load().map_err(|e| Stop::new(exit::OPTIONS, e.report()))?;
        let configured = settings.number("DEFAULT_VERBOSITY")?.unwrap_or(0);
        let verbosity = if common.verbose > 0 { common.verbose } else { u8::try_from(configured).unwrap_or(6) };
        let color = use_color(&settings);
        Ok(Self { name: name.to_owned(), settings, verbosity: verbosity.min(6), held: Held::default(), color })
    }

    /// How results look.
    pub(crate) fn look(&self) -> Look {
        let on = |name: &str, default: bool| self.settings.flag(name).unwrap_or(default);
        Look {
            verbosity: self.verbosity,
            color: self.color,
            check_markers: on("CHECK_MODE_MARKERS", false),
            ok_hosts: on("DISPLAY_OK_HOSTS", true),
            skipped_hosts: on("DISPLAY_SKIPPED_HOSTS", true),
            failed_stderr: on("DISPLAY_FAILED_STDERR", false),
            path_on_failure: on("SHOW_TASK_PATH_ON_FAILURE", false),
            custom_stats: on("SHOW_CUSTOM_STATS", false),
            ..Look::default()
        }
    }

    /// A printer to this process's streams, which has said what comes before everything else.
    pub(crate) fn printer(&self, look: Look) -> Printer {
        let out = std::io::LineWriter::new(std::io::stdout());
        let printer = Printer::new(look, Box::new(out), Box::new(std::io::stderr()));
        if self.verbosity >= 2 {
            printer.say(&self.version());
        }
        if self.verbosity >= 1 {
            match &self.settings.file {
                Some(file) => printer.say(&format!("Using {} as config file", file.display())),
                None => printer.say("No config file found; using defaults"),
            }
        }
        self.settings.warnings.iter().for_each(|w| printer.warn(w));
        printer
    }

    /// `--version`: what scripts look for stands in the first line.
    pub(crate) fn version(&self) -> String {
        let file = self.settings.file.as_ref().map_or_else(|| "None".to_owned(), |f| f.display().to_string());
        let place = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default();
        format!(
            "{} [core {COMPATIBLE}]\n  config file = {file}\n  executable location = {place}\n  towpath = {} (native; no Python)",
            self.name,
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Extra variables of all arguments, the later ones above.
    pub(crate) fn extra_vars(&self, texts: &[String], vault: &Vault) -> Result<Vars> {
        let mut all = Vars::new();
        for text in texts {
            all.extend(parse_extra_vars(text, vault)?);
        }
        Ok(all)
    }

    /// The sources: options, else settings, else `/etc/ansible/hosts`.
    pub(crate) fn sources(&self, given: &[String]) -> Vec<String> {
        if !given.is_empty() {
            return given.to_vec();
        }
        let configured = self.settings.paths("DEFAULT_HOST_LIST", ',');
        if !configured.is_empty() {
            return configured.iter().map(|p| p.display().to_string()).collect();
        }
        let usual = Path::new("/etc/ansible/hosts");
        if usual.exists() { vec![usual.display().to_string()] } else { Vec::new() }
    }

    /// Reads the inventory, and says what is odd about it.
    pub(crate) fn inventory(
        &self,
        sources: &[String],
        vault: &Vault,
        defaults: ConnectionDefaults,
        extra: &Vars,
        printer: &Printer,
    ) -> std::result::Result<(LoadedInventory, InventorySources), Stop> {
        let held = self.held.clone();
        let on = |name: &str, default: bool| self.settings.flag(name).unwrap_or(default);
        let from = InventorySources::new(sources)
            .vault(vault.clone())
            .defaults(defaults)
            .extra_vars(extra.clone())
            .passwords(Passwords::Keep(Arc::new(move |secret| held.keep(&secret))))
            .any_unparsed_fails(on("INVENTORY_ANY_UNPARSED_IS_FAILED", false));
        let loaded = from.load()?;
        loaded.warnings.iter().for_each(|w| printer.warn(w));
        if loaded.parsed == 0 {
            if on("INVENTORY_UNPARSED_IS_FAILED", false) {
                return Err(Stop::new(
                    exit::ERROR,
                    "No inventory was parsed, please check your configuration and options.",
                ));
            }
            if on("INVENTORY_UNPARSED_WARNING", true) {
                printer.warn("No inventory was parsed, only implicit localhost is available");
            }
        }
        Ok((loaded, from))
    }

    /// The limit of options as one pattern; `@FILE` is read. Fails if it leaves no host.
    pub(crate) fn limit(
        &self,
        loaded: &LoadedInventory,
        given: &[String],
        printer: &Printer,
    ) -> std::result::Result<Option<String>, Stop> {
        let hosts = &loaded.inventory.hosts;
        if hosts.is_empty() && self.settings.flag("LOCALHOST_WARNING") != Some(false) {
            printer.warn("provided hosts list is empty, only localhost is available. Note that the implicit localhost does not match 'all'");
        }
        if given.is_empty() {
            return Ok(None);
        }
        let mut terms = Vec::new();
        for term in given.iter().flat_map(|g| g.split(',')).map(str::trim).filter(|t| !t.is_empty()) {
            match term.strip_prefix('@') {
                Some(file) => {
                    let text = std::fs::read_to_string(file)
                        .map_err(|_| Stop::new(exit::ERROR, format!("Unable to find limit file {file}")))?;
                    terms.extend(
                        text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#')),
                    );
                }
                None => terms.push(term.to_owned()),
            }
        }
        let limit = terms.join(",");
        for term in terms.iter().filter(|t| !t.starts_with(['!', '&'])) {
            if select_hosts(&loaded.inventory, term)?.is_empty() {
                printer.warn(&format!("Could not match supplied host pattern, ignoring: {term}"));
            }
        }
        if terms.is_empty() || select_hosts(&loaded.inventory, &limit)?.is_empty() {
            let message = "Specified inventory, host pattern and/or --limit leaves us with no hosts to target.";
            return Err(Stop::new(exit::ERROR, message));
        }
        Ok(Some(limit))
    }

    /// How hosts are reached where nothing else is said.
    pub(crate) fn connection(
        &self,
        given: &Connection,
        password: Option<crate::SecretRef>,
    ) -> Result<ConnectionDefaults> {
        let s = &self.settings;
        let text = |name: &str| s.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        let mut ssh_args: Vec<String> = text("SSH_ARGS").into_iter().collect();
        ssh_args.extend(given.ssh_common_args.clone().or_else(|| text("SSH_COMMON_ARGS")));
        ssh_args.extend(given.ssh_extra_args.clone().or_else(|| text("SSH_EXTRA_ARGS")));
        let checked = s.flag("SSH_HOST_KEY_CHECKING").or_else(|| s.flag("HOST_KEY_CHECKING"));
        let timeout = s.number("SSH_TIMEOUT")?.or(s.number("DEFAULT_TIMEOUT")?);
        let key = given.private_key.clone();
        Ok(ConnectionDefaults {
            kind: given.connection.clone().or_else(|| text("DEFAULT_TRANSPORT")),
            user: given.user.clone().or_else(|| text("DEFAULT_REMOTE_USER")),
            port: s.number("DEFAULT_REMOTE_PORT")?.and_then(|p| u16::try_from(p).ok()),
            private_key: key.or_else(|| s.path("DEFAULT_PRIVATE_KEY_FILE").map(|p| p.display().to_string())),
            timeout_s: given.timeout.or(timeout),
            ssh_args,
            password,
            host_keys: checked,
        })
    }

    /// The passwords for logging in and for becoming another user, asked for or read.
    pub(crate) fn passwords(
        &self,
        connection: &Connection,
        becoming: &Become,
    ) -> Result<(Option<crate::SecretRef>, Option<crate::SecretRef>)> {
        let s = &self.settings;
        let file = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| s.path(name));
        let asked = |given: bool, name: &str| given || s.flag(name) == Some(true);
        let ask_login = asked(connection.ask_pass, "DEFAULT_ASK_PASS");
        let login = if ask_login {
            Some(secrets::ask("SSH password: ")?)
        } else {
            let file = file(&connection.connection_password_file, "CONNECTION_PASSWORD_FILE");
            file.map(|f| secrets::from_file(&f)).transpose()?
        };
        let of_become = if asked(becoming.ask_become_pass, "DEFAULT_BECOME_ASK_PASS") {
            let question = if ask_login { "BECOME password[defaults to SSH password]: " } else { "BECOME password: " };
            let answer = secrets::ask(question)?;
            if answer.expose().is_empty() { login.clone() } else { Some(answer) }
        } else {
            let file = file(&becoming.become_password_file, "BECOME_PASSWORD_FILE");
            file.map(|f| secrets::from_file(&f)).transpose()?
        };
        let keep = |secret: Option<crate::Secret>| secret.map(|s| self.held.keep(&s)).transpose();
        Ok((keep(login)?, keep(of_become)?))
    }
}

/// The ansible-core whose behaviour is reproduced.
pub(crate) const COMPATIBLE: &str = "2.18.19";

/// The limit and sources of a run.
pub(crate) struct Chosen {
    pub(crate) loaded: LoadedInventory,
    pub(crate) limit: Option<String>,
    pub(crate) sources: Vec<String>,
    /// What the inventory was read with, to read it again.
    pub(crate) from: Arc<InventorySources>,
}

impl Base {
    /// Reads the inventory and the limit of a run's options.
    pub(crate) fn choose(
        &self,
        hosts: &Hosts,
        vault: &Vault,
        defaults: ConnectionDefaults,
        extra: &Vars,
        printer: &Printer,
    ) -> std::result::Result<Chosen, Stop> {
        let sources = self.sources(&hosts.inventory);
        let (loaded, from) = self.inventory(&sources, vault, defaults, extra, printer)?;
        let limit = self.limit(&loaded, &hosts.limit, printer)?;
        Ok(Chosen { loaded, limit, sources, from: Arc::new(from) })
    }
}
