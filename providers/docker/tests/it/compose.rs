//! Development environments from Compose files.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use towpath_core::{Action, Connector as _, Context, ErrorKind, Event, Exec, Provisioner as _};
use towpath_docker::{DockerConnector, DockerEnvironment, DockerEnvironmentConfig};

use crate::environment::{environment, planned};
use crate::{BASE, docker, engine};

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compose_file_comes_up_and_goes_down() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("pages")).unwrap();
    write(dir.path(), "pages/index", "hello\n");
    write(dir.path(), ".env", "TOWPATH_TEST_WORD=from-dot-env\n");
    write(dir.path(), "web.env", "# more\nexport FROM_FILE=\"yes it is\"\nPLAIN=file\n");
    let text = r#"
name: shop
x-common: &common
  image: IMAGE
  init: true
  stop_grace_period: 1s
  labels: {tier: any}
services:
  db:
    <<: *common
    command: sh -c 'echo "db is up"; exec sleep 1000'
    healthcheck:
      test: pgrep sleep
      interval: 200ms
      retries: 20
    volumes: ["data:/data"]
  migrate:
    <<: *common
    command: [sh, -c, "echo done >/data/migrated"]
    volumes: ["data:/data"]
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *common
    command: ["sleep", "1000"]
    labels: [tier=front]
    environment:
      WORD: ${TOWPATH_TEST_WORD}
      OTHER: "${TOWPATH_TEST_NO_SUCH:-default} $$HOME"
      PLAIN: service
    env_file: web.env
    ports: ["22", {target: 80, protocol: tcp}]
    volumes:
      - ./pages:/pages:ro
      - {type: volume, source: data, target: /data, read_only: true}
    tmpfs: /run/web
    networks: [default, back]
    depends_on:
      migrate: {condition: service_completed_successfully}
    x-towpath: {groups: [web], vars: {port: 80}}
networks:
  back: {internal: true}
volumes:
  data:
"#;
    write(dir.path(), "compose.yml", &text.replace("IMAGE", BASE));
    let provider = DockerEnvironment::new(DockerEnvironmentConfig::compose(dir.path().join("compose.yml"))).unwrap();
    let cx = environment("compose");
    let there = provider.apply(&cx).await.unwrap().environment;
    let web = there.inventory.host("web").unwrap();
    assert_eq!((&web.vars["port"], &web.labels["tier"]), (&json!(80), &"front".to_owned()));
    assert_eq!(there.inventory.groups["web"].hosts, ["web"]);
    let c = DockerConnector::default().connect(&cx, web).await.unwrap();
    let script = "echo \"$WORD|$OTHER|$FROM_FILE|$PLAIN\"; cat /data/migrated /pages/index; touch /pages/x /data/x 2>/dev/null || echo read-only; stat -f -c %T /run/web; getent hosts db >/dev/null && echo db";
    let out = c.exec(&cx, &Exec::script(script)).await.unwrap();
    assert_eq!(out.stdout_text(), "from-dot-env|default $HOME|yes it is|service\ndone\nhello\nread-only\ntmpfs\ndb");
    assert_eq!(provider.logs(&cx, "db", 5).await.unwrap(), ["db is up"]);
    let ports = &there.outputs["ports"]["web"];
    assert!(ports["22/tcp"].as_str().unwrap().starts_with("127.0.0.1:") && ports["80/tcp"].is_string(), "{ports}");
    assert!(provider.plan(&cx).await.unwrap().is_empty());
    provider.destroy(&cx).await.unwrap();
    let filter = format!("label=towpath.environment={}", cx.environment());
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &filter]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_again_when_its_context_has_changed() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("web")).unwrap();
    write(
        dir.path(),
        "web/Dockerfile.dev",
        &format!("FROM {BASE}\nARG WORD\nRUN echo $WORD >/word\nCOPY page /page\n"),
    );
    write(dir.path(), "web/page", "first");
    let text = "services:\n  web:\n    build: {context: web, dockerfile: Dockerfile.dev, args: [WORD=built]}\n    init: true\n    \
                command: sleep 1000\n";
    write(dir.path(), "compose.yml", text);
    let provider = || DockerEnvironment::new(DockerEnvironmentConfig::compose(dir.path().join("compose.yml"))).unwrap();
    let cx = environment("built");
    let plan = provider().plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "image web").0, Action::Create);
    let first = provider().apply(&cx).await.unwrap();
    assert_eq!(first.changed, 3, "image, network, container");
    let full = first.environment.inventory.host("web").unwrap().connection.address.clone().unwrap();
    assert_eq!(docker(&["exec", &full, "cat", "/word", "/page"]), "built\nfirst");
    let first = docker(&["inspect", "-f", "{{.Image}}", &full]);
    assert!(provider().plan(&cx).await.unwrap().is_empty());
    assert_eq!(provider().apply(&cx).await.unwrap().changed, 0);
    write(dir.path(), "web/page", "second");
    let plan = provider().plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container web"), (Action::Replace, "its image is built anew".into()));
    assert_eq!(provider().apply(&cx).await.unwrap().changed, 2);
    assert_eq!(docker(&["exec", &full, "cat", "/page"]), "second");
    let second = docker(&["inspect", "-f", "{{.Image}}", &full]);
    // What was built before is there still.
    write(dir.path(), "web/page", "first");
    let plan = provider().plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "image web").0, Action::None);
    assert_eq!(planned(&plan, "container web"), (Action::Replace, "its image is another one by now".into()));
    provider().apply(&cx).await.unwrap();
    assert_eq!(docker(&["inspect", "-f", "{{.Image}}", &full]), first);
    provider().destroy(&cx).await.unwrap();
    for id in [first, second] {
        docker(&["rmi", "-f", &id]);
    }
    write(dir.path(), "web/Dockerfile.dev", &format!("FROM {BASE}\nRUN exit 7\n"));
    let error = provider().apply(&cx).await.expect_err("RUN exit 7");
    assert_eq!((error.kind(), error.get("container")), (ErrorKind::ToolFailed, Some("web")), "{error:?}");
}

#[test]
fn what_is_not_understood_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compose.yml");
    let service = |lines: &str| format!("services:\n  web:\n    image: debian\n{lines}");
    for (text, line, word) in [
        (service("    comand: sleep 1\n"), 4, "did you mean `command`?"),
        (service("    build: {contxt: .}\n"), 4, "`context`"),
        (service("    build:\n      dockerfile_inline: x\n"), 5, "`dockerfile_inline`"),
        (service("    container_name: x\n"), 4, "`container_name`"),
        (service("    deploy:\n      replicas: 2\n"), 4, "`deploy`"),
        (service("    ports:\n      - 80-90:80\n"), 5, "range"),
        (service("    ports:\n      - {target: 80, publish: 8080}\n"), 5, "`published`"),
        (service("    volumes: ['a:/b:z']\n"), 4, "`z`"),
        (service("    depends_on: {db: {condition: service_helthy}}\n"), 4, "`service_healthy`"),
        (service("    healthcheck: {interval: 5x, test: a}\n"), 4, "`interval`"),
        (service("    healthcheck: {interval: 99999999999999999s, test: a}\n"), 4, "292 years"),
        (service("    stop_grace_period: 18446744073709551\n"), 4, "292 years"),
        (service("    stop_grace_period: 4294967296s\n"), 4, "too long"),
        (service("    healthcheck: {disable: false}\n"), 4, "needs a `test`"),
        ("services:\n  web:\n    image: Debian\n".into(), 3, "lower-case"),
        ("name: a/b\nservices: {}\n".into(), 1, "`name`"),
        (service("    x-towpath: {onse: true}\n"), 4, "did you mean `once`?"),
        (service("    env_file: {path: a, format: raw}\n"), 4, "`format`"),
        (service("    command: \"a 'b\"\n"), 4, "quote"),
        (service("    restart: sometimes\n"), 4, "`restart`"),
        (service("    init: maybe\n"), 4, "true or false"),
        (service("    image: other\n"), 4, "twice"),
        (service("    user: ${TOWPATH_TEST_NO_SUCH:?say who}\n"), 4, "say who"),
        ("services:\n  web:\n    command: a\n".into(), 2, "neither `image` nor `build`"),
        ("services:\n  web: [a]\n".into(), 2, "mapping"),
        ("secrets: {a: b}\n".into(), 1, "`secrets`"),
        ("services: {\n".into(), 0, "no YAML"),
    ] {
        write(dir.path(), "compose.yml", &text);
        let error = DockerEnvironment::new(DockerEnvironmentConfig::compose(&file)).expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.report().contains(word), "{word} for {text}: {error:?}");
        let place = error.get("file").unwrap_or_else(|| panic!("{error:?}"));
        if line > 0 {
            assert_eq!(place, format!("{}:{line}", file.display()), "{text}");
        }
    }
    // Of a file of variables: its own line, and no value.
    write(dir.path(), "compose.yml", &service("    env_file: [web.env]\n"));
    write(dir.path(), "web.env", "A=1\nB='two\nlines'\nC=\"hidden-token\n");
    let error = DockerEnvironment::new(DockerEnvironmentConfig::compose(&file)).expect_err("a quote");
    let place = format!("{}:4", dir.path().join("web.env").display());
    assert_eq!((error.kind(), error.get("file")), (ErrorKind::InvalidInput, Some(place.as_str())), "{error:?}");
    assert!(error.report().contains("quote") && !error.report().contains("hidden"), "{error:?}");
    // Of a variable: what is written, not what was filled in.
    write(dir.path(), ".env", "TOWPATH_TEST_TOKEN=hidden-token\n");
    for line in ["ports: ['${TOWPATH_TEST_TOKEN}']", "init: ${TOWPATH_TEST_TOKEN}", "restart: x${TOWPATH_TEST_TOKEN}"] {
        write(dir.path(), "compose.yml", &service(&format!("    {line}\n")));
        let error = DockerEnvironment::new(DockerEnvironmentConfig::compose(&file)).expect_err(line);
        let shown = format!("{} {error:?}", error.report());
        assert!(!shown.contains("hidden") && shown.contains("compose.yml:4"), "{shown}");
    }
    write(dir.path(), "compose.yml", &service("    volumes: ['dat:/b']\nvolumes: {data: }\n"));
    let error = DockerEnvironment::new(DockerEnvironmentConfig::compose(&file)).expect_err("an unknown volume");
    assert!(error.report().contains("did you mean `data`?") && error.report().contains("compose.yml"), "{error:?}");
}

/// `HOME` is a variable that this process has.
#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_given_as_empty_is_empty() {
    if !engine() {
        return;
    }
    assert!(std::env::var("HOME").is_ok_and(|h| !h.is_empty()), "the test needs a variable");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), ".env", "TOWPATH_TEST_EMPTY=\n");
    write(dir.path(), "empty.env", "HOME=\n");
    write(dir.path(), "own.env", "HOME\nTOWPATH_TEST_NO_SUCH\n");
    let service = |name: &str, lines: &str| {
        format!("  {name}:\n    image: {BASE}\n    init: true\n    command: [sleep, '1000']\n{lines}")
    };
    let text = [
        "services:\n".to_owned(),
        service("file", "    env_file: [{path: empty.env}, {path: none.env, required: false}]\n"),
        service("filled", "    environment:\n      HOME: ${TOWPATH_TEST_EMPTY}\n"),
        service("list", "    environment: ['HOME=${TOWPATH_TEST_EMPTY}']\n"),
        service("quoted", "    environment: {HOME: ''}\n"),
        service("own", "    env_file: own.env\n"),
        service("named", "    environment: {HOME: }\n"),
    ];
    write(dir.path(), "compose.yml", &text.concat());
    let provider = DockerEnvironment::new(DockerEnvironmentConfig::compose(dir.path().join("compose.yml"))).unwrap();
    let cx = environment("empty");
    let there = provider.apply(&cx).await.unwrap().environment;
    for host in &there.inventory.hosts {
        let container = host.connection.address.clone().unwrap();
        let env = docker(&["inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", &container]);
        let home: Vec<&str> = env.lines().filter(|l| l.starts_with("HOME=")).collect();
        match host.name.as_str() {
            "own" | "named" => assert_eq!(home, [format!("HOME={}", std::env::var("HOME").unwrap())], "{}", host.name),
            _ => assert_eq!(home, ["HOME="], "{}", host.name),
        }
        assert!(!env.contains("NO_SUCH"), "{env}");
    }
    provider.destroy(&cx).await.unwrap();
}

/// Whatever comes from files of variables may be a secret.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_env_files_are_masked_everywhere() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), ".env", "TOWPATH_TEST_PASSWORD=hidden-in-dot-env\nTOWPATH_TEST_ARG=hidden-argument\n");
    write(dir.path(), "web.env", "TOKEN='hidden-in-file'\nPLACE=towpath\n");
    let text = format!(
        "services:\n  web:\n    image: {BASE}\n    env_file: web.env\n    environment:\n      URL: db://u:${{TOWPATH_TEST_PASSWORD}}@h\n    \
         command: [sh, -c, 'echo $$TOKEN $$URL {{}} $$0 $$PLACE; exit 3', '${{TOWPATH_TEST_ARG}}']\n"
    );
    write(dir.path(), "compose.yml", &text);
    let provider = DockerEnvironment::new(DockerEnvironmentConfig::compose(dir.path().join("compose.yml"))).unwrap();
    let events = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&events);
    let listener = move |e: &Event| seen.lock().unwrap().push_str(&serde_json::to_string(e).unwrap());
    let cx = Context::builder().environment(crate::unique("masked")).listener(Arc::new(listener)).build();
    let plan = provider.plan(&cx).await.unwrap();
    let error = provider.apply(&cx).await.expect_err("it ends");
    let shown = "*** db://u:***@h {} *** towpath";
    assert!(error.report().contains(shown), "what is in the image's name is no secret: {}", error.report());
    assert_eq!(provider.logs(&cx, "web", 5).await.unwrap(), [shown]);
    let following = provider.follow_logs(&cx, &["web"], 5).await;
    following.unwrap();
    assert!(events.lock().unwrap().contains(shown), "the log was told as events");
    let all = format!("{plan:?} {provider:?} {error:?} {} {}", error.report(), events.lock().unwrap());
    assert!(!all.contains("hidden"), "{all}");
    provider.destroy(&cx).await.unwrap();
}
