//! What a plan shows of a file before and after.

use serde_json::{Map, json};
use towpath_core::{Become, Connection, Context, Exec, Json, Result, Source};

use super::{Found, Upload, Wanted};

/// Texts up to this size are shown, those of both sides.
const TEXT: u64 = 16 << 10;

/// The states before and after a change of one path.
pub(crate) async fn states(
    upload: &Upload,
    wanted: &Wanted,
    found: &Found,
    cx: &Context,
    connection: &dyn Connection,
) -> Result<(Option<Json>, Option<Json>)> {
    let config = &upload.config;
    let octal = |mode: u32| json!(format!("{mode:04o}"));
    let mut after = Map::new();
    let mut before = match found {
        Found::Nothing | Found::Hidden => None,
        Found::Other(what) => Some(Map::from_iter([("state".to_owned(), json!(what))])),
        Found::File(has, _) | Found::Folder(has) => {
            let state = if matches!(found, Found::Folder(_)) { "folder" } else { "file" };
            let mut map = Map::from_iter([("state".to_owned(), json!(state))]);
            map.insert("mode".into(), octal(has.mode));
            // Only what the upload has a say in.
            if config.owner.is_some() {
                map.insert("owner".into(), json!(has.owner));
            }
            if config.group.is_some() {
                map.insert("group".into(), json!(has.group));
            }
            Some(map)
        }
    };
    let state = if wanted.file.is_some() { "file" } else { "folder" };
    after.insert("state".into(), json!(state));
    let mode = wanted.mode.unwrap_or(match found {
        Found::File(has, _) | Found::Folder(has) => has.mode,
        _ => wanted.new_mode,
    });
    after.insert("mode".into(), octal(mode));
    for (key, value) in [("owner", &config.owner), ("group", &config.group)] {
        if let Some(value) = value {
            after.insert(key.into(), json!(value));
        }
    }
    if let Some(file) = &wanted.file {
        // The digest of something short gives it away.
        let told = !file.hidden;
        if told {
            after.insert("sha256".into(), json!(file.digest));
        }
        let old = match found {
            Found::File(has, digest) => {
                if told {
                    before.get_or_insert_default().insert("sha256".into(), json!(digest));
                }
                (*digest != file.digest).then_some(has.size)
            }
            _ => None,
        };
        let new = !matches!(found, Found::File(_, digest) if *digest == file.digest);
        if new && !file.hidden && file.size <= TEXT {
            if let Some(text) = ours(&file.source).await {
                after.insert("text".into(), json!(text));
            }
        }
        if let Some(size) = old.filter(|_| !file.hidden)
            && size <= TEXT
            && let Some(text) = theirs(cx, connection, &wanted.path, upload.to.clone()).await?
        {
            before.get_or_insert_default().insert("text".into(), json!(text));
        }
    }
    let masked = |map: Map<String, Json>| {
        let mut value = Json::Object(map);
        cx.masker().mask_json(&mut value);
        value
    };
    Ok((before.map(masked), Some(masked(after))))
}

async fn ours(source: &Source) -> Option<String> {
    let bytes = match source {
        Source::Bytes(bytes) => bytes.to_vec(),
        Source::File(path) => tokio::fs::read(path).await.ok()?,
    };
    String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))
}

async fn theirs(cx: &Context, connection: &dyn Connection, path: &str, to: Option<Become>) -> Result<Option<String>> {
    let mut exec = Exec::argv(["cat", path]);
    exec.r#become = to;
    let out = connection.exec(cx, &exec).await?;
    // It may be gone again by now; then there is nothing to show.
    let text = out.status.is_success().then(|| String::from_utf8(out.stdout.to_vec()).ok()).flatten();
    Ok(text.filter(|t| !t.contains('\0')))
}
