//! `ansible-vault`.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Parser, Subcommand};
use zeroize::Zeroizing;

use crate::playbook::{DEFAULT_VAULT_ID, Vault, VaultSource, password_from_file};

use super::options::{Common, Vaults};
use super::setup::Base;
use super::{Outcome, Stop, exit, secrets};

/// Encrypts and decrypts files and texts as Ansible Vault does.
#[derive(Debug, Parser)]
#[command(
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    disable_help_subcommand = true
)]
pub(crate) struct VaultCli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Args)]
struct Files {
    /// The files; standard input if none is given
    files: Vec<PathBuf>,
    /// Write to this file, `-` for standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    vaults: Vaults,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new encrypted file in an editor
    Create {
        /// The file
        file: PathBuf,
        /// The id of the password to encrypt with
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        /// Do not demand a terminal
        #[arg(long)]
        skip_tty_check: bool,
        #[command(flatten)]
        vaults: Vaults,
    },
    /// Turn encrypted files back into plain ones
    Decrypt(Files),
    /// Change encrypted files in an editor
    Edit {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The id of the password to encrypt with
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        #[command(flatten)]
        vaults: Vaults,
    },
    /// Show encrypted files
    View {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        vaults: Vaults,
    },
    /// Encrypt files
    Encrypt {
        #[command(flatten)]
        files: Files,
        /// The id of the password to encrypt with
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
    },
    /// Encrypt texts, for a file of variables
    #[command(name = "encrypt_string")]
    EncryptString {
        /// The texts; `-` is standard input
        texts: Vec<String>,
        /// Ask for a text
        #[arg(short = 'p', long)]
        prompt: bool,
        /// Show what is typed
        #[arg(long)]
        show_input: bool,
        /// The names of the variables
        #[arg(short = 'n', long)]
        name: Vec<String>,
        /// The name of the variable from standard input
        #[arg(long, value_name = "NAME")]
        stdin_name: Option<String>,
        /// Write to this file
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The id of the password to encrypt with
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        #[command(flatten)]
        vaults: Vaults,
    },
    /// Encrypt files with another password
    Rekey {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The new password: `ID@SOURCE`
        #[arg(long, value_name = "ID@SOURCE")]
        new_vault_id: Option<String>,
        /// File or program that holds the new password
        #[arg(long, value_name = "FILE")]
        new_vault_password_file: Option<PathBuf>,
        /// The id of the password to encrypt with
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        #[command(flatten)]
        vaults: Vaults,
    },
}

type Plain = Zeroizing<Vec<u8>>;
type Done<T> = std::result::Result<T, Stop>;

fn fail<T>(message: impl Into<String>) -> Done<T> {
    Err(Stop::new(exit::ERROR, message))
}

pub(crate) fn run(name: &str, cli: VaultCli) -> Outcome {
    let base = Base::new(name, &cli.common)?;
    if cli.common.version {
        super::super::print(&base.version());
        return Ok(exit::DONE);
    }
    let Some(verb) = cli.verb else {
        return Err(Stop::new(exit::FAILED_HOSTS, "the following arguments are required: action"));
    };
    let job = Job { base: &base };
    match verb {
        Verb::View { files, vaults } => job.view(&files, &job.vault(&vaults, false)?)?,
        Verb::Decrypt(files) => {
            let vault = job.vault(&files.vaults, false)?;
            job.each(&files, "Decryption successful", |text, name| job.opened(&vault, text, name))?;
        }
        Verb::Encrypt { files, encrypt_vault_id } => {
            let vault = job.vault(&files.vaults, true)?;
            let id = job.id(&vault, encrypt_vault_id)?;
            job.each(&files, "Encryption successful", |text, _| {
                if Vault::is_encrypted(text) {
                    return fail("input is already encrypted");
                }
                Ok(Zeroizing::new(vault.encrypt(text, id.as_deref())?.into_bytes()))
            })?;
        }
        Verb::EncryptString { texts, prompt, show_input, name, stdin_name, output, encrypt_vault_id, vaults } => {
            let vault = job.vault(&vaults, true)?;
            let id = job.id(&vault, encrypt_vault_id)?;
            let texts = collect(&texts, prompt, show_input, &name, stdin_name)?;
            let mut out = String::new();
            for (name, text) in texts {
                out.push_str(&inline(name.as_deref(), &vault.encrypt(&text, id.as_deref())?));
            }
            match output {
                Some(path) if path.as_os_str() != "-" => write(&path, out.as_bytes())?,
                _ => print(out.as_bytes())?,
            }
        }
        Verb::Create { file, encrypt_vault_id, skip_tty_check, vaults } => {
            if file.exists() {
                return fail(format!("{} exists, please use 'edit' instead", file.display()));
            }
            if !skip_tty_check && !std::io::stdin().is_terminal() {
                return fail("not a tty, editor cannot be opened");
            }
            let vault = job.vault(&vaults, true)?;
            let id = job.id(&vault, encrypt_vault_id)?;
            let text = job.edited(b"", &file)?;
            write(&file, vault.encrypt(&text, id.as_deref())?.as_bytes())?;
        }
        Verb::Edit { files, encrypt_vault_id, vaults } => {
            let vault = job.vault(&vaults, false)?;
            for file in files {
                let sealed = read(&file)?;
                let old = job.opened(&vault, &sealed, &file.display().to_string())?;
                let new = job.edited(&old, &file)?;
                if *new != *old {
                    let own = header_id(&sealed).filter(|id| vault.ids().any(|i| i == id));
                    let id = encrypt_vault_id.clone().or(own);
                    write(&file, vault.encrypt(&new, id.as_deref())?.as_bytes())?;
                }
            }
        }
        Verb::Rekey { files, new_vault_id, new_vault_password_file, encrypt_vault_id, vaults } => {
            let vault = job.vault(&vaults, false)?;
            let new = job.new_key(new_vault_id, new_vault_password_file)?;
            let opened: Vec<(PathBuf, Plain)> = files
                .into_iter()
                .map(|f| Ok((f.clone(), job.opened(&vault, &read(&f)?, &f.display().to_string())?)))
                .collect::<Done<_>>()?;
            for (file, text) in opened {
                write(&file, new.encrypt(&text, encrypt_vault_id.as_deref())?.as_bytes())?;
            }
            note("Rekey successful");
        }
    }
    Ok(exit::DONE)
}

struct Job<'a> {
    base: &'a Base,
}

impl Job<'_> {
    /// The passwords; asked for if none is named. One to encrypt with is asked for twice.
    fn vault(&self, options: &Vaults, new: bool) -> Done<Vault> {
        let vault = secrets::vault(options, &self.base.settings)?;
        if !vault.is_empty() {
            return Ok(vault);
        }
        let password = if new { asked_twice("New Vault password: ")? } else { secrets::ask("Vault password: ")? };
        Ok(Vault::new().key(DEFAULT_VAULT_ID, password))
    }

    /// Which password encrypts, where there are several.
    fn id(&self, vault: &Vault, wanted: Option<String>) -> Done<Option<String>> {
        let configured =
            self.base.settings.get("DEFAULT_VAULT_ENCRYPT_IDENTITY").filter(|v| !v.is_empty()).map(str::to_owned);
        let wanted = wanted.or(configured);
        let ids: Vec<&str> = vault.ids().collect();
        if wanted.is_none() && ids.len() > 1 {
            return fail(format!(
                "The vault-ids {} are available to encrypt. Specify the vault-id to encrypt with --encrypt-vault-id",
                ids.join(",")
            ));
        }
        Ok(wanted)
    }

    fn new_key(&self, id: Option<String>, file: Option<PathBuf>) -> Done<Vault> {
        let source = match (id, file) {
            (Some(text), _) => VaultSource::parse(&text),
            (None, file) => VaultSource { id: DEFAULT_VAULT_ID.into(), file },
        };
        let password = match &source.file {
            Some(file) => password_from_file(file, &source.id)?,
            None => asked_twice("New Vault password: ")?,
        };
        Ok(Vault::new().key(source.id, password))
    }

    fn opened(&self, vault: &Vault, text: &[u8], name: &str) -> Done<Plain> {
        if !Vault::is_encrypted(text) {
            return fail(format!("input is not vault encrypted data. {name} is not a vault encrypted file for {name}"));
        }
        Ok(Zeroizing::new(vault.decrypt(text, name).map_err(|e| Stop::new(exit::ERROR, e.report()))?))
    }

    fn view(&self, files: &[PathBuf], vault: &Vault) -> Done<()> {
        for file in files {
            let text = self.opened(vault, &read(file)?, &file.display().to_string())?;
            let ended = text.ends_with(b"\n");
            print(&text)?;
            if !ended {
                print(b"\n")?;
            }
        }
        Ok(())
    }

    fn each(&self, files: &Files, said: &str, change: impl Fn(&[u8], &str) -> Done<Plain>) -> Done<()> {
        let stdin = [PathBuf::from("-")];
        let all = if files.files.is_empty() { &stdin[..] } else { &files.files };
        if files.output.is_some() && all.len() > 1 {
            return Err(Stop::new(exit::OPTIONS, "At most one input file may be used with the --output option"));
        }
        for file in all {
            let to = files.output.as_deref().unwrap_or(file);
            let new = change(&read(file)?, &file.display().to_string())?;
            if to.as_os_str() == "-" { print(&new)? } else { write(to, &new)? }
        }
        if std::io::stdout().is_terminal() {
            note(said);
        }
        Ok(())
    }

    /// What an editor makes of a text. The file that it works on is nobody else's, and is overwritten before it goes.
    fn edited(&self, text: &[u8], beside: &Path) -> Done<Plain> {
        let settings = &self.base.settings;
        let editor = settings.get("EDITOR").filter(|e| !e.trim().is_empty()).unwrap_or("vi");
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let end = beside.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        let path = dir.join(format!("vault-{:032x}{end}", rand::random::<u128>()));
        let result = (|| {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text)?;
            drop(file);
            // `$EDITOR` may have arguments: it is a shell's text by custom. The path is an argument of its own.
            let status =
                Command::new("/bin/sh").args(["-c", &format!("exec {editor} \"$1\""), "editor"]).arg(&path).status()?;
            if !status.success() {
                return Err(std::io::Error::other(format!("the editor ended with {status}")));
            }
            std::fs::read(&path).map(Zeroizing::new)
        })();
        if let Ok(about) = std::fs::metadata(&path) {
            let _ = std::fs::write(&path, vec![0; usize::try_from(about.len()).unwrap_or(0)]);
        }
        let _ = std::fs::remove_file(&path);
        result.map_err(|e| Stop::new(exit::ERROR, format!("Unable to execute the command '{editor}': {e}")))
    }
}

fn asked_twice(prompt: &str) -> Done<crate::Secret> {
    let first = secrets::ask(prompt)?;
    if secrets::ask(&format!("Confirm {prompt}"))?.expose() != first.expose() {
        return fail("Passwords do not match");
    }
    if first.expose().is_empty() {
        return fail("Invalid vault password was provided: it is empty");
    }
    Ok(first)
}

fn header_id(sealed: &[u8]) -> Option<String> {
    let first = sealed.split(|b| *b == b'\n').next()?;
    String::from_utf8_lossy(first).split(';').nth(3).map(|id| id.trim().to_owned())
}

/// Texts with the names of their variables.
fn collect(
    texts: &[String],
    prompt: bool,
    show: bool,
    names: &[String],
    stdin_name: Option<String>,
) -> Done<Vec<(Option<String>, Plain)>> {
    let mut out = Vec::new();
    let mut names = names.iter();
    if prompt {
        let name = names.next().cloned();
        let text = if show {
            typed("String to encrypt: ")?
        } else {
            secrets::ask("String to encrypt (hidden): ")?.expose().to_owned()
        };
        if text.is_empty() {
            return fail("The plaintext provided from the prompt was empty, not encrypting");
        }
        out.push((name, Zeroizing::new(text.into_bytes())));
    }
    let from_stdin = texts.iter().any(|t| t == "-") || stdin_name.is_some() || (texts.is_empty() && !prompt);
    if from_stdin {
        let text = read(Path::new("-"))?;
        if text.is_empty() {
            return fail("stdin was empty, not encrypting");
        }
        out.push((stdin_name, text));
    }
    for text in texts.iter().filter(|t| *t != "-") {
        out.push((names.next().cloned(), Zeroizing::new(text.clone().into_bytes())));
    }
    Ok(out)
}

fn typed(prompt: &str) -> Done<String> {
    let mut line = String::new();
    let mut err = std::io::stderr();
    let asked = write!(err, "{prompt}").and_then(|()| err.flush()).and_then(|()| std::io::stdin().read_line(&mut line));
    asked.map_err(|e| Stop::new(exit::ERROR, format!("there is nobody to ask: {e}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn inline(name: Option<&str>, sealed: &str) -> String {
    let mut out = name.map(|n| format!("{n}: ")).unwrap_or_default() + "!vault |\n";
    for line in sealed.lines() {
        out.push_str(&format!("          {line}\n"));
    }
    out
}

fn read(path: &Path) -> Done<Plain> {
    if path.as_os_str() == "-" {
        let mut text = Zeroizing::new(Vec::new());
        let got = std::io::stdin().read_to_end(&mut text);
        return got
            .map(|_| text)
            .map_err(|e| Stop::new(exit::ERROR, format!("Unable to read from standard input: {e}")));
    }
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|e| Stop::new(exit::ERROR, format!("Unable to read source file ({}): {e}", path.display())))
}

/// Replaces a file by way of a temporary beside it; a new one is for its owner only.
fn write(path: &Path, bytes: &[u8]) -> Done<()> {
    let wrong = |e: std::io::Error| {
        Stop::new(exit::ERROR, format!("Unable to write to destination file ({}): {e}", path.display()))
    };
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{:016x}", rand::random::<u64>()));
    let mode = std::fs::metadata(&path).map_or(0o600, |m| m.permissions().mode() & 0o7777);
    let result = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result.map_err(wrong)
}

fn print(bytes: &[u8]) -> Done<()> {
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => fail(format!("Unable to write: {e}")),
        _ => Ok(()),
    }
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
