//! What a job has said so far, put together from events and from looks at the whole job, without saying anything twice.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::job::{Job, PHASES, Std};

/// How much was said. It is kept in the journal, so that a run that goes on after a crash does not begin again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    started: bool,
    phases: BTreeSet<String>,
    commands: usize,
    /// Bytes of each stream.
    out: usize,
    err: usize,
    merged: usize,
}

/// Something new.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    Started,
    CommandStarted { command: String, plugin: String },
    CommandDone { phase: Option<String>, command: String, plugin: String, exit_code: i64, seconds: f64 },
    PhaseDone { phase: String, exit_code: i64, seconds: f64 },
    Output { from_err: bool, line: String },
}

#[derive(Debug, Default)]
pub(crate) struct Progress {
    said: Said,
    /// Beginnings of lines, as events bring them. What is in them is counted in `said`.
    out: String,
    err: String,
    /// Whether events brought output since the last look.
    chunks: bool,
    /// The command that runs, as events tell.
    running: Option<(String, String)>,
    /// Whether events count: not between the opening of a websocket and the first look through it.
    in_step: bool,
}

impl Progress {
    /// Goes on where another process was.
    pub(crate) fn from(said: Said) -> Self {
        Self { said, ..Self::default() }
    }

    /// Events may be missing from now on, until the next [`look`](Self::look).
    pub(crate) fn out_of_step(&mut self) {
        self.in_step = false;
    }

    /// Takes an event of this job.
    pub(crate) fn event(&mut self, name: &str, data: &Json) -> Vec<News> {
        let mut news = Vec::new();
        if !self.in_step {
            return news;
        }
        let text = |key: &str| data.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let code = || data.get("exitCode").and_then(Json::as_i64);
        let seconds = || data.get("elapsed").and_then(Json::as_f64).unwrap_or_default() / 1000.0;
        match name {
            "started" => self.started(&mut news),
            "command.start" => {
                self.flush(&mut news);
                let (command, plugin) = (text("command"), text("plugin"));
                self.running = Some((command.clone(), plugin.clone()));
                news.push(News::CommandStarted { command, plugin });
            }
            "command.done" => {
                self.flush(&mut news);
                self.said.commands += 1;
                let (command, plugin) = self.running.take().unwrap_or_default();
                let exit_code = code().unwrap_or(-1);
                news.push(News::CommandDone { phase: None, command, plugin, exit_code, seconds: seconds() });
            }
            "stdout" | "stderr" => self.chunk(name == "stderr", data.as_str().unwrap_or_default(), &mut news),
            "phase.done" => {
                self.flush(&mut news);
                self.phase(&text("phase"), code().unwrap_or(-1), seconds(), &mut news);
            }
            "phase.errored" => {
                self.flush(&mut news);
                self.phase(&text("phase"), code().unwrap_or(1), seconds(), &mut news);
            }
            _ => {}
        }
        news
    }

    /// Takes the whole job, as it is now. From here on events count again.
    pub(crate) fn look(&mut self, job: &Job) -> Vec<News> {
        let mut news = Vec::new();
        if job.started.is_some() {
            self.started(&mut news);
        }
        if let Some(std) = &job.std {
            self.output(std, job.is_over(), &mut news);
        }
        let mut index = 0;
        for name in PHASES {
            let Some(phase) = job.phase(name) else { continue };
            for command in phase.commands.iter().flatten() {
                index += 1;
                self.running = None;
                let (text, plugin) =
                    (command.command.clone().unwrap_or_default(), command.plugin.clone().unwrap_or_default());
                let Some(exit_code) = command.exit_code else {
                    self.running = Some((text, plugin));
                    continue;
                };
                if index > self.said.commands {
                    self.said.commands = index;
                    let seconds = command.duration.unwrap_or_default() / 1000.0;
                    let phase = Some(name.to_owned());
                    news.push(News::CommandDone { phase, command: text, plugin, exit_code, seconds });
                }
            }
            if let (Some(_), Some(code)) = (&phase.finished, phase.exit_code) {
                self.phase(name, code, phase.duration.unwrap_or_default() / 1000.0, &mut news);
            }
        }
        self.in_step = true;
        news
    }

    fn started(&mut self, news: &mut Vec<News>) {
        if !std::mem::replace(&mut self.said.started, true) {
            news.push(News::Started);
        }
    }

    fn phase(&mut self, name: &str, exit_code: i64, seconds: f64, news: &mut Vec<News>) {
        if self.said.phases.insert(name.to_owned()) {
            news.push(News::PhaseDone { phase: name.to_owned(), exit_code, seconds });
        }
    }

    fn chunk(&mut self, from_err: bool, text: &str, news: &mut Vec<News>) {
        let (pending, count) =
            if from_err { (&mut self.err, &mut self.said.err) } else { (&mut self.out, &mut self.said.out) };
        *count += text.len();
        self.said.merged += text.len();
        self.chunks = true;
        pending.push_str(text);
        while let Some((line, rest)) = pending.split_once('\n') {
            news.push(line_of(from_err, line));
            *pending = rest.to_owned();
        }
    }

    /// Says the beginnings of lines that no more follows to.
    fn flush(&mut self, news: &mut Vec<News>) {
        for (from_err, pending) in [(false, &mut self.out), (true, &mut self.err)] {
            if !pending.is_empty() {
                news.push(line_of(from_err, &std::mem::take(pending)));
            }
        }
    }

    fn output(&mut self, std: &Std, over: bool, news: &mut Vec<News>) {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let (out, err, merged) = (text(&std.out), text(&std.err), text(&std.merged));
        let one_text = out.is_empty() && err.is_empty();
        let older = if one_text {
            merged.len() < self.said.merged
        } else {
            out.len() < self.said.out || err.len() < self.said.err
        };
        if older {
            return;
        }
        // What was held back is in the whole text, too.
        let chunks = std::mem::take(&mut self.chunks);
        let held = self.out.len() + self.err.len();
        self.said = self.kept();
        (self.out, self.err) = (String::new(), String::new());
        // Between two beginnings of lines that events brought there may be other text.
        let in_order = !(chunks && held > 0) && self.said.out + self.said.err == self.said.merged;
        let (mut rest_out, mut rest_err) = (rest_of(&out, self.said.out), rest_of(&err, self.said.err));
        if one_text {
            let (said, rest) = whole_lines(rest_of(&merged, self.said.merged), over);
            news.extend(said.map(|line| line_of(false, line)));
            rest_out = rest;
        } else if in_order && out.len() + err.len() == merged.len() {
            let (said, _) = whole_lines(rest_of(&merged, self.said.merged), over);
            for line in said {
                let mut left = line;
                while !left.is_empty() {
                    // Whichever stream goes on like this; a line may begin in one and end in the other.
                    let (of_out, of_err) = (common(left, rest_out), common(left, rest_err));
                    let from_err = of_err > of_out;
                    let stream = if from_err { &mut rest_err } else { &mut rest_out };
                    let taken = of_out.max(of_err);
                    *stream = rest_of(stream, taken);
                    let (piece, more) = left.split_at_checked(taken).filter(|_| taken > 0).unwrap_or((left, ""));
                    news.push(line_of(from_err, piece));
                    left = more;
                }
            }
        } else {
            for (from_err, rest) in [(false, &mut rest_out), (true, &mut rest_err)] {
                let (said, left) = whole_lines(rest, over);
                news.extend(said.map(|line| line_of(from_err, line)));
                *rest = left;
            }
        }
        if !over {
            // The next event goes on in the middle of a line.
            (self.out, self.err) = (rest_out.to_owned(), rest_err.to_owned());
        }
        (self.said.out, self.said.err, self.said.merged) = (out.len(), err.len(), merged.len());
    }

    /// How much was said, without what is held back until its line has an end.
    pub(crate) fn kept(&self) -> Said {
        let mut said = self.said.clone();
        said.out = said.out.saturating_sub(self.out.len());
        said.err = said.err.saturating_sub(self.err.len());
        said.merged = said.merged.saturating_sub(self.out.len() + self.err.len());
        said
    }
}

fn rest_of(text: &str, from: usize) -> &str {
    text.get(from..).unwrap_or_default()
}

/// How many bytes two texts have in common at their beginning.
fn common(a: &str, b: &str) -> usize {
    a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y).map_or(a.len().min(b.len()), |((at, _), _)| at)
}

/// Lines that have an end, and what is left; the last line counts without an end if nothing more comes.
fn whole_lines(text: &str, over: bool) -> (impl Iterator<Item = &str>, &str) {
    let end = if over { text.len() } else { text.rfind('\n').map_or(0, |at| at + 1) };
    let (lines, left) = text.split_at_checked(end).unwrap_or((text, ""));
    (lines.split_inclusive('\n'), left)
}

fn line_of(from_err: bool, line: &str) -> News {
    News::Output { from_err, line: line.trim_end_matches(['\n', '\r']).to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(value: Json) -> Job {
        serde_json::from_value(value).unwrap()
    }

    fn output(news: &[News]) -> Vec<String> {
        let line = |n: &News| match n {
            News::Output { from_err, line } => Some(format!("{}:{line}", if *from_err { "err" } else { "out" })),
            _ => None,
        };
        news.iter().filter_map(line).collect()
    }

    fn std(out: &str, err: &str, merged: &str, over: bool) -> Job {
        let finished = over.then_some("2026-01-01T00:00:00Z");
        job(json!({ "started": "x", "finished": finished, "std": { "out": out, "err": err, "merged": merged } }))
    }

    #[test]
    fn looks_at_merged_output_keep_its_order_and_know_its_streams() {
        let mut progress = Progress::default();
        assert_eq!(output(&progress.look(&std("a\n", "+ a\n", "+ a\na\n", false))), ["err:+ a", "out:a"]);
        assert_eq!(output(&progress.look(&std("a\nno end", "+ a\n", "+ a\na\nno end", false))), Vec::<String>::new());
        let last = std("a\nno end", "+ a\n+ b\n", "+ a\na\nno end+ b\n", true);
        assert_eq!(output(&progress.look(&last)), ["out:no end", "err:+ b"]);
        assert_eq!(output(&progress.look(&last)), Vec::<String>::new());
        let mut other = Progress::default();
        assert_eq!(
            output(&other.look(&std("", "", "only\nmerged\n", false))),
            ["out:only", "out:merged"],
            "from an older server"
        );
    }

    #[test]
    fn events_and_looks_fit_together() {
        let mut progress = Progress::default();
        assert_eq!(
            output(&progress.event("stdout", &json!("lost\n"))),
            Vec::<String>::new(),
            "nobody knows what it adds to"
        );
        assert_eq!(output(&progress.look(&std("ü1\n", "", "ü1\n", false))), ["out:ü1"]);
        assert_eq!(output(&progress.event("stdout", &json!("2\nhal"))), ["out:2"]);
        assert_eq!(output(&progress.event("stderr", &json!("warn\n"))), ["err:warn"]);
        progress.out_of_step();
        assert!(progress.event("stdout", &json!("f\n")).is_empty());
        let whole = std("ü1\n2\nhalf\n3\n", "warn\nlate\n", "ü1\n2\nhalwarn\nf\n3\nlate\n", false);
        assert_eq!(output(&progress.look(&whole)), ["out:half", "out:3", "err:late"]);
        assert_eq!(output(&progress.event("stdout", &json!("4\n"))), ["out:4"]);
    }

    /// A look may fall into the middle of a line: the next event goes on there, and so does the next process.
    #[test]
    fn half_a_line_is_put_together() {
        let mut progress = Progress::default();
        assert_eq!(output(&progress.look(&std("a\nb", "w", "a\nbw", false))), ["out:a"]);
        let kept: Said = progress.kept();
        assert_eq!(output(&progress.event("stdout", &json!("c\n"))), ["out:bc"]);
        assert_eq!(output(&progress.event("stderr", &json!("x\ny"))), ["err:wx"]);
        assert_eq!(output(&progress.look(&std("a\nbc\n", "wx\nyz\n", "a\nbwc\nx\nyz\n", true))), ["err:yz"]);
        let mut other = Progress::from(kept);
        assert_eq!(output(&other.look(&std("a\nbc\n", "w", "a\nbwc\n", true))), ["out:b", "err:w", "out:c"]);
        let mut older = Progress::default();
        assert_eq!(output(&older.look(&std("", "", "a\nb", false))), ["out:a"]);
        assert_eq!(output(&older.event("stdout", &json!("c\n"))), ["out:bc"]);
        assert_eq!(output(&older.look(&std("", "", "a\nbc\nd", true))), ["out:d"]);
        assert_eq!(
            output(&older.look(&std("", "", "a\n", true))),
            Vec::<String>::new(),
            "an older answer says nothing new"
        );
    }

    #[test]
    fn nothing_is_said_twice_also_by_another_process() {
        let phase = |name: &str| json!({ "finished": "x", "exitCode": 0, "duration": 20, "commands": [{ "command": name, "exitCode": 0 }] });
        let both = job(
            json!({ "started": "x", "phases": { "prepare": phase("p"), "test": phase("t"), "deploy": { "commands": [{"command": "d"}] } } }),
        );
        let mut progress = Progress::default();
        let count = |news: &[News]| (news.iter().filter(|n| matches!(n, News::PhaseDone { .. })).count(), news.len());
        assert_eq!(count(&progress.look(&both)), (2, 5));
        assert_eq!(count(&progress.event("phase.done", &json!({ "phase": "test", "exitCode": 0 }))), (0, 0));
        let kept: Said = serde_json::from_value(serde_json::to_value(progress.kept()).unwrap()).unwrap();
        let mut other = Progress::from(kept);
        assert_eq!(count(&other.look(&both)), (0, 0));
        let done = other.event("command.done", &json!({ "exitCode": 3, "elapsed": 1500 }));
        let want =
            News::CommandDone { phase: None, command: "d".into(), plugin: String::new(), exit_code: 3, seconds: 1.5 };
        assert_eq!(done, [want]);
        assert_eq!(count(&other.event("phase.done", &json!({ "phase": "deploy", "exitCode": 3 }))), (1, 1));
    }
}
