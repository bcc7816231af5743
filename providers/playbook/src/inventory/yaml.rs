//! The YAML form: `all: {hosts: {...}, vars: {...}, children: {...}}`.

use std::path::Path;

use towpath_core::{Json, Result, Vars};

use super::draft::Draft;
use super::range::{expand, port};
use crate::load::yaml::{Kind, Node};

pub(super) fn read(root: &Node, path: &Path, out: &mut Draft) -> Result<()> {
    if root.is_null() {
        return Ok(());
    }
    if let Some(plugin) = root.get("plugin") {
        let name = plugin.text("`plugin`").unwrap_or_default();
        return Err(plugin.wrong(format!(
            "the inventory plugin `{name}` is not supported: give a script that prints its hosts as JSON, or a file"
        )));
    }
    for (name, node) in root.pairs("an inventory")? {
        group(name, node, path, out)?;
    }
    Ok(())
}

fn group(name: &str, node: &Node, path: &Path, out: &mut Draft) -> Result<()> {
    out.group(name);
    for (key, value) in node.pairs("a group")? {
        match key.as_str() {
            "hosts" => {
                if let Kind::Scalar(Json::String(host)) = &value.kind {
                    hosts(name, host, &Vars::new(), out).map_err(|e| value.wrong(e))?;
                    continue;
                }
                for (pattern, vars) in value.pairs("`hosts`")? {
                    let mut own = Vars::new();
                    for (name, v) in vars.pairs("a host")? {
                        own.insert(name.clone(), v.json());
                    }
                    hosts(name, pattern, &own, out).map_err(|e| vars.wrong(e))?;
                }
            }
            "vars" => {
                for (var, v) in value.pairs("`vars`")? {
                    out.var(name, var, v.json());
                }
            }
            "children" => {
                if let Kind::Scalar(Json::String(child)) = &value.kind {
                    out.child(name, child).map_err(|e| value.wrong(e))?;
                    continue;
                }
                for (child, inner) in value.pairs("`children`")? {
                    group(child, inner, path, out)?;
                    out.child(name, child).map_err(|e| value.wrong(e))?;
                }
            }
            other => {
                let message = format!("a group has `hosts`, `vars` and `children`, not `{other}`");
                out.odd(message).map_err(|e| value.wrong(e))?;
            }
        }
    }
    Ok(())
}

fn hosts(group: &str, pattern: &str, vars: &Vars, out: &mut Draft) -> std::result::Result<(), String> {
    let (pattern, port) = port(pattern)?;
    let is_address = pattern.parse::<std::net::Ipv6Addr>().is_ok();
    for name in if is_address { vec![pattern.to_owned()] } else { expand(pattern)? } {
        let host = out.host(&name);
        if let Some(port) = port {
            host.vars.insert("ansible_port".into(), port.into());
        }
        host.vars.extend(vars.clone());
        out.member(group, &name);
    }
    Ok(())
}
