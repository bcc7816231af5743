//! Ways of becoming another user.

use towpath_core::testkit::connector::a_command_becomes_another_user;
use towpath_core::{
    Become, BecomeMethod, Connector as _, Context, ErrorKind, Exec, ExitStatus, PutOptions, Secret, Source,
};
use towpath_docker::DockerConnector;

use crate::connector::fixture_of;
use crate::{Container, engine};

fn with(password: &str, to: Become) -> Become {
    Become { password: Some(Secret::new(password)), ..to }
}

const PASSWORD: &str = towpath_core::testkit::Sshd::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn sudo_gets_its_password() {
    if let Some(mut f) = fixture_of("asks").await {
        f.r#become = Some((with(PASSWORD, Become::root()), "root".into()));
        a_command_becomes_another_user(f).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn su_gets_its_password() {
    if let Some(mut f) = fixture_of("asks").await {
        let su = Become { user: "asks".into(), method: BecomeMethod::Su, ..Become::root() };
        f.r#become = Some((with(PASSWORD, su), "asks".into()));
        a_command_becomes_another_user(f).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_password_is_denied_and_runs_nothing() {
    let Some(f) = fixture_of("asks").await else { return };
    let c = f.provider.connect(&f.cx, &f.host).await.unwrap();
    for to in [with("wrong horse", Become::root()), Become::root()] {
        let run = Exec::script(format!("touch {}/ran", f.dir)).become_user(to);
        let error = c.exec(&f.cx, &run).await.expect_err("no such password");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(!error.report().contains("wrong horse"), "{error:?}");
    }
    let ran = c.exec(&f.cx, &Exec::script(format!("test -e {}/ran", f.dir))).await.unwrap();
    assert_eq!(ran.status, ExitStatus::Code(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_script_nor_environment_nor_password_is_an_argument() {
    let Some(f) = fixture_of("asks").await else { return };
    let c = f.provider.connect(&f.cx, &f.host).await.unwrap();
    let mut run = Exec::script(
        "# hidden-script-text\nfor f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f 2>/dev/null; echo; done",
    );
    run.env = vec![("NAME".into(), "hidden-value".into())];
    run.r#become = Some(with(PASSWORD, Become::root()));
    let seen = c.exec(&f.cx, &run).await.unwrap().stdout_text();
    assert!(seen.contains("sudo"), "the processes are listed: {seen}");
    for hidden in ["hidden-script-text", "hidden-value", PASSWORD] {
        assert!(!seen.contains(hidden), "{hidden} in:\n{seen}");
    }
}

/// Images seldom have sudo; playbooks say `become: true` all the same.
#[tokio::test(flavor = "multi_thread")]
async fn without_sudo_the_engine_changes_the_user() {
    if !engine() {
        return;
    }
    let container = Container::start();
    container.sh("mv /usr/bin/sudo /usr/bin/sudo.away; mkdir /srv/root-only; chmod 700 /srv/root-only");
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &container.host_as("web", "deploy")).await.unwrap();
    let run = |to: Become| Exec::script("id -un; cat; pwd; echo $HOME; exit 5").stdin("in\n").become_user(to);
    let out = c.exec(&cx, &run(Become::root())).await.unwrap();
    assert_eq!((out.stdout_text().as_str(), out.status), ("root\nin\n/root\n/root", ExitStatus::Code(5)));
    let out = c.exec(&cx, &run(with("any password", Become::root()))).await.unwrap();
    assert_eq!(out.stdout_text().lines().next(), Some("root"), "the engine asks for none");
    let options = PutOptions { r#become: Some(Become::root()), ..PutOptions::default() };
    c.put(&cx, Source::Bytes("x".into()), "/srv/root-only/file", &options).await.unwrap();
    assert_eq!(container.sh("stat -c '%U %a' /srv/root-only/file"), "root 600");
    let flags = Become { flags: vec!["-i".into()], ..Become::root() };
    let error = c.exec(&cx, &run(flags)).await.expect_err("a flag of a program that is not there");
    assert_eq!((error.kind(), error.get("flag")), (ErrorKind::Unsupported, Some("-i")), "{error:?}");
    let unknown = Become { user: "nobody-at-all".into(), ..Become::root() };
    c.exec(&cx, &run(unknown)).await.expect_err("no such user");
}
