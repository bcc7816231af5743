//! Collects files of hosts into a sink: every line at least once, lines of earlier runs not again.

use serde::{Deserialize, Serialize};

use crate::pipeline::LogFile;
use crate::{Context, Exec, Host, LogRecord, LogSink, Result, Severity, Targets, Timestamp, shell_quote};

const NAMESPACE: &str = "ship_logs";
/// How much of a file is read at once, in bytes.
const CHUNK_BYTES: u64 = 4 << 20;

/// How far a file was shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Inode: another one means that the file was rotated.
    inode: u64,
    /// Bytes that the sink has accepted.
    offset: u64,
}

pub(crate) async fn ship(
    cx: &Context,
    sink: &dyn LogSink,
    files: &[LogFile],
    records: &[LogRecord],
    targets: &Targets,
) -> Result<u64> {
    let mut shipped = 0;
    if !records.is_empty() {
        let intent = serde_json::json!({ "records": records.len() });
        cx.effect_idempotent("records", intent, |cx| async move { sink.append(&cx, records).await }).await?;
        shipped += records.len() as u64;
    }
    for host in &targets.inventory.hosts {
        for file in files {
            let cx = cx.for_host(&host.name);
            // An interrupted one goes on after the last line that the sink has accepted.
            let key = format!("ship/{}/{}", host.name, file.path);
            let intent = serde_json::json!({ "host": host.name, "file": file.path });
            let ship = |cx: Context| async move { ship_file(&cx, sink, file, host, targets).await };
            shipped += cx
                .effect_idempotent(&key, intent, ship)
                .await
                .map_err(|e| e.with_missing("host", &host.name).with_missing("file", &file.path))?;
        }
    }
    sink.flush(cx).await?;
    Ok(shipped)
}

async fn ship_file(cx: &Context, sink: &dyn LogSink, file: &LogFile, host: &Host, targets: &Targets) -> Result<u64> {
    let path = targets.effective(host).fill(&file.path)?;
    let key = format!("{}/{}/{path}", cx.environment(), host.name);
    let mut position = load(cx, &key).await?;
    let connection = targets.connector.connect(cx, host).await?;
    let mut shipped = 0;
    loop {
        let command = Exec::script(format!(
            "f={}\n[ -e \"$f\" ] || exit 0\nstat -c '%i %s' -- \"$f\" || exit 1\n\
             i=$(stat -c %i -- \"$f\"); o={}; [ \"$i\" = {} ] || o=0\n\
             [ \"$(stat -c %s -- \"$f\")\" -ge \"$o\" ] || o=0\necho \"$o\"\n\
             tail -c +$((o + 1)) -- \"$f\" | head -c {CHUNK_BYTES}\n",
            shell_quote(&path),
            position.offset,
            position.inode,
        ));
        let out = connection.exec(cx, &command).await?.success("core", "ship logs", &host.name, &command)?;
        let Some((inode, from, body)) = parse(&out.stdout) else { return Ok(shipped) };
        // A last line without its end is left for the next time.
        let whole = body.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let whole = if whole == 0 && body.len() as u64 >= CHUNK_BYTES { body.len() } else { whole };
        let text = String::from_utf8_lossy(body.get(..whole).unwrap_or_default()).into_owned();
        let source = if file.source.is_empty() { path.clone() } else { file.source.clone() };
        let records: Vec<LogRecord> = text
            .lines()
            .map(|line| LogRecord {
                at: Timestamp::now(),
                severity: Severity::Info,
                host: Some(host.name.clone()),
                source: source.clone(),
                message: cx.masker().mask(line).into_owned(),
                fields: Default::default(),
            })
            .collect();
        if records.is_empty() {
            return Ok(shipped);
        }
        sink.append(cx, &records).await?;
        shipped += records.len() as u64;
        // After the sink has accepted them: a crash in between ships these lines twice, never not at all.
        position = Position { inode, offset: from + whole as u64 };
        if let Some(store) = cx.store() {
            let value = serde_json::to_value(&position).unwrap_or_default();
            store.put_document(NAMESPACE, &key, Some(&value)).await?;
        }
        if (whole as u64) < CHUNK_BYTES / 2 {
            return Ok(shipped);
        }
    }
}

async fn load(cx: &Context, key: &str) -> Result<Position> {
    let Some(store) = cx.store() else { return Ok(Position::default()) };
    let found = store.documents(NAMESPACE).await?.into_iter().find(|(k, _)| k == key);
    Ok(found.and_then(|(_, v)| serde_json::from_value(v).ok()).unwrap_or_default())
}

/// Reads `inode size\noffset\nbytes`. `None`: the file is not there.
fn parse(out: &[u8]) -> Option<(u64, u64, &[u8])> {
    let first = out.iter().position(|b| *b == b'\n')?;
    let inode = std::str::from_utf8(out.get(..first)?).ok()?.split(' ').next()?.parse().ok()?;
    let rest = out.get(first + 1..)?;
    let second = rest.iter().position(|b| *b == b'\n')?;
    let from = std::str::from_utf8(rest.get(..second)?).ok()?.parse().ok()?;
    Some((inode, from, rest.get(second + 1..)?))
}
