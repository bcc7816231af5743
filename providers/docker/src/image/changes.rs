//! An image's settings as instructions of a Dockerfile, one a line.

use bollard::models::ContainerConfig;
use serde_json::json;
use towpath_core::{Error, ErrorKind, Result};

use crate::PROVIDER;

/// The settings of a config. What they don't name stays as the container has it.
pub(super) fn changes(config: &ContainerConfig) -> Result<String> {
    let mut lines = Vec::new();
    for (word, list) in [("ENTRYPOINT", &config.entrypoint), ("CMD", &config.cmd)] {
        if let Some(list) = list {
            lines.push(format!("{word} {}", json!(list)));
        }
    }
    for (word, value) in [("USER", &config.user), ("WORKDIR", &config.working_dir), ("STOPSIGNAL", &config.stop_signal)]
    {
        if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
            lines.push(format!("{word} {value}"));
        }
    }
    for variable in config.env.iter().flatten() {
        lines.push(format!("ENV {variable}"));
    }
    for port in config.exposed_ports.iter().flatten() {
        lines.push(format!("EXPOSE {port}"));
    }
    for volume in config.volumes.iter().flatten() {
        lines.push(format!("VOLUME {volume}"));
    }
    let mut labels: Vec<_> = config.labels.iter().flatten().map(|(k, v)| format!("LABEL {k}={v}")).collect();
    labels.sort();
    lines.extend(labels);
    match lines.iter().find(|l| l.contains(['\n', '\r'])) {
        None => Ok(lines.join("\n")),
        Some(line) => Err(Error::new(
            ErrorKind::Unsupported,
            PROVIDER,
            "build",
            "Podman takes no settings of several lines: change this variable, label or argument",
        )
        .with("setting", line.escape_debug())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_instructions() {
        let mut config = ContainerConfig {
            entrypoint: Some(Vec::new()),
            cmd: Some(vec!["sh".into(), "-c".into(), "echo \"a\nb\"".into()]),
            user: Some("web".into()),
            working_dir: Some(String::new()),
            env: Some(vec!["A=it's 1".into()]),
            exposed_ports: Some(vec!["80/tcp".into()]),
            labels: Some([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into()),
            ..ContainerConfig::default()
        };
        let want = "ENTRYPOINT []\nCMD [\"sh\",\"-c\",\"echo \\\"a\\nb\\\"\"]\nUSER web\nENV A=it's 1\nEXPOSE 80/tcp\n\
                    LABEL a=1\nLABEL b=2";
        assert_eq!(changes(&config).unwrap(), want);
        config.env = Some(vec!["A=1\n2".into()]);
        assert_eq!(changes(&config).map_err(|e| e.kind()), Err(ErrorKind::Unsupported));
    }
}
