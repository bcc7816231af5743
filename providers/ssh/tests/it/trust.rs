use std::process::Command;

use towpath_core::testkit::Sshd;
use towpath_core::{Connector as _, Context, ErrorKind, Exec, Host, Json, SecretRef};
use towpath_ssh::{Ssh, SshConfig};

fn ssh() -> Ssh {
    Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() })
}

fn with(mut host: Host, key: &str, value: impl Into<Json>) -> Host {
    host.connection.options.insert(key.into(), value.into());
    host
}

async fn refused(host: &Host) -> towpath_core::Error {
    let error = ssh().connect(&Context::new(), host).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    error
}

async fn works(host: &Host) {
    let connection = ssh().connect(&Context::new(), host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(connection.exec(&Context::new(), &Exec::argv(["true"])).await.unwrap().status.is_success());
}

fn other_key(dir: &std::path::Path) -> String {
    let path = dir.join("other");
    assert!(
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap().success()
    );
    std::fs::read_to_string(path.with_extension("pub")).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn host_keys() {
    let Some(sshd) = crate::sshd().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let line = std::fs::read_to_string(sshd.known_hosts()).unwrap();
    let file = dir.path().join("known");
    let host = with(sshd.host("web1"), "known_hosts", file.display().to_string());

    assert!(refused(&host).await.message().contains("unknown"));
    assert!(!file.exists(), "nothing is learnt without being asked to");

    works(&with(host.clone(), "host_keys", "accept_new")).await;
    let learnt = std::fs::read_to_string(&file).unwrap();
    assert_eq!(learnt.lines().count(), 1, "{learnt}");
    assert!(learnt.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", sshd.port)));
    works(&host).await;

    let other = other_key(dir.path());
    std::fs::write(&file, format!("[127.0.0.1]:{} {other}\n", sshd.port)).unwrap();
    let error = refused(&with(host.clone(), "host_keys", "accept_new")).await;
    assert!(error.message().contains("CHANGED"), "{error}");

    works(&with(host.clone(), "host_keys", "off")).await;
    let recorded = std::fs::read_to_string(&file).unwrap();
    assert!(recorded.contains(&other) && recorded.lines().count() == 1, "a changed key is not recorded: {recorded}");
    let error =
        ssh().connect(&Context::new(), &with(host.clone(), "host_keys", "on")).await.expect_err("no such value");
    assert!(error.report().contains("accept_new"), "{}", error.report());

    std::fs::write(&file, &line).unwrap();
    assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap().status.success());
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("|1|"), "hashed");
    works(&host).await;

    std::fs::write(&file, format!("@revoked * {}\n{line}", line.split_once(' ').unwrap().1.trim())).unwrap();
    assert!(refused(&host).await.message().contains("revoked"));
    assert!(refused(&with(host.clone(), "host_keys", "off")).await.message().contains("revoked"));

    works(&with(host.clone(), "host_key", line.split_once(' ').unwrap().1.trim())).await;
    assert!(refused(&with(host.clone(), "host_key", other)).await.message().contains("CHANGED"));
}

#[tokio::test]
async fn credentials() {
    let Some(sshd) = crate::sshd().await else { return };
    let dir = tempfile::tempdir().unwrap();
    other_key(dir.path());
    let host = with(sshd.host_as("web1", "asks"), "identity_file", dir.path().join("other").display().to_string());
    let host = with(host, "identity_agent", "none");
    let error = refused(&host).await;
    assert!(error.report().contains("other") && error.get("host") == Some("web1"), "{}", error.report());

    let file = dir.path().join("password");
    std::fs::write(&file, Sshd::PASSWORD).unwrap();
    let mut host = host;
    host.connection.password = Some(SecretRef::File(file));
    works(&host).await;

    let error = ssh().connect(&Context::new(), &with(host, "identity_fiel", "x")).await.expect_err("a typo");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("identity_fiel") && error.message().contains("`identity_file`"), "{error}");
}

#[tokio::test]
async fn a_host_certificate_of_a_trusted_authority_is_accepted() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let authority = other_key(dir.path());
    let public = dir.path().join("host.pub");
    std::fs::write(&public, sshd.sh("cat /etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    let sign = |principal: &str| {
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(dir.path().join("other"))
            .args(["-I", "web1", "-h", "-n", principal])
            .arg(&public)
            .status()
            .unwrap();
        assert!(signed.success());
        let certificate = std::fs::read_to_string(dir.path().join("host-cert.pub")).unwrap();
        sshd.sh(&format!(
            "cat > /etc/ssh/host-cert.pub <<'E'\n{certificate}E\n\
             echo 'HostCertificate /etc/ssh/host-cert.pub' > /etc/ssh/towpath.d/cert.conf"
        ));
        sshd.reload();
    };
    let file = dir.path().join("known");
    std::fs::write(&file, format!("@cert-authority [127.0.0.1]:* {authority}\n")).unwrap();
    let host = with(sshd.host("web1"), "known_hosts", file.display().to_string());
    sign("127.0.0.1");
    works(&host).await;
    sign("somebody.else");
    assert!(refused(&host).await.message().contains("somebody.else"));
}

#[tokio::test]
async fn a_host_behind_another_one_is_reached_through_it() {
    let Some(jump) = crate::sshd().await else { return };
    let Some(behind) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let address = std::process::Command::new("docker")
        .args(["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &behind.id])
        .output()
        .unwrap();
    let address = String::from_utf8(address.stdout).unwrap().trim().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let key = |s: &Sshd| std::fs::read_to_string(s.known_hosts()).unwrap().split_once(' ').unwrap().1.to_owned();
    let known = dir.path().join("known");
    std::fs::write(&known, format!("[127.0.0.1]:{} {}{address} {}", jump.port, key(&jump), key(&behind))).unwrap();
    // One key for both.
    let public = std::fs::read_to_string(behind.key().with_extension("pub")).unwrap();
    jump.sh(&format!("cat >> /home/deploy/.ssh/authorized_keys <<'E'\n{public}E"));
    let config = dir.path().join("config");
    let text = format!(
        "Host behind\n  HostName {address}\n  User deploy\n  ProxyJump deploy@jump\nHost jump\n  HostName 127.0.0.1\n  Port {}\n\
         Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n",
        jump.port,
        behind.key().display(),
        known.display()
    );
    std::fs::write(&config, text).unwrap();
    let ssh = Ssh::new(SshConfig { ssh_config: Some(config.clone()), ..SshConfig::default() });
    let host = Host { name: "behind".into(), ..Host::default() };
    let connection = ssh.connect(&Context::new(), &host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    let name = connection.exec(&Context::new(), &Exec::argv(["hostname"])).await.unwrap().stdout_text();
    assert!(behind.id.starts_with(&name), "{name}");

    let through = format!("nc -q0 127.0.0.1 {}", jump.port);
    let through = if Command::new("nc").arg("-h").output().is_ok() {
        through
    } else {
        format!(
            "python3 -c 'import socket,sys,threading,os\ns=socket.create_connection((\"127.0.0.1\",{}))\n\
        def up():\n  while True:\n    d=os.read(0,65536)\n    if not d: break\n    s.sendall(d)\n\
        threading.Thread(target=up,daemon=True).start()\nwhile True:\n  d=s.recv(65536)\n  if not d: break\n  os.write(1,d)'",
            jump.port
        )
    };
    let script = dir.path().join("through");
    std::fs::write(&script, format!("{through}\n")).unwrap();
    let text = format!("Host *\n  ProxyCommand /bin/sh {} %h %p\n  User deploy\n", script.display());
    std::fs::write(&config, text).unwrap();
    works_with(&Ssh::new(SshConfig { ssh_config: Some(config), ..SshConfig::default() }), &jump.host("web1")).await;
}

#[tokio::test]
async fn a_host_whose_key_has_changed_gets_no_password() {
    let Some(sshd) = crate::sshd().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let (known, password) = (dir.path().join("known"), dir.path().join("password"));
    std::fs::write(&password, Sshd::PASSWORD).unwrap();
    let mut host = with(sshd.host_as("web1", "asks"), "identity_file", "/nonexistent");
    host = with(with(host, "identity_agent", "none"), "known_hosts", known.display().to_string());
    host = with(host, "host_keys", "off");
    host.connection.password = Some(SecretRef::File(password));
    works(&host).await;
    std::fs::write(&known, format!("[127.0.0.1]:{} {}\n", sshd.port, other_key(dir.path()))).unwrap();
    let error = refused(&host).await;
    assert!(error.get("tried").unwrap().contains("not sent"), "{error:?}");
}

/// As OpenSSH's own client would read it.
#[tokio::test]
async fn openssh_s_configuration_narrows_what_is_used() {
    let Some(sshd) = crate::sshd().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known");
    let file = dir.path().join("config");
    let connect = |text: &str| {
        std::fs::write(&file, format!("UserKnownHostsFile {}\n{text}\n", known.display())).unwrap();
        let ssh = Ssh::new(SshConfig { ssh_config: Some(file.clone()), ..SshConfig::default() });
        let mut host = with(sshd.host("web1"), "host_keys", "accept_new");
        host.connection.options.remove("known_hosts");
        async move {
            let connection = ssh.connect(&Context::new(), &host).await?;
            connection.exec(&Context::new(), &Exec::argv(["true"])).await.map(drop)
        }
    };
    connect("HashKnownHosts yes\nHostKeyAlgorithms ecdsa-sha2-*\nAddressFamily inet").await.unwrap();
    let learnt = std::fs::read_to_string(&known).unwrap();
    assert!(learnt.starts_with("|1|") && learnt.contains(" ecdsa-sha2-nistp256 "), "{learnt}");
    // Only the key of this kind is known now, and it is asked for.
    connect("HostKeyAlgorithms +ssh-rsa\nCiphers aes256-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-*")
        .await
        .unwrap();
    let error = connect("Ciphers 3des-cbc").await.expect_err("nothing left");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", error.report());
    for (text, said) in [
        ("PubkeyAcceptedAlgorithms rsa-sha2-*", "PubkeyAcceptedAlgorithms"),
        ("PubkeyAuthentication no", "nothing to try"),
        ("PreferredAuthentications password", "nothing to try"),
    ] {
        let error = connect(text).await.expect_err("no credential left");
        assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.report());
        assert!(error.get("tried").unwrap().contains(said), "{}", error.report());
    }
    let error = connect("AddressFamily inet6").await.expect_err("no such address");
    assert!(error.report().contains("AddressFamily"), "{}", error.report());
    connect("UserKnownHostsFile /nonexistent/file").await.unwrap();
}

async fn works_with(ssh: &Ssh, host: &Host) {
    let connection = ssh.connect(&Context::new(), host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(connection.exec(&Context::new(), &Exec::argv(["true"])).await.unwrap().status.is_success());
}
