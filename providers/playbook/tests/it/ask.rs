//! What a playbook asks a person.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath_core::{Configurator as _, Context, Inventory, Targets};
use towpath_playbook::{Ask, Playbook, Question};

use crate::language::local::LocalShell;
use crate::support::{host, write};

/// Answers everything with the same word, and keeps what it was asked.
struct Always(&'static str, Mutex<Vec<String>>);

#[async_trait]
impl Ask for Always {
    async fn answer(&self, question: &Question) -> Option<String> {
        self.1.lock().unwrap().push(question.text.clone());
        Some(self.0.into())
    }

    async fn pause(&self, prompt: &str, echo: bool) -> Option<String> {
        self.1.lock().unwrap().push(format!("{prompt} {echo}"));
        Some(self.0.into())
    }
}

const PLAY: &str = r#"
- hosts: all
  gather_facts: no
  vars_prompt: [{name: word, prompt: Which word}]
  tasks:
    - pause: {prompt: "Really delete?", echo: no}
      register: answer
      run_once: yes
    - assert: {that: ["answer.user_input == 'yes'", "not answer.echo", "word == 'yes'", answer is not changed]}
    - pause: {seconds: 1, prompt: Wait}
      register: timed
      run_once: yes
    - assert: {that: ["timed.user_input == ''"]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn prompts_reach_whoever_is_there() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "site.yml", PLAY);
    let inventory = Inventory { hosts: vec![host("a", ""), host("b", "")], ..Inventory::default() };
    let person = Arc::new(Always("yes", Mutex::default()));
    let playbook = Playbook::new(Playbook::file("site.yml"), dir.path()).unwrap().with_ask(person.clone());
    let targets = Targets::new(inventory, Arc::new(LocalShell));
    let done = playbook.apply(&Context::new(), &targets).await.unwrap();
    assert!(done.hosts.values().all(|h| h.failed == 0), "{done:?}");
    // A pause is one for all hosts.
    assert_eq!(*person.1.lock().unwrap(), ["Which word", "[pause]\nReally delete? false"]);
}
