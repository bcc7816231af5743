//! The folder on the host that gets everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use serde_json::json;
use towpath_core::{
    Become, Connection, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, PutOptions, Result, Source,
    shell_quote,
};

use crate::load::{File, Part};
use crate::settings::{BAG_SECRET, HANDLER, NODE, REPORT, VALIDATION_KEY};
use crate::{CHEF, ChefConfig};

/// What a folder that towpath made is called, before its random end.
const OWN: &str = "/tmp/towpath-chef-";

/// Names a note of the journal that keeps the folder of an interrupted run.
const NOTE: &str = "staging";

/// Where Chef and Cinc are, beside `PATH`: that of a command is often short.
const PLACES: &str =
    "/opt/chef/bin /opt/cinc/bin /opt/chef-workstation/bin /opt/cinc-workstation/bin /usr/local/bin /usr/bin";

/// The folder of one run.
pub(crate) struct Staging<'a> {
    pub(crate) path: String,
    /// Whether it stays.
    keep: bool,
    to: Option<Become>,
    connection: &'a dyn Connection,
    /// The program that was found.
    pub(crate) chef: Vec<String>,
}

impl<'a> Staging<'a> {
    /// Finds Chef and makes the folder. One that an interrupted run left is removed.
    ///
    /// # Errors
    ///
    /// [`ToolMissing`](ErrorKind::ToolMissing): the host has no Chef. [`Conflict`](ErrorKind::Conflict): the folder is somebody else's.
    pub(crate) async fn open(
        cx: &Context,
        connection: &'a dyn Connection,
        config: &ChefConfig,
        to: Option<Become>,
        planning: bool,
    ) -> Result<Self> {
        // A plan leaves nothing behind.
        let given =
            config.staging_directory.as_deref().filter(|_| !planning).map(|p| p.trim_end_matches('/').to_owned());
        let keep = given.is_some();
        let path = given.unwrap_or_else(|| format!("{OWN}{:032x}", rand::random::<u128>()));
        let (program, rest) = match config.chef_command.split_first() {
            Some((program, rest)) => (program.as_str(), rest),
            None => (config.program(), Default::default()),
        };
        let before = cx.recall(NOTE).and_then(|n| n.as_str().map(str::to_owned)).filter(|p| p.starts_with(OWN));
        if !keep && !planning {
            cx.note(NOTE, json!(path)).await?;
        }
        let remove = before.map(|old| format!("rm -rf -- {}\n", shell_quote(&old))).unwrap_or_default();
        let make = if keep {
            "[ ! -L \"$s\" ] || exit 91\nmkdir -p -- \"$s\" || exit 92\n\
             [ \"$(stat -c %u -- \"$s\")\" = \"$(id -u)\" ] || exit 91\nchmod 700 -- \"$s\" && rm -f -- \"$s/$r\"\n"
        } else {
            "mkdir -m 700 -- \"$s\" || exit 92\n"
        };
        let script = format!(
            "umask 077\ns={} n={} r={REPORT}\n{remove}c=$(command -v \"$n\") || for d in {PLACES}; do\n\
             [ -z \"$c\" ] && [ -x \"$d/$n\" ] && c=$d/$n\ndone\n[ -n \"$c\" ] || exit 90\n{make}printf '%s\\n' \"$c\"",
            shell_quote(&path),
            shell_quote(program),
        );
        let mut this = Self { path, keep, to, connection, chef: Vec::new() };
        let out = this.script(cx, "staging folder", script, None).await?;
        let error = |kind, message: String| Err(Error::new(kind, CHEF, "apply", message));
        match out.status {
            ExitStatus::Code(90) => {
                let message = format!(
                    "the host has no `{program}`: install Chef Infra Client or Cinc Client there, or name it in `chef_command`"
                );
                return error(ErrorKind::ToolMissing, message);
            }
            ExitStatus::Code(91) => {
                return error(ErrorKind::Conflict, "the staging folder is somebody else's, or a link".into())
                    .map_err(|e| e.with("staging_directory", &this.path));
            }
            _ => {}
        }
        let out = out.success(CHEF, "apply", connection.host(), &this.exec("staging folder", String::new()))?;
        this.chef = vec![out.stdout_text()];
        this.chef.extend(rest.iter().cloned());
        Ok(this)
    }

    fn exec(&self, label: &str, script: String) -> Exec {
        let mut exec = Exec::script(script);
        exec.r#become.clone_from(&self.to);
        exec.label = Some(label.to_owned());
        exec
    }

    async fn script(&self, cx: &Context, label: &str, script: String, stdin: Option<Vec<u8>>) -> Result<ExecOutput> {
        let mut exec = self.exec(label, script);
        exec.stdin = stdin.map(Into::into);
        self.connection.exec(cx, &exec).await
    }

    async fn must(&self, cx: &Context, label: &str, script: String, stdin: Option<Vec<u8>>) -> Result<ExecOutput> {
        let out = self.script(cx, label, script, stdin).await?;
        out.success(CHEF, "apply", self.connection.host(), &self.exec(label, String::new()))
    }

    /// Sends folders, only what is not there already. What is there and not in them is removed, or Chef would load it. Gives how
    /// many files were sent.
    pub(crate) async fn send(&self, cx: &Context, parts: &[Part]) -> Result<usize> {
        let there = if self.keep { self.look(cx, parts).await? } else { BTreeMap::new() };
        let mut wanted = BTreeSet::new();
        let mut changed: Vec<(&Part, &File)> = Vec::new();
        for part in parts {
            for file in &part.files {
                let path = format!("{}/{}", part.name, file.below);
                if there.get(&path) != Some(&file.digest) {
                    changed.push((part, file));
                }
                wanted.insert(path);
            }
        }
        let sent = changed.len();
        let gone: Vec<&str> = there.keys().filter(|p| !wanted.contains(*p)).map(String::as_str).collect();
        if parts.is_empty() || (self.keep && changed.is_empty() && gone.is_empty() && !there.is_empty()) {
            return Ok(0);
        }
        let folders = parts.iter().flat_map(|p| {
            std::iter::once(format!("{}/", p.name)).chain(p.folders.iter().map(move |f| format!("{}/{f}/", p.name)))
        });
        let folders: Vec<String> = folders.collect();
        let files = changed.into_iter().map(|(part, file)| (format!("{}/{}", part.name, file.below), file.clone()));
        let files: Vec<(String, File)> = files.collect();
        let packed = tokio::task::spawn_blocking(move || pack(&folders, &files)).await;
        let archive = packed
            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
            .map_err(|e| Error::new(ErrorKind::Storage, CHEF, "apply", "the cookbooks can't be packed").caused_by(e))?;
        let options = PutOptions { mode: Some(0o600), r#become: self.to.clone(), ..PutOptions::default() };
        let to = format!("{}/parts.tar", self.path);
        self.connection.put(cx, Source::File(archive.path().to_owned()), &to, &options).await?;
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let script = format!(
            "set -e\ncd -- {}\nwhile IFS= read -r f; do rm -f -- \"$f\"; done\n\
             for p in {}; do [ ! -d \"$p\" ] || find \"$p\" -depth -type d -exec rmdir -- {{}} + 2>/dev/null || :; done\n\
             tar -xof parts.tar\nrm -f parts.tar",
            shell_quote(&self.path),
            names.join(" "),
        );
        let list = gone.iter().map(|p| format!("{p}\n")).collect::<String>();
        self.must(cx, "unpack cookbooks", script, Some(list.into_bytes())).await?;
        Ok(sent)
    }

    /// Digests of what is there, by path. What is neither file nor folder goes, and parts of another time go whole.
    async fn look(&self, cx: &Context, parts: &[Part]) -> Result<BTreeMap<String, String>> {
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let script = format!(
            "cd -- {} || exit 1\nfor p in cookbooks-* roles data_bags environments; do\n[ -e \"$p\" ] || [ -L \"$p\" ] || continue\n\
             case ' {} ' in *\" $p \"*) ;; *) rm -rf -- \"$p\"; continue ;; esac\n\
             find \"$p\" ! -type f ! -type d -exec rm -f -- {{}} +\nfind \"$p\" -type f -exec sha256sum -- {{}} + || exit 1\ndone",
            shell_quote(&self.path),
            names.join(" "),
        );
        let out = self.must(cx, "look at cookbooks", script, None).await?;
        let text = out.stdout_text();
        // `sha256sum` begins the line of an odd name with a backslash: such files can't be ours.
        let odd = text.lines().any(|l| l.starts_with('\\'));
        if odd {
            let script = format!("cd -- {} && rm -rf -- {}", shell_quote(&self.path), names.join(" "));
            self.must(cx, "remove cookbooks", script, None).await?;
            return Ok(BTreeMap::new());
        }
        Ok(text.lines().filter_map(|l| l.split_once("  ")).map(|(d, p)| (p.to_owned(), d.to_owned())).collect())
    }

    /// Writes small files, 0600, through standard input.
    pub(crate) async fn write(&self, cx: &Context, files: &[(&str, String)]) -> Result<()> {
        let mut archive = tar::Builder::new(Vec::new());
        let packed = files.iter().try_for_each(|(name, text)| {
            let mut header = header(text.len() as u64, 0o600, tar::EntryType::Regular);
            archive.append_data(&mut header, name, text.as_bytes())
        });
        let bytes = packed.and_then(|()| archive.into_inner());
        let bytes = bytes
            .map_err(|e| Error::new(ErrorKind::Internal, CHEF, "apply", "settings can't be packed").caused_by(e))?;
        let script = format!("umask 077; cd -- {} && tar -xof -", shell_quote(&self.path));
        self.must(cx, "write settings", script, Some(bytes)).await.map(drop)
    }

    /// The report that Chef wrote, if it did.
    pub(crate) async fn report(&self, cx: &Context) -> Result<Option<Vec<u8>>> {
        let path = shell_quote(&format!("{}/{REPORT}", self.path));
        let out =
            self.script(cx, "report of Chef", format!("[ -f {path} ] || exit 44; exec cat -- {path}"), None).await?;
        if out.status == ExitStatus::Code(44) {
            return Ok(None);
        }
        let exec = self.exec("report of Chef", String::new());
        Ok(Some(out.success(CHEF, "apply", self.connection.host(), &exec)?.stdout.to_vec()))
    }

    /// Removes the folder, or what is secret or of one run only in one that stays. A cancel does not keep it from that.
    pub(crate) async fn close(&self, cx: &Context) {
        let cx = cx.shielded().with_timeout(std::time::Duration::from_secs(60));
        let path = shell_quote(&self.path);
        let script = match self.keep {
            true => format!(
                "cd -- {path} && rm -f -- {NODE} {REPORT} {REPORT}.new {HANDLER} {BAG_SECRET} {VALIDATION_KEY} solo.rb client.rb parts.tar"
            ),
            false => format!("rm -rf -- {path}"),
        };
        if let Err(e) = self.must(&cx, "remove the staging folder", script, None).await {
            cx.warn(format!(
                "the staging folder {} could not be removed on {}: {e}",
                self.path,
                self.connection.host()
            ));
        }
    }
}

fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_entry_type(kind);
    header
}

/// Packs all folders, and the files that have changed. Only in a file of this machine: cookbooks are no secrets.
fn pack(folders: &[String], files: &[(String, File)]) -> std::io::Result<tempfile::NamedTempFile> {
    let mut archive = tar::Builder::new(std::io::BufWriter::new(tempfile::NamedTempFile::new()?));
    for folder in folders {
        let mut header = header(0, 0o755, tar::EntryType::Directory);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    for (name, file) in files {
        let mut content = std::fs::File::open(&file.path)?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut header = header(content.metadata()?.len(), mode, tar::EntryType::Regular);
        archive.append_data(&mut header, name, &mut content)?;
    }
    let mut done = archive.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    done.flush()?;
    Ok(done)
}
