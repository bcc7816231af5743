use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use towpath_core::{Event, EventKind, Listener, StepState, TaskStatus};

use super::progress::{clean, line, place, step_state};

/// Most steps that have a line of their own while they run.
const LINES: usize = 12;
/// In a larger pipeline, a step that ends well leaves no line behind.
const MANY: usize = 60;
const TICK: Duration = Duration::from_millis(100);

/// Shows on a terminal what runs right now: a line for each step under way, with its time and what it does, and above
/// them what has ended.
pub struct LiveProgress {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    all: MultiProgress,
    /// The last line: how many steps are over, under way and hidden.
    sum: Option<ProgressBar>,
    bars: HashMap<String, ProgressBar>,
    /// Steps under way without a line.
    hidden: Vec<String>,
    title: String,
    steps: usize,
    over: usize,
    /// Width of the column of names.
    names: usize,
    colours: bool,
    closed: bool,
}

impl LiveProgress {
    /// Draws on standard error. `None` where that is no terminal that can move its cursor: use [`Progress`](super::Progress)
    /// there. No colours if `NO_COLOR` is set.
    pub fn stderr() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        if dumb || !std::io::stderr().is_terminal() {
            return None;
        }
        let state = State {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12)),
            sum: None,
            bars: HashMap::new(),
            hidden: Vec::new(),
            title: String::new(),
            steps: 0,
            over: 0,
            names: 0,
            colours: set("NO_COLOR").is_none(),
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Some(Self { shared, ticker: Mutex::new(None) })
    }

    /// Prints a line above those that move.
    pub fn say(&self, text: &str) {
        self.shared.lock().print(text);
    }

    /// Takes the moving lines away. What was printed above them stays.
    pub fn close(&self) {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            state.bars.drain().for_each(|(_, bar)| bar.finish_and_clear());
            if let Some(sum) = state.sum.take() {
                sum.finish_and_clear();
            }
            // A terminal that has gone away is no reason to fail.
            let _ = state.all.clear();
        }
        self.shared.changed.notify_all();
        let ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticker) = ticker {
            let _ = ticker.join();
        }
    }

    fn start(&self) {
        let mut ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        if ticker.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without it the clocks stand still between events; no reason to stop a run.
            *ticker = std::thread::Builder::new().name("progress".into()).spawn(move || shared.tick()).ok();
        }
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for LiveProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveProgress")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut state = self.lock();
        while !state.closed {
            state.bars.values().chain(&state.sum).for_each(ProgressBar::tick);
            state = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Listener for LiveProgress {
    fn on_event(&self, event: &Event) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        match (&event.kind, &event.step) {
            (EventKind::RunStarted { pipeline, environment, graph, .. }, _) => {
                state.steps = graph.len();
                state.names = graph.iter().map(|(n, _)| n.chars().count()).max().unwrap_or_default().min(32);
                state.title = clean(&format!("{pipeline} in {environment}"));
                if let Some(text) = line(event) {
                    state.print(&text);
                }
                let style = ProgressStyle::with_template("  {wide_msg} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                let sum = ProgressBar::new_spinner().with_style(style);
                state.sum = Some(state.all.add(sum));
                drop(state);
                self.start();
                return;
            }
            (EventKind::RunFinished { .. }, _) => {
                drop(state);
                self.close();
                return;
            }
            (EventKind::StepStarted { attempt }, Some(step)) => state.begin(step, *attempt),
            (EventKind::StepFinished { state: how, seconds, attempts, error }, Some(step)) => {
                state.end(step);
                state.over += 1;
                let well = matches!(how, StepState::Done | StepState::Unchanged | StepState::Skipped);
                if state.steps <= MANY || !well {
                    let text = state.ended(step, *how, *seconds, *attempts);
                    let why = error
                        .as_ref()
                        .map_or_else(String::new, |e| format!("\n    {}", e.to_string().replace('\n', "\n    ")));
                    state.print(&format!("{text}{why}"));
                }
            }
            (EventKind::StepRetry { attempt, wait_s, error }, Some(step)) => {
                let text = format!("{step}: attempt {attempt} failed, again in {wait_s:.1} s: {}", error.message);
                state.print(&text);
                state.tell(step, &format!("waits {wait_s:.1} s before the next attempt"));
            }
            // Many and small: the step's line shows the newest.
            (
                EventKind::TaskResult {
                    item: None,
                    task,
                    status: TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Skipped,
                    ..
                },
                Some(step),
            ) => {
                let host = event.host.as_deref().unwrap_or_default();
                state.tell(step, &format!("{host}: {task}"));
            }
            (EventKind::Progress { message, done, total }, Some(step)) => {
                let part = match (done, total) {
                    (Some(done), Some(total)) => format!(" ({done} of {total})"),
                    _ => String::new(),
                };
                state.tell(step, &format!("{message}{part}"));
            }
            (EventKind::Output { line, .. }, Some(step)) => state.tell(step, line),
            (EventKind::Rollout { phase, version, .. }, Some(step)) => {
                state.tell(step, format!("{} {phase} {version}", event.host.as_deref().unwrap_or_default()).trim());
                if event.host.is_none() {
                    state.show(event);
                }
            }
            _ => state.show(event),
        }
        state.count();
    }
}

impl State {
    fn print(&self, text: &str) {
        let _ = self.all.println(self.painted(&clean(text)));
    }

    /// What the plain display says, too.
    fn show(&self, event: &Event) {
        if let Some(text) = line(event) {
            self.print(&format!("{}{text}", place(event)));
        }
    }

    /// Bad news in red, if colours are wanted. Text of hosts holds no escape sequences any more.
    fn painted(&self, text: &str) -> String {
        let colour = if text.contains("FAILED") || text.contains("ROLLED BACK") {
            "31"
        } else if text.contains("warning: ") || text.contains("failed") || text.contains("asks: ") {
            "33"
        } else {
            return text.to_owned();
        };
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn ended(&self, step: &str, how: StepState, seconds: f64, attempts: u32) -> String {
        let sign = match how {
            StepState::Done => "+",
            StepState::Unchanged => "=",
            StepState::Skipped => "-",
            StepState::Failed | StepState::Ignored | StepState::RolledBack => "!",
        };
        let again = if attempts > 1 { format!("  {attempts} attempts") } else { String::new() };
        let time = if attempts == 0 { String::new() } else { format!("{seconds:.1} s") };
        format!("{sign} {step:<w$}  {:<15} {time:>9}{again}", step_state(how), w = self.names).trim_end().to_owned()
    }

    fn begin(&mut self, step: &str, attempt: u32) {
        if let Some(bar) = self.bars.get(step) {
            bar.set_message(format!("attempt {attempt}"));
            return;
        }
        if self.bars.len() >= LINES {
            self.hidden.push(step.to_owned());
            return;
        }
        self.add(step, if attempt > 1 { format!("attempt {attempt}") } else { String::new() });
    }

    fn add(&mut self, step: &str, message: String) {
        let template = if self.colours {
            "{spinner:.cyan} {prefix}  {wide_msg:.dim} {elapsed:>6}"
        } else {
            "{spinner} {prefix}  {wide_msg} {elapsed:>6}"
        };
        let style = ProgressStyle::with_template(template)
            .map(|s| s.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "))
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let mut name: String = step.chars().take(32).collect();
        name = clean(&format!("{name:<w$}", w = self.names));
        let bar = ProgressBar::new_spinner().with_style(style).with_prefix(name).with_message(message);
        let bar = match &self.sum {
            Some(sum) => self.all.insert_before(sum, bar),
            None => self.all.add(bar),
        };
        bar.tick();
        self.bars.insert(step.to_owned(), bar);
    }

    fn end(&mut self, step: &str) {
        self.hidden.retain(|s| s != step);
        if let Some(bar) = self.bars.remove(step) {
            bar.finish_and_clear();
            self.all.remove(&bar);
            if !self.hidden.is_empty() {
                let next = self.hidden.remove(0);
                self.add(&next, String::new());
            }
        }
    }

    fn tell(&self, step: &str, text: &str) {
        if let Some(bar) = self.bars.get(step) {
            bar.set_message(clean(&text.replace('\n', " ")));
        }
    }

    fn count(&self) {
        let Some(sum) = &self.sum else { return };
        let under_way = self.bars.len() + self.hidden.len();
        let mut text = format!(
            "{}: {} of {} steps over, {under_way} under way",
            self.title,
            self.over.min(self.steps),
            self.steps
        );
        if !self.hidden.is_empty() {
            text.push_str(&format!(" ({} not shown)", self.hidden.len()));
        }
        sum.set_message(text);
    }
}
