#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use towpath_core::{ErrorKind, Result};

use super::keywords::{KEYWORDS, Treatment, treatment};
use super::reader::Reader;
use super::*;

fn parse(text: &str, asked: &str) -> Result<Found> {
    let mut reader = Reader::new(asked, None);
    reader.file(Path::new("config"), text, Path::new("/nonexistent"), true, 0)?;
    Ok(reader.found())
}

#[test]
fn the_first_value_wins_and_identities_add_up() {
    let text =
        "User first\nHost web*\n  User=second\n  Port 2222\n  IdentityFile \"~/a b\"\nHost *\nIdentityFile ~/c\nPort 1";
    let found = parse(text, "web1").unwrap();
    assert_eq!((found.user.as_deref(), found.port), (Some("first"), Some(2222)));
    assert_eq!(found.identity_files, ["~/a b", "~/c"]);
    assert_eq!(parse(text, "db").unwrap().port, Some(1));
}

#[test]
fn negated_patterns_exclude() {
    let text = "Host web* !web9\n  User x\nMatch host web9 originalhost web*\n  User y\nMatch user z\n  Port 3";
    assert_eq!(parse(text, "web1").unwrap().user.as_deref(), Some("x"));
    let found = parse(text, "web9").unwrap();
    assert_eq!((found.user.as_deref(), found.port), (Some("y"), None));
}

#[test]
fn what_changes_trust_is_refused_by_name_and_the_rest_ignored() {
    for option in ["KnownHostsCommand /bin/x", "BindAddress 1.2.3.4", "VerifyHostKeyDNS yes", "PKCS11Provider x"] {
        let error = parse(option, "web").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(option.split(' ').next().unwrap()), "{error}");
    }
    parse("Compression yes\nServerAliveInterval 5\nHostKeyAlgorithms +ssh-rsa\nForwardAgent no", "web").unwrap();
    parse("Host other\n  BindAddress 1.2.3.4", "web").unwrap();
}

#[test]
fn proxies_and_tokens() {
    let found = parse("Host a\nProxyJump u@j:22\nHost b\nProxyCommand nc %h %p # x", "b").unwrap();
    assert!(matches!(found.proxy, Some(Proxy::Command(c)) if c.starts_with("nc %h %p")));
    assert_eq!(parse("ProxyJump none\nProxyJump x", "b").unwrap().proxy, Some(Proxy::None));
    let tokens = Tokens { address: "10.0.0.1", port: 7, user: "me", asked: "web", alias: "w", jump: "" };
    assert_eq!(tokens.fill("%r@%h:%p %n %%h $k %k").unwrap(), "me@10.0.0.1:7 web %h $k w");
    assert_eq!(tokens.fill("%C").unwrap().len(), 40);
    assert_eq!(tokens.fill("${PATH}").unwrap(), std::env::var("PATH").unwrap());
    assert_eq!(tokens.fill("%x").unwrap_err(), "%x");
    assert_eq!(tokens.fill("${TOWPATH_NOT_SET}").unwrap_err(), "${TOWPATH_NOT_SET}");
}

/// Every keyword of ssh_config(5), of OpenSSH 9.2 to 10.0.
const MANUAL: &str = "AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CASignatureAlgorithms \
CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs \
CertificateFile ChannelTimeout CheckHostIP Ciphers ClearAllForwardings Compression ConnectTimeout ConnectionAttempts \
ControlMaster ControlPath ControlPersist DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar \
ExitOnForwardFailure FingerprintHash ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted \
GSSAPIAuthentication GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange \
GSSAPIRenewalForcesRekey GSSAPIServerIdentity GSSAPITrustDns GatewayPorts GlobalKnownHostsFile HashKnownHosts Host \
HostKeyAlgorithms HostKeyAlias HostbasedAcceptedAlgorithms HostbasedAuthentication Hostname IPQoS IdentitiesOnly \
IdentityAgent IdentityFile IgnoreUnknown Include KbdInteractiveAuthentication KbdInteractiveDevices KexAlgorithms \
KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs Match NoHostAuthenticationForLocalhost \
NumberOfPasswordPrompts ObscureKeystrokeTiming PKCS11Provider PasswordAuthentication PermitLocalCommand PermitRemoteOpen \
Port PreferredAuthentications ProxyCommand ProxyJump ProxyUseFdpass PubkeyAcceptedAlgorithms PubkeyAuthentication \
RefuseConnection RekeyLimit RemoteCommand RemoteForward RequestTTY RequiredRSASize RevokedHostKeys SecurityKeyProvider \
SendEnv ServerAliveCountMax ServerAliveInterval SessionType SetEnv StdinNull StreamLocalBindMask StreamLocalBindUnlink \
StrictHostKeyChecking SyslogFacility TCPKeepAlive Tag Tunnel TunnelDevice UpdateHostKeys User UserKnownHostsFile \
VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation";

/// A value that differs from the default.
fn sample(keyword: &str) -> &'static str {
    match keyword {
        "port" | "requiredrsasize" | "serveralivecountmax" | "serveraliveinterval" | "connecttimeout" => "7",
        "addressfamily" => "inet",
        "identitiesonly"
        | "hashknownhosts"
        | "nohostauthenticationforlocalhost"
        | "pubkeyauthentication"
        | "passwordauthentication"
        | "kbdinteractiveauthentication"
        | "challengeresponseauthentication"
        | "skeyauthentication"
        | "stricthostkeychecking" => "no",
        "match" => "final",
        "host" => "web",
        _ => "x",
    }
}

#[test]
fn every_keyword_of_the_manual_is_honoured_harmless_or_refused() {
    for keyword in MANUAL.split_whitespace() {
        assert!(treatment(&keyword.to_ascii_lowercase()).is_some(), "{keyword} is in no list");
    }
    assert!(KEYWORDS.is_sorted_by_key(|(k, _)| *k));
    for (keyword, treatment) in KEYWORDS {
        let value = sample(keyword);
        let read = parse(&format!("{keyword} {value}"), "web");
        match treatment {
            // Said by `Host`, `Match` and `Include`, which have tests of their own, in other ways.
            Treatment::Honoured if ["host", "match", "include"].contains(keyword) => drop(read.unwrap()),
            Treatment::Honoured => assert!(read.unwrap() != Found::default(), "{keyword} {value} changes nothing"),
            Treatment::Harmless(why) => {
                assert!(!why.is_empty());
                assert_eq!(read.unwrap(), Found::default(), "{keyword}");
            }
            Treatment::Only(values) => {
                assert_eq!(parse(&format!("{keyword} {}", values[0]), "web").unwrap(), Found::default(), "{keyword}");
                assert!(read.unwrap_err().message().contains(keyword), "{keyword} {value}");
            }
            Treatment::Refused => assert!(read.unwrap_err().message().contains(keyword), "{keyword}"),
        }
        parse(&format!("Host other\n  {keyword} {value}"), "web").unwrap();
    }
}

/// The table in the book.
#[test]
fn the_book_lists_every_keyword() {
    let mut rows = String::from("| option | what is made of it |\n| --- | --- |\n");
    for (keyword, treatment) in KEYWORDS {
        let made = match treatment {
            Treatment::Honoured => "honoured".to_owned(),
            Treatment::Harmless(why) => format!("left out: {why}"),
            Treatment::Only(values) => format!("refused, unless it is `{}`", values.join("` or `")),
            Treatment::Refused => "refused".to_owned(),
        };
        rows.push_str(&format!("| `{keyword}` | {made} |\n"));
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/ssh.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (start, end) = ("<!-- keywords -->\n", "<!-- end of keywords -->");
    let (before, rest) = text.split_once(start).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(&page, format!("{before}{start}{rows}{end}{after}")).unwrap();
        return;
    }
    assert!(
        table == rows,
        "run `TOWPATH_UPDATE=1 cargo test -p towpath-ssh --lib the_book` and commit docs/src/ssh.md"
    );
}

#[test]
fn an_option_that_openssh_does_not_know_is_refused_unless_it_is_to_be_ignored() {
    let error = parse("Hostnam x", "web").unwrap_err();
    assert!(error.message().contains("`Hostnam`"), "{error}");
    parse("IgnoreUnknown Hostn*\nHostnam x", "web").unwrap();
}

#[test]
fn checking_of_host_keys() {
    for (word, how) in [
        ("yes", HostKeys::Strict),
        ("ask", HostKeys::Strict),
        ("accept-new", HostKeys::AcceptNew),
        ("no", HostKeys::Off),
        ("off", HostKeys::Off),
    ] {
        assert_eq!(parse(&format!("StrictHostKeyChecking {word}"), "web").unwrap().host_keys, Some(how));
    }
    assert!(parse("StrictHostKeyChecking maybe", "web").is_err());
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_machine_s_file_is_read_after_the_user_s_with_what_it_includes() {
    let dir = tempfile::tempdir().unwrap();
    let user = write(dir.path(), "user/config", "Host web\n  Port 1\nInclude more/*\n");
    write(dir.path(), "user/more/a", "User anna\n");
    let system =
        write(dir.path(), "etc/ssh_config", "Include ssh_config.d/*.conf\nHost *\n  Port 2\n  User nobody\n  Tag x\n");
    write(dir.path(), "etc/ssh_config.d/10.conf", "ConnectTimeout 1m\nMatch host web\n  HostKeyAlias from-d\n");
    write(dir.path(), "etc/ssh_config.d/20.txt", "ConnectTimeout 5\nHostname wrong\n");
    let includes = |p: &Path| p.parent().unwrap().to_owned();
    let all = [
        Source { includes: includes(&user), path: user, named: false },
        Source { includes: includes(&system), path: system, named: false },
    ];
    let found = read(&all, "web", None).unwrap();
    assert_eq!((found.port, found.user.as_deref(), found.connect_timeout_s), (Some(1), Some("anna"), Some(60)));
    assert_eq!((found.host_key_alias.as_deref(), found.host_name), (Some("from-d"), None));
    assert_eq!(read(&all, "db", None).unwrap().port, Some(2));

    let defaults: Vec<_> = sources(None).into_iter().map(|s| s.path).collect();
    assert_eq!(defaults, [home_dir().join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")]);
    let named: Vec<_> = sources(Some(Path::new("/x"))).into_iter().map(|s| s.path).collect();
    assert_eq!(named, [PathBuf::from("/x")], "one that is named replaces both");
    assert!(sources(Some(Path::new("none"))).is_empty());
}

/// The same files read by OpenSSH's client.
#[test]
fn openssh_finds_the_same() {
    let texts = [
        "Host web\n  HostName %h.example.org\nMatch final host web.example.org\n  User final\n  Port 7\nHost *\n  User last\n",
        "Match originalhost web host other\n  Port 9\nMatch host web user root\n  Port 10\nMatch !host web\n  Port 11\n",
        "Port = 5\nUser \"a b\"\nHost !web *\n  Port 6\nHost w?b\n  HostName h.example.org\n",
        "Host web.example.org\n  Port 8\nMatch final all\n  ServerAliveInterval 3\n",
        "Tag blue\nMatch tagged blue\n  Port 12\n",
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for text in texts {
        let file = write(dir.path(), "config", text);
        let said = Command::new("ssh").args(["-G", "-F"]).arg(&file).args(["-l", "root", "web"]).output().unwrap();
        if !said.status.success() {
            // `Tag` is younger than some clients.
            assert!(text.starts_with("Tag"), "{}", String::from_utf8_lossy(&said.stderr));
            continue;
        }
        let said = String::from_utf8(said.stdout).unwrap();
        let option = |key: &str| said.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')).unwrap().to_owned();
        let found = read(&sources(Some(&file)), "web", Some("root")).unwrap();
        assert_eq!(found.port.unwrap_or(22).to_string(), option("port"), "{text}");
        assert_eq!(found.host_name.clone().unwrap_or("web".into()), option("hostname"), "{text}");
        assert_eq!(found.alive_interval_s.unwrap_or(0).to_string(), option("serveraliveinterval"), "{text}");
        compared += 1;
    }
    assert!(compared >= 4);
}
