//! The YAML form: `all: {hosts: {...}, vars: {...}, children: {...}}`.

use std::path::Path;

use towpath_core::Result;

use super::{Draft, expand};
use crate::load::yaml::{self, Node};

pub(super) fn read(path: &Path, out: &mut Draft) -> Result<()> {
    let root = yaml::read(path)?;
    for (name, node) in root.pairs("an inventory")? {
        group(name, node, out)?;
    }
    Ok(())
}

fn group(name: &str, node: &Node, out: &mut Draft) -> Result<()> {
    out.group(name);
    for (key, value) in node.pairs("a group")? {
        match key.as_str() {
            "hosts" => {
                for (pattern, vars) in value.pairs("`hosts`")? {
                    let mut own = towpath_core::Vars::new();
                    for (name, v) in vars.pairs("a host")? {
                        own.insert(name.clone(), v.json());
                    }
                    for host in expand(pattern).map_err(|e| vars.wrong(e))? {
                        out.host(&host).vars.extend(own.clone());
                        out.member(name, &host);
                    }
                }
            }
            "vars" => {
                for (var, v) in value.pairs("`vars`")? {
                    if let Some(vars) = out.vars(name) {
                        vars.insert(var.clone(), v.json());
                    }
                }
            }
            "children" => {
                for (child, inner) in value.pairs("`children`")? {
                    out.child(name, child);
                    group(child, inner, out)?;
                }
            }
            other => {
                return Err(value.wrong(format!("a group has `hosts`, `vars` and `children`, not `{other}`")));
            }
        }
    }
    Ok(())
}
