//! What is different each time, made equal.

/// Times, job ids and temporary paths replaced by fixed words.
pub(crate) fn normal(text: &str, dir: &str, cases: &str) -> String {
    let text = text.replace(dir, "DIR").replace(cases, "CASES");
    sorted_hosts(text.split_inclusive('\n').map(line).collect())
}

/// Ansible lists the hosts of a play in no order of its own: lines behind `hosts (N):` are sorted.
fn sorted_hosts(lines: Vec<String>) -> String {
    let mut out = Vec::new();
    let mut hosts = Vec::new();
    let mut inside = false;
    for line in lines {
        if inside && line.starts_with("      ") && !line.trim().ends_with(':') {
            hosts.push(line);
            continue;
        }
        hosts.sort();
        out.append(&mut hosts);
        inside = line.trim_start().starts_with("hosts (");
        out.push(line);
    }
    hosts.sort();
    out.append(&mut hosts);
    out.concat()
}

fn line(line: &str) -> String {
    let mut out = line.to_owned();
    for (key, word) in [
        ("\"delta\": \"", "DELTA"),
        ("\"start\": \"", "TIME"),
        ("\"end\": \"", "TIME"),
        ("\"src\": \"/", "SRC"),
        ("\"ansible_job_id\": \"", "JOB"),
        ("\"results_file\": \"", "FILE"),
    ] {
        out = between(&out, key, "\"", word);
    }
    out = between(&out, "jid=", " \n\x1b", "JOB");
    // Ansible explains where an error is in a text of its own; here its place is named on standard error.
    if let Some(at) = out.find("\\n\\nThe error appears to be in") {
        let end = out[at..].find('"').map_or(out.len(), |e| at + e);
        out.replace_range(at..end, "");
    }
    // The copy of a rendered template on the controller.
    if let Some(at) = out.find("after: /").filter(|_| out.ends_with("t.j2\n") || out.contains("t.j2\x1b")) {
        let end = out[at..].find("t.j2").map_or(out.len(), |e| at + e);
        out.replace_range(at + 7..end, "TEMPORARY/");
    }
    out
}

/// Replaces what stands between `key` and one of `ends`.
fn between(text: &str, key: &str, ends: &str, word: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        let (head, tail) = rest.split_at(at + key.len());
        let end = tail.find(|c| ends.contains(c)).unwrap_or(tail.len());
        out.push_str(head);
        out.push_str(word);
        rest = &tail[end..];
    }
    out + rest
}
