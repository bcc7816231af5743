//! The scripts around `pip`: where it works, which `pip` it is, and the virtual environment.

use towpath_core::shell_quote;

use super::super::command::WHICH;
use super::super::steps::{FOLDER, PATHS};
use super::Want;

impl Want {
    /// The beginning of each script: where it works, the virtual environment in `$v`, the interpreter in `$y`.
    pub(super) fn prelude(&self) -> String {
        let find = "{ command -v python3 || command -v python; }";
        let python = self.interpreter.as_ref().map_or_else(|| format!("$({find})"), |p| shell_quote(p));
        let chdir = self.chdir.as_ref().map_or_else(|| "\"${TMPDIR:-/tmp}\"".to_owned(), |d| shell_quote(d));
        let env = self.virtualenv.clone().unwrap_or_default();
        let env = match &self.chdir {
            Some(d) if !env.is_empty() && !env.starts_with('/') => format!("{}/{env}", d.trim_end_matches('/')),
            _ => env,
        };
        format!(
            "{}{PATHS}{WHICH}\
             {FOLDER}\
             : >\"$tp_w/o\"; : >\"$tp_w/e\"\n\
             y={python}\nv={}\nk=\nif [ -z \"$v\" ] || [ -f \"$v/bin/activate\" ]; then k=1; fi\n\
             tp_go() {{ cd -- {chdir} 2>/dev/null || :; }}\n{TOOLS}",
            self.begin,
            shell_quote(&env),
        )
    }

    /// Finds `pip`: its words are those of `"$@"`, and told.
    pub(super) fn find(&self) -> String {
        let search = |names: &str, what: &str| {
            format!(
                "tp_x=\nfor tp_y in {names}; do if tp_x=$(command -v \"$tp_y\"); then break; fi; done\n\
                 [ -n \"$tp_x\" ] || {{ printf 'fail=none\\nnames=%s\\n\\n' {}; exit 0; }}\nset -- \"$tp_x\"\n",
                shell_quote(what)
            )
        };
        let mut s = match (&self.executable, self.virtualenv.is_some()) {
            (Some(e), _) if e.starts_with('/') => format!("set -- {}\n", shell_quote(e)),
            (Some(e), _) => search(&shell_quote(e), e),
            (None, true) => "set -- \"$v/bin/pip3\"\n[ -x \"$1\" ] || set -- \"$v/bin/pip\"\n\
                 [ -x \"$1\" ] || { printf 'fail=venv\\nvenv=%s\\n\\n' \"$v\"; exit 0; }\n"
                .to_owned(),
            (None, false) => format!(
                "if [ -n \"$y\" ] && \"$y\" -m pip.__main__ --version >/dev/null 2>&1; then set -- \"$y\" -m pip.__main__; else\n{}fi\n",
                search("pip3 pip", "pip3, pip")
            ),
        };
        // A relative path is looked for from where `pip` runs.
        s.push_str(
            "tp_go\nprintf 'pip=%s' \"$1\"\ntp_x=$1\nshift\nfor tp_y; do printf '\\037%s' \"$tp_y\"; done\nset -- \"$tp_x\" \"$@\"\necho\n\
             tp_x=$(which_of \"$1\") || { printf 'fail=start\\nwhy=%s\\n\\n' \"$tp_x\"; exit 0; }\n",
        );
        s
    }

    /// Makes the virtual environment if it is not there.
    pub(super) fn environment(&self) -> String {
        if self.virtualenv.is_none() {
            return String::new();
        }
        let (first, rest) = self.make.split_first().map_or(("virtualenv", &[][..]), |(f, r)| (f.as_str(), r));
        let first = shell_quote(first);
        let rest: String = rest.iter().map(|w| format!(" {}", shell_quote(w))).collect();
        let site = match (self.site, self.plain()) {
            (true, _) => "set -- \"$@\" --system-site-packages\n",
            (false, true) => "",
            (false, false) => {
                "tp_r \"$1\" --help\nif [ \"$tp_v\" -ne 0 ]; then printf 'fail=help\\nprogram=%s\\n' \"$1\"; tp_tell; fi\n\
                 if grep -q -e --no-site-packages \"$tp_w/o\"; then set -- \"$@\" --no-site-packages; fi\n"
            }
        };
        let python = match (self.plain(), &self.python) {
            (true, _) => String::new(),
            (false, Some(p)) => format!("set -- \"$@\" -p{}\n", shell_quote(p)),
            (false, None) => "set -- \"$@\" \"-p$y\"\n".to_owned(),
        };
        format!(
            "if [ -z \"$k\" ]; then\nset -- {first}{rest}\ncase $1 in */*) ;; *)\n\
             tp_x=$(command -v \"$1\") || {{ printf 'fail=program\\nprogram=%s\\npath=%s\\n\\n' \"$1\" \"$PATH\"; exit 0; }}\n\
             shift\nset -- \"$tp_x\" \"$@\" ;;\nesac\n\
             tp_x=$(which_of \"$1\") || {{ printf 'fail=help-start\\nwhy=%s\\n\\n' \"$tp_x\"; exit 0; }}\n\
             {site}{python}set -- \"$@\" \"$v\"\n( tp_go; tp_r \"$@\"; exit \"$tp_v\" )\ntp_v=$?\n\
             if [ \"$tp_v\" -ne 0 ]; then\nprintf 'fail=make\\ncmd=%s' \"$1\"\nshift\nfor tp_x; do printf '\\037%s' \"$tp_x\"; done\necho\ntp_tell\nfi\n\
             echo made=1\nmv \"$tp_w/o\" \"$tp_w/mo\"; mv \"$tp_w/e\" \"$tp_w/me\"\nfi\n"
        )
    }
}

/// `tp_r WORDS` runs a program; `tp_list FILE WORDS` keeps the list of packages; `tp_tell` says what was said, and ends.
const TOOLS: &str = r#"tp_r() {
"$@" >"$tp_w/o" 2>"$tp_w/e" </dev/null
tp_v=$?
}
tp_tell() {
for tp_x in mo me; do [ -e "$tp_w/$tp_x" ] || : >"$tp_w/$tp_x"; done
printf 'rc=%s\n' "$tp_v"
for tp_x in mo o me e; do printf '%s=%s\n' "$tp_x" "$(wc -c <"$tp_w/$tp_x")"; done
echo
cat "$tp_w/mo" "$tp_w/o" "$tp_w/me" "$tp_w/e"
exit 0
}
tp_list() {
tp_l=$1
shift
tp_r "$@" list --format=freeze
if [ "$tp_v" -ne 0 ]; then
tp_r "$@" freeze
if [ "$tp_v" -ne 0 ]; then echo fail=list; rm -f "$tp_w/mo" "$tp_w/me"; tp_tell; fi
echo freeze=1
fi
cp "$tp_w/o" "$tp_w/$tp_l"
}
"#;
