//! Secrets never reach a command line, an event, an error or a file that stays.

use towpath_core::{ErrorKind, ImageBuilder, Secret, SecretRef};
use towpath_packer::{Packer, PackerConfig};

use crate::support::{Seen, image, packer, runs_left, stub, write};

const SECRET: &str = "correct-horse-battery";
/// Packer's output can't tell this from the end of a line.
const WITH_ESCAPE: &str = r"first-half\nsecond-half";

#[tokio::test(flavor = "multi_thread")]
async fn what_packer_prints_of_secrets_is_masked() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Packer 1.6 prints sensitive variables in clear on its machine-readable output.
    let json = r#"{"variables": {"token": null, "pw": "default-of-pw"}, "sensitive-variables": ["pw"],
      "builders": [{"type": "null", "communicator": "none"}],
      "provisioners": [{"type": "shell-local", "inline": ["echo t {{user `token`}} p {{user `pw`}}", "echo {{user `token`}} >&2; exit 1"]}]}"#;
    let hcl = "variable \"token\" {}\nvariable \"pw\" {\n  sensitive = true\n  default = \"default-of-pw\"\n}\nsource \"null\" \"a\" {\n  communicator = \"none\"\n}\nbuild {\n  sources = [\"source.null.a\"]\n  provisioner \"shell-local\" {\n    inline = [\"echo t ${var.token} p ${var.pw}\", \"echo ${var.token} >&2; exit 1\"]\n  }\n}\n";
    for (name, text) in [("t.json", json), ("t.pkr.hcl", hcl)] {
        let template = write(dir.path(), name, text);
        let config = PackerConfig::template(&template)
            .working_dir(dir.path())
            .state_dir(dir.path().join("state"))
            .secret_var("token", SecretRef::Given("token".into()));
        let seen = Seen::default();
        let cx = seen.context().secret("token", Secret::new(SECRET)).build();
        let error = Packer::new(config).unwrap().build(&cx, &image("web", &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
        let text = seen.text();
        assert!(text.contains("t *** p ***"), "{name}: {text}");
        for secret in [SECRET, "default-of-pw"] {
            assert!(!text.contains(secret) && !error.report().contains(secret), "{name}: {text}\n{error:?}");
        }
        assert!(runs_left(&dir.path().join("state")).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_variables_out_of_the_environment_are_masked() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"variables": {"pw": "{{env `SECRET_OF_TEST`}}"}, "sensitive-variables": ["pw"],
      "builders": [{"type": "null", "communicator": "none"}],
      "provisioners": [{"type": "shell-local", "inline": ["echo p {{user `pw`}}", "exit 1"]}]}"#;
    let of_default = "variable \"pw\" {\n  sensitive = true\n  default = env(\"SECRET_OF_TEST\")\n}\n";
    let of_packer = "variable \"pw\" {\n  sensitive = true\n}\n";
    let hcl = "source \"null\" \"a\" {\n  communicator = \"none\"\n}\nbuild {\n  sources = [\"source.null.a\"]\n  provisioner \"shell-local\" {\n    inline = [\"echo p ${var.pw}\", \"exit 1\"]\n  }\n}\n";
    for (name, text, var, secret) in [
        ("t.json", json.to_owned(), "SECRET_OF_TEST"),
        ("default.pkr.hcl", format!("{of_default}{hcl}"), "SECRET_OF_TEST"),
        ("packer.pkr.hcl", format!("{of_packer}{hcl}"), "PKR_VAR_pw"),
    ]
    .into_iter()
    .flat_map(|(name, text, var)| [SECRET, WITH_ESCAPE].map(|secret| (name, text.clone(), var, secret)))
    {
        let template = write(dir.path(), name, &text);
        let mut config = PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"));
        config.env.insert(var.into(), secret.into());
        let seen = Seen::default();
        let error = Packer::new(config).unwrap().build(&seen.context().build(), &image("web", &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
        let text = format!("{}{}", seen.text(), error.report());
        assert!(text.contains("p ***"), "{name}: {text}");
        assert!([secret, "first-half", "second-half"].iter().all(|part| !text.contains(part)), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_through_a_private_file_that_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    // Says what it was called with, and what it finds in its environment and in the file of variables.
    let program = stub(
        dir.path(),
        &format!(
            r#"exec 3>>{log}
echo "argv $*" >&3
env >&3
for a in "$@"; do
  case $a in -var-file=*) f=${{a#-var-file=}}; stat -c 'mode %a' "$f" "$(dirname "$f")" >&3; cp "$f" {log}.vars;; esac
done
case $1 in version) echo '1,,version,1.6.6';; esac
"#,
            log = log.display()
        ),
    );
    let template = write(dir.path(), "t.json", r#"{"builders": []}"#);
    let config = PackerConfig {
        program,
        ..PackerConfig::template(&template)
            .working_dir(dir.path())
            .state_dir(dir.path().join("state"))
            .var("open", true)
            .secret_var("token", SecretRef::Given("token".into()))
    };
    let seen = Seen::default();
    let cx = seen.context().secret("token", Secret::new(SECRET)).build();
    Packer::new(config).unwrap().build(&cx, &image("web", &[])).await.unwrap();
    let log_text = std::fs::read_to_string(&log).unwrap();
    assert!(log_text.contains("argv validate") && log_text.contains("argv build"), "{log_text}");
    assert!(!log_text.contains(SECRET), "neither arguments nor environment: {log_text}");
    assert_eq!(log_text.matches("mode 600").count(), 2, "{log_text}");
    assert_eq!(log_text.matches("mode 700").count(), 2, "{log_text}");
    let vars: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("log.vars")).unwrap()).unwrap();
    assert_eq!(vars, serde_json::json!({"open": "true", "token": SECRET}));
    assert!(runs_left(&dir.path().join("state")).is_empty());
}
