//! Requests that the target makes, by `curl` or, for what it can do, `wget`.

use std::collections::BTreeMap;

use towpath_core::{Json, shell_quote};

use super::Call;
use super::steps::FOLDER;

/// What both modules of requests share.
#[derive(Default)]
pub(super) struct Request {
    pub(super) url: String,
    pub(super) method: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Vec<u8>>,
    /// A file of the target that is sent instead.
    pub(super) source: Option<String>,
    agent: String,
    timeout: i64,
    certificates: bool,
    proxy: bool,
    user: Option<(String, String)>,
    ca: Option<String>,
    client: Option<String>,
    key: Option<String>,
    socket: Option<String>,
    ciphers: Option<String>,
    netrc: bool,
    pub(super) redirects: Redirects,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Redirects {
    #[default]
    All,
    None,
}

impl Request {
    pub(super) fn of(call: &Call) -> Result<Self, String> {
        let yes = |k: &str, default: bool| Ok::<_, String>(call.yes(k)?.unwrap_or(default));
        let mut headers = BTreeMap::new();
        if let Some(Json::Object(map)) = call.args.get("headers") {
            for (k, v) in map {
                headers.insert(k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            }
        }
        let user = call.text("url_username").map(|u| (u, call.text("url_password").unwrap_or_default()));
        if call.list("unredirected_headers").is_some_and(|h| !h.is_empty()) {
            return Err(format!("`unredirected_headers` of `{}` is not supported yet", call.action));
        }
        for key in ["use_gssapi"] {
            if call.yes(key)? == Some(true) {
                return Err(format!("`{key}` of `{}` is not supported; use `headers` or `url_username`", call.action));
            }
        }
        Ok(Self {
            url: call.need("url")?,
            method: call.text("method").unwrap_or_else(|| "GET".into()).to_uppercase(),
            headers,
            body: None,
            source: None,
            agent: call.text("http_agent").unwrap_or_else(|| "ansible-httpget".into()),
            timeout: call.args.get("timeout").and_then(Json::as_i64).unwrap_or(10),
            certificates: yes("validate_certs", true)?,
            proxy: yes("use_proxy", true)?,
            user,
            ca: call.text("ca_path"),
            client: call.text("client_cert"),
            key: call.text("client_key"),
            socket: call.text("unix_socket"),
            ciphers: call.list("ciphers").map(|c| c.join(":")),
            netrc: yes("use_netrc", true)?,
            redirects: Redirects::All,
        })
    }

    /// A plain request for what is at an address.
    pub(super) fn plain(url: String, certificates: bool) -> Self {
        Self {
            url,
            method: "GET".into(),
            agent: "ansible-httpget".into(),
            timeout: 10,
            certificates,
            proxy: true,
            netrc: true,
            ..Self::default()
        }
    }

    /// Fetches into `"$tp_w/body"`, the head of each answer into `"$tp_w/head"`, and leaves the tool's status in `$tp_v` and
    /// its error in `"$tp_w/error"`. Settings go through a file that only this user reads: passwords are in no argument.
    pub(super) fn script(&self) -> String {
        let mut config = String::new();
        let mut set = |key: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
            config.push_str(&format!("{key} = \"{value}\"\n"));
        };
        set("url", &self.url);
        if self.method == "HEAD" {
            config.push_str("head\n");
        } else {
            set("request", &self.method);
        }
        let mut set = |key: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
            config.push_str(&format!("{key} = \"{value}\"\n"));
        };
        set("user-agent", &self.agent);
        if !self.headers.keys().any(|k| k.eq_ignore_ascii_case("accept")) {
            set("header", "Accept:");
        }
        if !self.headers.keys().any(|k| k.eq_ignore_ascii_case("accept-encoding")) {
            set("header", "Accept-Encoding: identity");
        }
        if !self.headers.keys().any(|k| k.eq_ignore_ascii_case("connection")) {
            set("header", "Connection: close");
        }
        for (k, v) in &self.headers {
            if v.is_empty() { set("header", &format!("{k};")) } else { set("header", &format!("{k}: {v}")) }
        }
        set("max-time", &self.timeout.to_string());
        for (key, value) in [
            ("cacert", &self.ca),
            ("cert", &self.client),
            ("key", &self.key),
            ("unix-socket", &self.socket),
            ("ciphers", &self.ciphers),
        ] {
            if let Some(value) = value {
                set(key, value);
            }
        }
        if let Some((user, password)) = &self.user {
            set("user", &format!("{user}:{password}"));
        }
        if !self.proxy {
            set("noproxy", "*");
        }
        for (on, flag) in [
            (!self.certificates, "insecure"),
            (self.netrc && self.user.is_none(), "netrc-optional"),
            (self.redirects == Redirects::All, "location"),
        ] {
            if on {
                config.push_str(&format!("{flag}\n"));
            }
        }
        let print = match (&self.body, &self.source) {
            (Some(bytes), _) => Some(super::content::print(bytes)),
            (None, Some(path)) => Some(format!("cat -- {}", shell_quote(path))),
            (None, None) => None,
        };
        let body = match &print {
            Some(print) => {
                config.push_str("data-binary = \"@-\"\n");
                if !self.headers.keys().any(|k| k.eq_ignore_ascii_case("content-type")) {
                    config.push_str("header = \"Content-Type:\"\n");
                }
                format!("{print} | ")
            }
            None => String::new(),
        };
        let mut wget = vec!["wget -q -S -O \"$tp_w/body\"".to_owned(), format!("-T {}", self.timeout)];
        wget.extend(self.headers.iter().map(|(k, v)| format!("--header {}", shell_quote(&format!("{k}: {v}")))));
        wget.push(format!("-U {}", shell_quote(&self.agent)));
        wget.push(shell_quote(&self.url));
        // `wget` of busybox can only get, and shows passwords in its arguments: it is used for neither.
        let simple = self.method == "GET" && print.is_none() && self.user.is_none() && self.certificates;
        let other = match simple {
            true => format!(
                "{} >/dev/null 2>\"$tp_w/error\"; tp_v=$?\nsed -n 's/^ *\\(HTTP\\/.*\\)/\\1/p; s/^  *\\([A-Za-z-]*: .*\\)/\\1/p' \"$tp_w/error\" >\"$tp_w/head\"\n\
                 if grep -q '^HTTP[^ ]* 304' \"$tp_w/head\"; then tp_v=0; fi\n",
                wget.join(" ")
            ),
            false => {
                "echo 'curl is not installed, and wget can not make this request' >\"$tp_w/error\"; tp_v=2\n".to_owned()
            }
        };
        format!(
            "{FOLDER}\
             : >\"$tp_w/body\"; : >\"$tp_w/head\"\nset +e\n\
             if command -v curl >/dev/null 2>&1; then\n{} >\"$tp_w/config\"\n\
             {body}curl -sS -q -K \"$tp_w/config\" -o \"$tp_w/body\" -D \"$tp_w/head\" 2>\"$tp_w/error\"; tp_v=$?\n\
             else\n{other}fi\nset -e\n",
            super::content::print(config.as_bytes())
        )
    }
}

/// The head of the last answer.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) status: i64,
    pub(super) reason: String,
    /// Names in lower case, in the order of the answer.
    pub(super) fields: Vec<(String, String)>,
    /// How many answers pointed elsewhere.
    pub(super) redirects: usize,
    /// Where the last of them pointed.
    pub(super) location: Option<String>,
}

impl Head {
    pub(super) fn read(text: &str) -> Self {
        let mut head = Self::default();
        for line in text.lines() {
            let line = line.trim_end_matches('\r');
            if line.starts_with("HTTP/") {
                let location = head.get("location").map(str::to_owned);
                let redirects = head.redirects + usize::from(location.is_some());
                let mut words = line.splitn(3, ' ');
                let status = words.nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
                head = Self {
                    status,
                    reason: words.next().unwrap_or_default().to_owned(),
                    location: location.or(head.location),
                    redirects,
                    fields: Vec::new(),
                };
            } else if let Some((k, v)) = line.split_once(':') {
                head.fields.push((k.trim().to_lowercase(), v.trim_start().to_owned()));
            }
        }
        head
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// What `curl` could not do, in the words of Python's library.
pub(super) fn failure(status: i64, said: &str) -> String {
    match status {
        6 => "<urlopen error [Errno -2] Name or service not known>".into(),
        7 => "<urlopen error [Errno 111] Connection refused>".into(),
        28 => "timed out".into(),
        _ => said.trim().trim_start_matches("curl: ").to_owned(),
    }
}
