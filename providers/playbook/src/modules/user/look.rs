//! What is there: scripts that only read.

use towpath_core::shell_quote;

use super::Want;

/// The user: nothing is printed if there is none.
pub(super) fn user(want: &Want) -> String {
    let n = shell_quote(&want.name);
    let pattern = shell_quote(&format!("^{}:", regex::escape(&want.name)));
    let hash = if want.password.is_some() { "echo \"hash=$tp_p\"; " } else { "" };
    let mut script = format!(
        "if command -v getent >/dev/null; then l=$(getent passwd {n} 2>/dev/null); else l=$(grep {pattern} /etc/passwd); fi\nif [ -n \"$l\" ]; then\n\
         IFS=: read -r _ _ u g c h s <<TP_END\n$l\nTP_END\n\
         echo \"uid=$u\"; echo \"gid=$g\"; echo \"comment=$c\"; echo \"home=$h\"; echo \"shell=$s\"\n\
         [ -d \"$h\" ] && echo at_home=1\n\
         echo \"id=$(id {n} 2>/dev/null)\"\n\
         l=$(getent shadow {n} 2>/dev/null || grep {pattern} /etc/shadow 2>/dev/null)\n\
         IFS=: read -r _ tp_p _ a b w _ e _ <<TP_END\n$l\nTP_END\n\
         echo \"min=$a\"; echo \"max=$b\"; echo \"warn=$w\"; echo \"expires=$e\"\n\
         case $tp_p in !*) echo locked=1;; esac; {hash}:\n"
    );
    if let Some(key) = &want.key {
        let file = shell_quote(&key.file);
        script.push_str(&format!(
            "k={file}; case $k in /*) ;; *) k=${{h%/}}/$k;; esac\n\
             if [ -e \"$k\" ]; then echo has_key=1; echo \"fingerprint=$(ssh-keygen -l -f \"$k\" 2>/dev/null)\"\n\
             [ -r \"$k.pub\" ] && echo \"public=$(cat \"$k.pub\")\"; fi\n"
        ));
    }
    script + "fi\n"
}

/// What else counts: groups by name and id, and which programs there are.
pub(super) fn around(want: &Want) -> String {
    let groups: Vec<String> = std::iter::once(&want.name)
        .chain(&want.group)
        .chain(want.groups.iter().flatten())
        .map(|g| shell_quote(g))
        .collect();
    let parent = match want.home.as_deref().and_then(|h| h.rsplit_once('/')) {
        Some((parent, _)) if !parent.is_empty() => {
            format!("[ -d {} ] || echo no_parent=1\n", shell_quote(parent))
        }
        _ => String::new(),
    };
    // `home` may move to where something is already.
    let there =
        want.home.as_ref().map(|h| format!("[ -d {} ] && echo at_new_home=1\n", shell_quote(h))).unwrap_or_default();
    format!(
        "if command -v getent >/dev/null; then l=$(getent group {}); else l=$(cat /etc/group); fi\n\
         k=; while IFS=: read -r a b c d; do k=\"$k$a:$c;\"; done <<TP_END\n$l\nTP_END\n\
         echo \"known=$k\"\n{parent}{there}echo \"path=$PATH\"\n\
         for t in useradd userdel usermod lgroupmod luserdel; do command -v $t >/dev/null && echo $t=1; done\n",
        groups.join(" ")
    )
}
