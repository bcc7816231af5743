use towpath_core::{ErrorKind, Secret, SecretRef};
use towpath_strider::{BranchSetup, GitAuth, GitAuthKind, GitProvider, PluginSetup, ProjectSetup};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_set_up_changes_nothing() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|c| c);
    let writes = || {
        world
            .log()
            .iter()
            .filter(|r| r["method"] != "GET" && r["path"].as_str().is_some_and(|p| p.starts_with("/acme")))
            .count()
    };
    let before = writes();
    let mut project = world.project(&[("test", "true")]);
    assert_eq!(strider.set_up(&world.cx, &project).await.unwrap(), Vec::<String>::new());
    // Only the question whether the project is there, which answers 409.
    assert_eq!(writes(), before + 1);

    project.branches.get_mut("master").unwrap().plugins = Some(vec![PluginSetup::custom([("deploy", "true")])]);
    project.branches.insert("hotfix".into(), BranchSetup { deploy_on_green: Some(false), ..BranchSetup::default() });
    project.provider.cache = true;
    let changed = strider.set_up(&world.cx, &project).await.unwrap();
    assert_eq!(
        changed,
        ["provider of acme/web changed", "branch hotfix added", "branch hotfix configured", "branch master configured"]
    );
    assert_eq!(
        strider.set_up(&world.cx, &project).await.unwrap(),
        Vec::<String>::new(),
        "the test script is gone, too"
    );
    assert!(strider.remove_branch(&world.cx, "hotfix").await.unwrap());
    assert!(!strider.remove_branch(&world.cx, "hotfix").await.unwrap());
    assert_eq!(strider.remove_branch(&world.cx, "master").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_before_anything_is_touched() {
    let Some(world) = World::new(&[]).await else { return };
    let strider = world.strider(|mut c| {
        c.project = "acme/new".into();
        c
    });
    let before = world.log().len();
    let wrong = ProjectSetup::git("new", "https://x").branch("a b", BranchSetup::default());
    assert_eq!(strider.set_up(&world.cx, &wrong).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let nameless = PluginSetup { id: String::new(), enabled: true, config: serde_json::Map::new() };
    let wrong = ProjectSetup::git("new", "https://x")
        .branch("master", BranchSetup { plugins: Some(vec![nameless]), ..BranchSetup::default() });
    assert_eq!(strider.set_up(&world.cx, &wrong).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(world.log().len(), before);
    let error =
        world.strider(|c| c).configure_branch(&world.cx, "release-v1", &BranchSetup::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("only `release-*` stands for it"), "{error}");
    let missing = strider.set_provider(&world.cx, &ProjectSetup::git("new", "https://x").provider).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_provider_are_resolved_for_the_request_only() {
    let Some(world) = World::new(&[]).await else { return };
    let strider = world.strider(|c| c);
    let provider = |password: &str| GitProvider {
        url: "https://git.example.test/acme/web.git".into(),
        cache: false,
        auth: GitAuth {
            kind: GitAuthKind::Https,
            username: Some("deploy".into()),
            password: Some(SecretRef::Given(password.into())),
            privkey: None,
        },
    };
    let cx = towpath_core::Context::builder()
        .secret("password", Secret::new(crate::simulator::PASSWORD))
        .secret("git", Secret::new("git-password-1"))
        .secret("git2", Secret::new("git-password-2"))
        .build();
    assert!(strider.set_provider(&cx, &provider("git")).await.unwrap());
    assert!(!strider.set_provider(&cx, &provider("git")).await.unwrap());
    assert!(strider.set_provider(&cx, &provider("git2")).await.unwrap(), "a new password");
    assert_eq!(strider.set_provider(&cx, &provider("nobody")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!format!("{:?}", provider("git")).contains("git-password"));
}
