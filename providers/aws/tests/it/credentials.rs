//! Where credentials come from, in processes of their own: the environment belongs to all tests.

use std::path::Path;
use std::process::Command;

use towpath_aws::{AwsEnvironment, AwsEnvironmentConfig, ClientConfig, HostGroup};
use towpath_core::{Context, ErrorKind, Provisioner, SecretRef};

use crate::support::{client, moto};

const CHILD: &str = "TOWPATH_AWS_CREDENTIALS_ENDPOINT";

fn provider(client: ClientConfig) -> AwsEnvironment {
    AwsEnvironment::new(AwsEnvironmentConfig::default().client(client).group("web", HostGroup::new("ami-0abc")))
        .unwrap()
}

/// Not a test of its own: a process with another environment. It prints what preflight says.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(endpoint) = std::env::var(CHILD) else { return };
    let client = ClientConfig { endpoint_url: Some(endpoint), ..ClientConfig::default() };
    match provider(client).preflight(&Context::new()).await {
        Ok(found) => eprintln!("OK {:?}", found.ok),
        Err(error) => eprintln!("{:?} {}", error.kind(), error.report()),
    }
}

fn preflight(endpoint: &str, home: &Path, env: &[(&str, &str)]) -> String {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "credentials::child", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(CHILD, endpoint)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_from_variables_and_profiles_or_are_said_to_be_missing() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let home = tempfile::tempdir().unwrap();
    let region = ("AWS_REGION", "eu-west-1");
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAFROMENV"), ("AWS_SECRET_ACCESS_KEY", "x")];

    let said = preflight(&endpoint, home.path(), &[region]);
    assert!(said.contains("Denied") && said.contains("aws sso login"), "{said}");
    assert!(said.contains("region=eu-west-1") && said.contains("GetCallerIdentity failed"), "{said}");
    let said = preflight(&endpoint, home.path(), &keys);
    assert!(said.contains("InvalidInput") && said.contains("AWS_REGION"), "{said}");
    let said = preflight(&endpoint, home.path(), &[region, keys[0], keys[1]]);
    assert!(said.contains("OK") && said.contains("arn:aws:") && said.contains("eu-west-1"), "{said}");

    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let profile = "[profile harbour]\nregion = us-west-2\ncredential_process = echo {\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"S\"}\n";
    std::fs::write(home.path().join(".aws/config"), profile.replace("echo {", "/bin/echo '{").replace("}\n", "}'\n"))
        .unwrap();
    let said = preflight(&endpoint, home.path(), &[("AWS_PROFILE", "harbour"), ("PATH", "/bin:/usr/bin")]);
    assert!(said.contains("OK") && said.contains("us-west-2"), "{said}");
    std::fs::write(home.path().join(".aws/config"), "[profile harbour\nnonsense").unwrap();
    let said = preflight(&endpoint, home.path(), &[region, ("AWS_PROFILE", "harbour")]);
    assert!(said.contains("Denied") || said.contains("InvalidInput"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_said_before_anybody_is_asked() {
    let mut client = client("http://127.0.0.1:1");
    client.credentials.as_mut().unwrap().secret_access_key = SecretRef::Env("NO_SUCH_VARIABLE_OF_TOWPATH".into());
    let error = provider(client).preflight(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(error.get("variable"), Some("NO_SUCH_VARIABLE_OF_TOWPATH"), "{error:?}");
}
