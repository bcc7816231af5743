//! Questions of a playbook, to whoever runs the command.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use async_trait::async_trait;

use crate::Json;
use crate::playbook::{Ask, Question, Step, TaskInfo};

use super::secrets;
use super::stdout::{Printer, banner, json};

/// Asks on the terminal.
pub(crate) struct Person {
    pub(crate) printer: Arc<Printer>,
    /// Before each task, too.
    pub(crate) step: bool,
}

fn line(prompt: &str) -> Option<String> {
    let mut out = std::io::stdout();
    let _ = write!(out, "{prompt}").and_then(|()| out.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer).ok()?;
    (read > 0).then(|| answer.trim_end_matches(['\n', '\r']).to_owned())
}

impl Person {
    fn ask(&self, question: &Question) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            self.printer.warn("Not prompting as we are not in interactive mode");
            return None;
        }
        let prompt = match &question.default {
            Some(Json::Null) | None => format!("{}: ", question.text),
            Some(default) => format!("{} [{}]: ", question.text, json::python(default)),
        };
        let ask = |prompt: &str| {
            if question.private { secrets::ask(prompt).ok().map(|s| s.expose().to_owned()) } else { line(prompt) }
        };
        loop {
            let answer = ask(&prompt)?;
            if question.confirm && ask(&format!("confirm {prompt}"))? != answer {
                self.printer.say("***** VALUES ENTERED DO NOT MATCH ****");
                continue;
            }
            return Some(answer).filter(|a| !a.is_empty() || question.default.is_none());
        }
    }
}

#[async_trait]
impl Ask for Person {
    async fn answer(&self, question: &Question) -> Option<String> {
        // People take their time, and other hosts go on meanwhile.
        tokio::task::block_in_place(|| self.ask(question))
    }

    async fn pause(&self, prompt: &str, echo: bool) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            self.printer.warn("Not waiting for response to prompt as stdin is not interactive");
            return None;
        }
        tokio::task::block_in_place(|| match echo {
            true => line(&format!("{prompt}:\n")),
            false => secrets::ask(&format!("{prompt} (output is hidden):\n")).ok().map(|s| s.expose().to_owned()),
        })
    }

    async fn step(&self, task: &TaskInfo) -> Step {
        if !self.step {
            return Step::Continue;
        }
        let question = format!("Perform task: TASK: {} (N)o/(y)es/(c)ontinue: ", task.name);
        let answer = tokio::task::block_in_place(|| line(&question)).unwrap_or_default();
        let step = match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Step::Run,
            "c" | "continue" => Step::Continue,
            _ => Step::Skip,
        };
        self.printer.say(&banner(question.trim_end_matches(": ")));
        step
    }
}
