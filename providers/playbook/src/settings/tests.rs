#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn settings(cfg: &str, env: &[(&str, &str)]) -> Result<AnsibleSettings> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ansible.cfg"), cfg).unwrap();
    let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    AnsibleSettings::from(&env, dir.path(), Path::new("/nowhere"))
}

#[test]
fn the_environment_is_above_the_file() {
    let cfg = "# a comment\n[defaults]\nforks = 20 ; many\ninventory = hosts,more\nroles_path=a:/b\nremote_user : deploy\n\
               vault_identity_list = dev@pw,\n  prod@pw2\nnocows = 1\n[ssh_connection]\npipelining = True\nssh_args = -o ControlMaster=auto\n[galaxy]\nserver = x\n";
    let found = settings(cfg, &[("ANSIBLE_FORKS", "7"), ("ANSIBLE_HOST_KEY_CHECKING", "no")]).unwrap();
    assert_eq!(found.number("DEFAULT_FORKS").unwrap(), Some(7));
    assert_eq!(found.flag("HOST_KEY_CHECKING"), Some(false));
    assert_eq!(found.get("DEFAULT_REMOTE_USER"), Some("deploy"));
    assert_eq!(found.list("DEFAULT_VAULT_IDENTITY_LIST"), ["dev@pw", "prod@pw2"]);
    let dir = found.file.as_ref().unwrap().parent().unwrap();
    assert_eq!(found.paths("DEFAULT_HOST_LIST", ','), [dir.join("hosts"), dir.join("more")]);
    assert_eq!(found.paths("DEFAULT_ROLES_PATH", ':'), [dir.join("a"), PathBuf::from("/b")]);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn what_is_not_done_is_refused_or_warned_of_by_its_name() {
    let refused = settings("[defaults]\nhash_behaviour = merge\n", &[]).unwrap_err().report();
    assert!(refused.contains("`hash_behaviour = merge`") && refused.contains("ansible.cfg:2"), "{refused}");
    assert!(settings("[defaults]\nhash_behaviour = replace\nany_errors_fatal = no\n", &[]).is_ok());
    let refused = settings("", &[("ANSIBLE_BECOME_EXE", "doas")]).unwrap_err().report();
    assert!(refused.contains("ANSIBLE_BECOME_EXE"), "{refused}");
    let warned = settings("[defaults]\ncallbacks_enabled = timer\nfroks = 3\n", &[]).unwrap().warnings;
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned[0].contains("callbacks_enabled") && warned[1].contains("froks"), "{warned:?}");
    for broken in ["[defaults\n", "forks = 1\n", "[defaults]\nforks\n"] {
        assert_eq!(settings(broken, &[]).unwrap_err().kind(), ErrorKind::InvalidInput, "{broken}");
    }
}

#[test]
fn folders_of_plugins_are_refused_only_if_they_hold_some() {
    let dir = tempfile::tempdir().unwrap();
    let cfg = format!("[defaults]\nfilter_plugins = {}\n", dir.path().display());
    assert!(settings(&cfg, &[]).is_ok());
    std::fs::write(dir.path().join("own.py"), "").unwrap();
    let refused = settings(&cfg, &[]).unwrap_err().report();
    assert!(refused.contains("filter_plugins") && refused.contains("own.py"), "{refused}");
}

#[test]
fn a_file_in_a_folder_that_all_may_write_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let cwd = dir.path().join("cwd");
    let named = dir.path().join("named.cfg");
    for (path, forks) in [(home.join(".ansible.cfg"), 2), (cwd.join("ansible.cfg"), 1), (named.clone(), 3)] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("[defaults]\nforks = {forks}\n")).unwrap();
    }
    let with = |env: &[(&str, &Path)]| {
        let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), v.display().to_string())).collect();
        AnsibleSettings::from(&env, &cwd, Path::new("/nowhere")).unwrap()
    };
    let forks = |s: &AnsibleSettings| s.number("DEFAULT_FORKS").unwrap();
    assert_eq!(forks(&with(&[("HOME", &home)])), Some(1));
    std::fs::set_permissions(&cwd, std::fs::Permissions::from_mode(0o777)).unwrap();
    let found = with(&[("HOME", &home)]);
    assert_eq!(forks(&found), Some(2));
    assert!(found.warnings[0].contains("world writable"), "{:?}", found.warnings);
    assert_eq!(forks(&with(&[("HOME", &home), ("ANSIBLE_CONFIG", &named)])), Some(3));
}

#[test]
fn the_table_is_complete_and_so_is_its_page() {
    let mut names: Vec<_> = setting_keys().map(|k| k.name).collect();
    let all = names.len();
    names.dedup();
    assert!(all == names.len() && all > 200, "{all}");
    for key in setting_keys() {
        assert!(!key.ini.is_empty() || !key.env.is_empty(), "{}", key.name);
        assert!(key.meaning == Meaning::Honoured || !key.note.is_empty(), "{} has no reason", key.name);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/ansible-settings.md");
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(&path, settings_page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == settings_page(),
        "{} is not what the table says; TOWPATH_UPDATE=1 writes it anew",
        path.display()
    );
}
