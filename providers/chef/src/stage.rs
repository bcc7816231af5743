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

/// The folder that holds those of all runs of one user, before the user's number. Only that user can read it, and so the next run finds there
/// what one that was killed has left.
const OWN: &str = "/tmp/towpath-chef-";

/// Names a note of the journal that keeps which run was interrupted.
const NOTE: &str = "staging";

/// Where Chef and Cinc are, beside `PATH`: that of a command is often short.
const PLACES: &str =
    "/opt/chef/bin /opt/cinc/bin /opt/chef-workstation/bin /opt/cinc-workstation/bin /usr/local/bin /usr/bin";

/// The file that is there while Chef runs: the shell around it, when that started, its process group, which run it is.
const RUNNING: &str = ".running";

/// Functions about that file. A number of a process may be another one's by now, so its start counts, too.
const FUNCTIONS: &str = r#"running() {
read -r w s g k 2>/dev/null <"$1/.running" || return 1
kill -s 0 -- "$w" 2>/dev/null || return 1
read -r l 2>/dev/null <"/proc/$w/stat" || return 0
set -- ${l##*) }
[ "$1" != Z ] && [ "${20}" = "$s" ]
}
stop() {
running "$1" && [ "$k" = "$2" ] || return 0
kill -s TERM -- "-$g" 2>/dev/null
i=0
while running "$1" && [ "$i" -lt 50 ]; do i=$((i+1)); sleep 0.1 2>/dev/null || sleep 1; done
if running "$1"; then kill -s KILL -- "-$g" 2>/dev/null; sleep 1; fi
}
mine() { [ ! -L "$1" ] && [ -d "$1" ] && [ -O "$1" ]; }
"#;

/// Removes what killed runs left, and makes a new folder. Keys are only in one with the file of a running Chef, which takes them with it
/// when it ends; without that file a folder may be one that is being filled, so it stays for a day. Another run may remove the outer folder
/// when it is empty, at any time.
const MAKE: &str = r#"p=$p$(id -u)
if [ -e "$p" ] || [ -L "$p" ]; then
mine "$p" || { printf '%s\n' "$p"; exit 91; }
chmod 700 -- "$p"
if [ -n "$o" ]; then stop "$p/$o" "$o"; rm -rf -- "$p/$o"; fi
for d in "$p"/*; do
mine "$d" || continue
if [ -e "$d/.running" ]; then running "$d" || rm -rf -- "$d"
elif [ -n "$(find "$d" -prune -mmin +1440)" ]; then rm -rf -- "$d"; fi
done
fi
find_chef
i=0
until mkdir -m 700 -- "$p" 2>/dev/null; mine "$p" && mkdir -m 700 -- "$p/$r" 2>/dev/null; do
if [ -e "$p" ] || [ -L "$p" ]; then mine "$p" || { printf '%s\n' "$p"; exit 91; }; fi
i=$((i+1))
[ "$i" -lt 5 ] || { mkdir -m 700 -- "$p/$r"; exit 92; }
done
printf '%s\n' "$p/$r" "$c"
"#;

/// As [`MAKE`], for a folder that stays. One in which Chef runs for somebody else is left alone.
const KEEP: &str = r#"find_chef
printf '%s\n' "$p"
[ ! -L "$p" ] || exit 91
mkdir -p -- "$p" || exit 92
mine "$p" || exit 91
chmod 700 -- "$p" || exit 92
[ -z "$o" ] || stop "$p" "$o"
! running "$p" || exit 93
cd -- "$p" && rm -f -- $x || exit 92
printf '%s\n' "$c"
"#;

/// All files of one run.
fn of_run() -> String {
    format!(
        "{RUNNING} {RUNNING}.new {NODE} {REPORT} {REPORT}.new {HANDLER} {BAG_SECRET} {VALIDATION_KEY} solo.rb client.rb parts.tar"
    )
}

/// The folder of one run.
pub(crate) struct Staging<'a> {
    pub(crate) path: String,
    /// Says which run it is.
    pub(crate) name: String,
    /// Whether it stays.
    keep: bool,
    to: Option<Become>,
    connection: &'a dyn Connection,
    /// The program that was found.
    pub(crate) chef: Vec<String>,
}

impl<'a> Staging<'a> {
    /// Finds Chef and makes the folder. What killed runs left is removed; a Chef that goes on for an interrupted attempt of this one is
    /// ended.
    ///
    /// # Errors
    ///
    /// [`ToolMissing`](ErrorKind::ToolMissing): the host has no Chef. [`Conflict`](ErrorKind::Conflict): the folder is somebody else's, or in use.
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
        let name = format!("{:032x}", rand::random::<u128>());
        let (program, rest) = match config.chef_command.split_first() {
            Some((program, rest)) => (program.as_str(), rest),
            None => (config.program(), Default::default()),
        };
        let hex = |n: &String| n.len() == 32 && n.bytes().all(|b| b.is_ascii_hexdigit());
        let before = cx.recall(NOTE).and_then(|n| n.as_str().map(str::to_owned)).filter(hex).filter(|_| !planning);
        let script = format!(
            "umask 077\np={} r={name} n={} o={} x='{}'\n{FUNCTIONS}find_chef() {{\n\
             c=$(command -v \"$n\") || for d in {PLACES}; do\n\
             [ -z \"$c\" ] && [ -f \"$d/$n\" ] && [ -x \"$d/$n\" ] && c=$d/$n\ndone\n[ -n \"$c\" ] || exit 90\n}}\n{}",
            shell_quote(given.as_deref().unwrap_or(OWN)),
            shell_quote(program),
            before.unwrap_or_default(),
            of_run(),
            if given.is_some() { KEEP } else { MAKE },
        );
        let mut this = Self { path: String::new(), name, keep: given.is_some(), to, connection, chef: Vec::new() };
        let out = this.script(cx, "staging folder", script, None).await?;
        let said = out.stdout_text();
        let (path, chef) = said.split_once('\n').unwrap_or((&said, ""));
        let error = |kind, message: &str| Err(Error::new(kind, CHEF, "apply", message));
        match out.status {
            ExitStatus::Code(90) => {
                let message = format!(
                    "the host has no `{program}`: install Chef Infra Client or Cinc Client there, or name it in `chef_command`"
                );
                return error(ErrorKind::ToolMissing, &message);
            }
            ExitStatus::Code(91) => {
                let message = "the staging folder is somebody else's, or a link: remove it, or name another one in `staging_directory`";
                return error(ErrorKind::Conflict, message).map_err(|e| e.with("staging_directory", path));
            }
            ExitStatus::Code(93) => {
                let message = "Chef of another run works in the staging folder: wait for its end";
                let named = |e: Error| e.with("staging_directory", path).retry_later();
                return error(ErrorKind::Conflict, message).map_err(named);
            }
            _ => {}
        }
        out.success(CHEF, "apply", connection.host(), &this.exec("staging folder", String::new()))?;
        // Not before: until here the note says whose Chef has to be ended.
        if !planning {
            cx.note(NOTE, json!(this.name)).await?;
        }
        path.clone_into(&mut this.path);
        this.chef = vec![chef.to_owned()];
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
                if there.get(&path) != Some(&(file.digest.clone(), file.executable)) {
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

    /// Digests of what is there, by path, and whether its owner may run it. What is neither file nor folder goes, and parts of another time go whole.
    async fn look(&self, cx: &Context, parts: &[Part]) -> Result<BTreeMap<String, (String, bool)>> {
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let script = format!(
            "cd -- {} || exit 1\nfor p in cookbooks-* roles data_bags environments; do\n[ -e \"$p\" ] || [ -L \"$p\" ] || continue\n\
             case ' {} ' in *\" $p \"*) ;; *) rm -rf -- \"$p\"; continue ;; esac\n\
             find \"$p\" ! -type f ! -type d -exec rm -f -- {{}} +\nfind \"$p\" -type f -exec sha256sum -- {{}} + || exit 1\n\
             find \"$p\" -type f -perm -100 -exec printf 'x  %s\\n' {{}} +\ndone",
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
        let mut there: BTreeMap<String, (String, bool)> = BTreeMap::new();
        for (said, path) in text.lines().filter_map(|l| l.split_once("  ")) {
            let known = there.entry(path.to_owned()).or_default();
            match said {
                "x" => known.1 = true,
                digest => digest.clone_into(&mut known.0),
            }
        }
        Ok(there)
    }

    /// The command that writes small files, 0600, from its standard input, and runs Chef. However Chef ends, and whoever waits for
    /// it, what is secret goes with it.
    pub(crate) fn command(&self, files: &[(&str, String)], argv: &[String]) -> Result<Exec> {
        let mut archive = tar::Builder::new(Vec::new());
        let packed = files.iter().try_for_each(|(name, text)| {
            let mut header = header(text.len() as u64, 0o600, tar::EntryType::Regular);
            archive.append_data(&mut header, name, text.as_bytes())
        });
        let bytes = packed.and_then(|()| archive.into_inner());
        let bytes = bytes
            .map_err(|e| Error::new(ErrorKind::Internal, CHEF, "apply", "settings can't be packed").caused_by(e))?;
        let here = |name: &str| shell_quote(&format!("{}/{name}", self.path));
        // That file last, since it is what tells the next run to look for the others.
        let remove = [NODE, BAG_SECRET, VALIDATION_KEY, RUNNING].map(here).join(" ");
        let last = here(files.last().map_or(HANDLER, |(name, _)| name));
        let words: Vec<String> = argv.iter().map(|w| shell_quote(w)).collect();
        // In a shell of its own, so that neither umask nor variables are Chef's. Half an archive, of a connection that broke, has no last
        // file.
        let mut exec = self.exec(
            "write settings",
            format!(
                "trap {} EXIT\ntrap 'exit 129' HUP\ntrap 'exit 130' INT\ntrap 'exit 143' TERM\n(\numask 077\nl=\n\
                 read -r l 2>/dev/null </proc/$$/stat; set -- ${{l##*) }}\n\
                 printf '%s\\n' \"$$ ${{20:--}} ${{3:--}} {name}\" >{running}.new && mv -f {running}.new {running} && tar -x -o -C {path} -f - && [ -f {last} ]\n\
                 ) || {{ printf '%s\\n' {name} >&2; exit 125; }}\n{} </dev/null\nexit $?",
                shell_quote(&format!("rm -f -- {remove}")),
                words.join(" "),
                name = self.name,
                running = here(RUNNING),
                path = shell_quote(&self.path),
            ),
        );
        exec.stdin = Some(bytes.into());
        Ok(exec)
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
            true => format!("cd -- {path} && rm -f -- {}", of_run()),
            // The one around it stays if another run has a folder there.
            false => format!("rm -rf -- {path} && {{ rmdir -- \"$(dirname -- {path})\" 2>/dev/null || :; }}"),
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
