/// A process of this machine, told apart from a later one with the same id. Linux only: elsewhere none is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalProcess {
    /// First, so that the oldest comes first.
    started: u64,
    pid: u32,
    group: u32,
}

impl LocalProcess {
    /// The process with this id, as this process's PID namespace counts them. `None`: there is none, or only its remains.
    ///
    /// Source: proc(5), `/proc/PID/stat`.
    pub fn of(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name may hold blanks and brackets; the last bracket ends it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self { started: fields.get(19)?.parse().ok()?, pid, group: fields.get(2)?.parse().ok()? })
    }

    /// Its id.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Its start time in clock ticks since boot.
    pub fn started(self) -> u64 {
        self.started
    }

    /// The process group that it was found in.
    pub fn group(self) -> u32 {
        self.group
    }

    /// Whether it leads its group.
    pub fn leads(self) -> bool {
        self.group == self.pid
    }

    /// Whether it runs still.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// What runs there, for people: the program's name only, since arguments may hold anything.
    pub fn name(self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        format!("{} (process {})", name.trim(), self.pid)
    }
}
