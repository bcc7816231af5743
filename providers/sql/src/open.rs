use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use towpath_core::{Error, ErrorKind, MemoryStore, Result, Store};

use crate::fault::{FOREIGN, TORN, storage};
use crate::{SqliteStore, write};

/// Marks a file as towpath's: "towp".
const APPLICATION_ID: i64 = 0x746f_7770;
const SCHEMA_VERSION: i64 = 1;

/// Opens a store: `sqlite:PATH` (made if it is not there), or `memory:` for one that ends with the process.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): another kind of URL. [`Storage`](ErrorKind::Storage): the file can't be opened or
/// written, is damaged, or is of another program or a newer version; the message says what to do.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    if url == "memory:" {
        return Ok(Arc::new(MemoryStore::new()));
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "sql",
            "open",
            "a store is named as `sqlite:PATH` or `memory:`",
        )
        .with("url", url));
    };
    Ok(Arc::new(open_file(Path::new(path)).await?))
}

async fn open_file(path: &Path) -> Result<SqliteStore> {
    let location = path.display().to_string();
    let fail = |e| storage(&location, "open", e);
    make(path).map_err(|e| {
        Error::new(
            ErrorKind::Storage,
            "sql",
            "open",
            "the store can't be made or read: look at the path and its permissions",
        )
        .with("store", &location)
        .caused_by(e)
    })?;
    check_header(path, &location)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    let mut writer = SqliteConnection::connect_with(&options).await.map_err(fail)?;
    prepare(&mut writer, &location).await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options);
    Ok(SqliteStore::new(location.clone(), readers, write::start(writer, location)))
}

/// Makes folder and file before SQLite does, so that both, and the files that SQLite adds, are for the owner only.
fn make(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists());
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        builder.mode(0o700);
        options.mode(0o600);
    }
    if let Some(folder) = folder {
        builder.create(folder)?;
    }
    options.open(path).map(drop)
}

fn check_header(path: &Path, location: &str) -> Result<()> {
    let mut header = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(16).read_to_end(&mut header));
    let foreign = match read {
        Ok(0) => return Ok(()),
        Ok(_) => header != b"SQLite format 3\0",
        Err(e) => return Err(storage(location, "open", sqlx::Error::Io(e))),
    };
    if foreign { Err(Error::new(ErrorKind::Storage, "sql", "open", FOREIGN).with("store", location)) } else { Ok(()) }
}

/// Makes the schema in an empty file; refuses a file that is torn, foreign or newer.
async fn prepare(db: &mut SqliteConnection, location: &str) -> Result<()> {
    let fail = |e| storage(location, "open", e);
    let checked: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *db).await.map_err(fail)?;
    if checked != "ok" {
        return Err(Error::new(ErrorKind::Storage, "sql", "open", TORN).with("store", location).caused_by(checked));
    }
    // Two processes may open a new file at once: the second one waits here, and finds the schema.
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM sqlite_schema) AS tables, application_id, user_version \
         FROM pragma_application_id, pragma_user_version",
    )
    .fetch_one(&mut *tx)
    .await
    .map_err(fail)?;
    let (tables, application, version): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    if tables == 0 && application == 0 {
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *tx).await.map_err(fail)?;
        sqlx::raw_sql("PRAGMA application_id = 1953462128; PRAGMA user_version = 1")
            .execute(&mut *tx)
            .await
            .map_err(fail)?;
        return tx.commit().await.map_err(fail);
    }
    tx.rollback().await.map_err(fail)?;
    if application != APPLICATION_ID {
        return Err(Error::new(ErrorKind::Storage, "sql", "open", FOREIGN).with("store", location));
    }
    if version != SCHEMA_VERSION {
        let message = "the store was written by a newer towpath: use that version, or name another path with --store";
        return Err(Error::new(ErrorKind::Storage, "sql", "open", message)
            .with("store", location)
            .with("schema", version)
            .with("known", SCHEMA_VERSION));
    }
    Ok(())
}
