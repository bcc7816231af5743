use crate::listen::{LiveProgress, Progress};
use crate::{Event, Listener};

/// How a run's progress is shown: moving lines on a terminal, else one line for each thing worth one.
#[derive(Debug)]
pub(super) enum Display {
    Live(LiveProgress),
    Plain(Progress),
}

impl Display {
    pub(super) fn new(plain: bool) -> Self {
        match LiveProgress::stderr().filter(|_| !plain) {
            Some(live) => Self::Live(live),
            None => Self::Plain(Progress::stderr()),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Live(live) => live.say(text),
            Self::Plain(_) => super::say(text),
        }
    }

    pub(super) fn close(&self) {
        if let Self::Live(live) = self {
            live.close();
        }
    }
}

impl Listener for Display {
    fn on_event(&self, event: &Event) {
        match self {
            Self::Live(live) => live.on_event(event),
            Self::Plain(plain) => plain.on_event(event),
        }
    }
}
