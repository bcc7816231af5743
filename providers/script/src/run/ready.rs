//! A script with all that a host gives to it.

use towpath_core::{Become, Host, Result, Secret};

use crate::RunConfig;
use crate::load::Text;

/// A script that is ready for one host.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) title: String,
    /// With variables replaced.
    pub(crate) config: RunConfig,
    pub(crate) text: Text,
    pub(crate) to: Option<Become>,
    /// All environment variables, those with secrets too. Never shown.
    pub(super) env: Vec<(String, Secret)>,
}

impl Run {
    /// Replaces variables; secrets follow by [`secret`](Self::secret).
    pub(crate) fn new(title: &str, config: &RunConfig, text: &Text, host: &Host, to: Option<Become>) -> Result<Self> {
        let mut config = config.clone();
        if config.fill {
            for text in config.args.iter_mut().chain(config.env.values_mut()) {
                *text = host.fill(text)?;
            }
            let texts =
                [&mut config.cwd, &mut config.creates, &mut config.removes, &mut config.unless, &mut config.only_if];
            for text in texts.into_iter().flatten() {
                *text = host.fill(text)?;
            }
        }
        let env = config.env.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
        Ok(Self { title: title.to_owned(), config, text: text.clone(), to, env })
    }

    /// Adds an environment variable that is secret.
    pub(crate) fn secret(&mut self, name: &str, value: &Secret) {
        self.env.push((name.to_owned(), value.clone()));
    }
}
