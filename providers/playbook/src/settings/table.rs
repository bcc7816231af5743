//! All keys, and what each means here.

use std::sync::LazyLock;

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// It does what it does in Ansible.
    Honoured,
    /// It has nothing to act on here, or what it is for is so anyway.
    Needless,
    /// It has no effect, which is said.
    Warned,
    /// It names folders of plug-ins; one that holds Python is refused.
    Plugins,
    /// Another value than the default is refused.
    Refused,
}

/// A key of `ansible.cfg`.
#[derive(Debug, Clone)]
pub struct SettingKey {
    /// Its name in Ansible.
    pub name: &'static str,
    /// `section.key` in the file.
    pub ini: Vec<&'static str>,
    /// Variables of the environment.
    pub env: Vec<&'static str>,
    /// What becomes of it.
    pub meaning: Meaning,
    /// The value that is no wish at all.
    pub default: &'static str,
    /// Why, in words.
    pub note: &'static str,
}

/// Sections whose keys are all in the table: another key there is a typing error.
pub(super) const SECTIONS: &[&str] =
    &["defaults", "privilege_escalation", "ssh_connection", "diff", "tags", "inventory"];

static KEYS: LazyLock<Vec<SettingKey>> = LazyLock::new(|| include_str!("keys.txt").lines().filter_map(row).collect());

fn row(line: &'static str) -> Option<SettingKey> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('|').map(str::trim);
    let name = cells.next().filter(|n| !n.is_empty())?;
    let words = |cell: Option<&'static str>| {
        cell.unwrap_or_default().split(' ').filter(|w| !w.is_empty() && *w != "-").collect()
    };
    let (ini, env) = (words(cells.next()), words(cells.next()));
    let meaning = match cells.next()? {
        "honoured" => Meaning::Honoured,
        "needless" => Meaning::Needless,
        "warned" => Meaning::Warned,
        "plugins" => Meaning::Plugins,
        _ => Meaning::Refused,
    };
    Some(SettingKey {
        name,
        ini,
        env,
        meaning,
        default: cells.next().unwrap_or_default(),
        note: cells.next().unwrap_or_default(),
    })
}

pub(super) fn keys() -> &'static [SettingKey] {
    &KEYS
}

/// All keys that Ansible has, and what each means here.
pub fn setting_keys() -> impl Iterator<Item = &'static SettingKey> {
    keys().iter()
}

/// The table as a page of the book, in Markdown.
pub fn settings_page() -> String {
    let mut out = String::from(
        "# Settings of Ansible\n\nKeys of `ansible.cfg` and their variables of the environment. *Honoured*: does what it does in Ansible. *Needless*: has nothing to act \
         on here, or what it is for is so anyway. *Warned*: has no effect, and a warning says so. *Refused*: another value than the default ends the command with an \
         error that names the key. *Plug-ins*: folders of Python plug-ins; refused if there is one in them.\n\n\
         | key | in `ansible.cfg` | variables | | |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in keys() {
        let code = |words: &[&str]| words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" ");
        let meaning = match key.meaning {
            Meaning::Honoured => "honoured",
            Meaning::Needless => "needless",
            Meaning::Warned => "warned",
            Meaning::Plugins => "plug-ins",
            Meaning::Refused => "refused",
        };
        out.push_str(&format!(
            "| {} | {} | {} | {meaning} | {} |\n",
            key.name,
            code(&key.ini),
            code(&key.env),
            key.note
        ));
    }
    out
}
