//! The one writer of a process: calls that are under way at the same time share one transaction, and one sync to disk.

use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use towpath_core::{
    Deployment, Environment, Error, ErrorKind, Fence, Json, Lease, LeaseAnswer, LeaseRequest, Record, Result, RunId,
    RunInfo, Timestamp, lost_lease,
};

use crate::fault::{storage, unreadable};

/// Most calls that share a transaction.
const GROUP: usize = 1024;

/// Something to write.
#[derive(Debug)]
pub(crate) enum Write {
    CreateRun(RunInfo),
    UpdateRun(RunInfo),
    Append { run: RunId, fence: Option<Fence>, records: Vec<Record> },
    Acquire(LeaseRequest),
    Renew(Fence, Timestamp),
    Release(Fence),
    Deployment(Deployment),
    Environment(Environment),
    Document { namespace: String, key: String, value: Option<Json> },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Written {
    Done,
    Lease(Box<LeaseAnswer>),
}

pub(crate) type Ticket = (Write, oneshot::Sender<Result<Written>>);

/// Starts the writer. It ends when the sender is dropped.
pub(crate) fn start(db: SqliteConnection, location: String) -> mpsc::Sender<Ticket> {
    let (sender, receiver) = mpsc::channel(GROUP);
    tokio::spawn(serve(Writer { db, location }, receiver));
    sender
}

struct Writer {
    db: SqliteConnection,
    location: String,
}

async fn serve(mut writer: Writer, mut tickets: mpsc::Receiver<Ticket>) {
    let mut group = Vec::new();
    while tickets.recv_many(&mut group, GROUP).await > 0 {
        let (writes, replies): (Vec<Write>, Vec<_>) = group.drain(..).unzip();
        let answers = match writer.together(&writes).await {
            Ok(answers) => answers,
            Err(_) if writes.len() > 1 => {
                // One of them spoils the transaction, or the disk is full: each one by itself, so that each gets its own answer.
                let mut answers = Vec::new();
                for write in &writes {
                    answers.push(match writer.together(std::slice::from_ref(write)).await {
                        Ok(mut one) => one.pop().unwrap_or_else(|| Ok(Written::Done)),
                        Err(e) => Err(e),
                    });
                }
                answers
            }
            Err(e) => vec![Err(e)],
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that was dropped does not wait for its answer any more.
            let _ = reply.send(answer);
        }
    }
    // Checkpoints, so that the file is whole without its log. What fails here fails nobody: the log is read at the next start.
    let _ = writer.db.close().await;
}

impl Writer {
    /// Writes all or, on an outer error, nothing. An inner error is a refusal before anything of that call was written.
    async fn together(&mut self, writes: &[Write]) -> Result<Vec<Result<Written>>> {
        let location = self.location.clone();
        let fail = |e| storage(&location, "write", e);
        let mut tx = self.db.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            match one(&mut tx, write, &location).await {
                Ok(done) => answers.push(Ok(done)),
                Err(Failure::Refused(e)) => answers.push(Err(e)),
                Err(Failure::Broken(e)) => {
                    tx.rollback().await.map_err(fail)?;
                    return Err(fail(e));
                }
            }
        }
        tx.commit().await.map_err(fail)?;
        Ok(answers)
    }
}

enum Failure {
    /// Said before anything was written.
    Refused(Error),
    Broken(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(e: sqlx::Error) -> Self {
        Self::Broken(e)
    }
}

fn text(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| {
        Failure::Refused(
            Error::new(ErrorKind::Internal, "sql", "write", "a value can't be written as JSON").caused_by(e),
        )
    })
}

async fn one(db: &mut SqliteConnection, write: &Write, location: &str) -> Result<Written, Failure> {
    match write {
        Write::CreateRun(run) => {
            let there: Option<String> =
                sqlx::query_scalar("SELECT id FROM runs WHERE id = ?").bind(&run.id.0).fetch_optional(&mut *db).await?;
            if there.is_some() {
                let error = Error::new(ErrorKind::AlreadyExists, "sql", "create run", "the run exists");
                return Err(Failure::Refused(error.with("run", &run.id)));
            }
            put_run(db, run).await?;
        }
        Write::UpdateRun(run) => put_run(db, run).await?,
        Write::Append { run, fence, records } => {
            if let Some(fence) = fence {
                own(db, fence, location).await?;
            }
            let last: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM journal WHERE run = ?")
                .bind(&run.0)
                .fetch_one(&mut *db)
                .await?;
            sqlx::query(
                "INSERT INTO journal (run, seq, at, record) SELECT ?1, ?2 + key + 1, ?3, value FROM json_each(?4)",
            )
            .bind(&run.0)
            .bind(last.unwrap_or_default())
            .bind(millis(Timestamp::now()))
            .bind(text(records)?)
            .execute(&mut *db)
            .await?;
        }
        Write::Acquire(request) => return acquire(db, request, location).await.map(|a| Written::Lease(Box::new(a))),
        Write::Renew(fence, until) => {
            let mut lease = own(db, fence, location).await?;
            lease.renewed_at = Timestamp::now();
            lease.expires_at = *until;
            put_lease(db, &lease).await?;
        }
        Write::Release(fence) => {
            sqlx::query("DELETE FROM leases WHERE key = ? AND fence = ? AND owner = ?")
                .bind(&fence.key)
                .bind(fence.number.cast_signed())
                .bind(&fence.owner)
                .execute(&mut *db)
                .await?;
        }
        Write::Deployment(d) => {
            sqlx::query(
                "INSERT INTO deployments (environment, service, version, run, body) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (environment, service, version, run) DO UPDATE SET body = excluded.body",
            )
            .bind(&d.environment)
            .bind(&d.release.service)
            .bind(&d.release.version)
            .bind(&d.run)
            .bind(text(d)?)
            .execute(&mut *db)
            .await?;
        }
        Write::Environment(environment) => {
            sqlx::query("INSERT OR REPLACE INTO environments (name, body) VALUES (?, ?)")
                .bind(&environment.name)
                .bind(text(environment)?)
                .execute(&mut *db)
                .await?;
        }
        Write::Document { namespace, key, value: Some(value) } => {
            sqlx::query("INSERT OR REPLACE INTO documents (namespace, key, body) VALUES (?, ?, ?)")
                .bind(namespace)
                .bind(key)
                .bind(text(value)?)
                .execute(&mut *db)
                .await?;
        }
        Write::Document { namespace, key, value: None } => {
            sqlx::query("DELETE FROM documents WHERE namespace = ? AND key = ?")
                .bind(namespace)
                .bind(key)
                .execute(&mut *db)
                .await?;
        }
    }
    Ok(Written::Done)
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

async fn put_run(db: &mut SqliteConnection, run: &RunInfo) -> Result<(), Failure> {
    let state = serde_json::to_value(run.state).ok().and_then(|s| s.as_str().map(str::to_owned)).unwrap_or_default();
    sqlx::query("INSERT OR REPLACE INTO runs (id, pipeline, environment, state, body) VALUES (?, ?, ?, ?, ?)")
        .bind(&run.id.0)
        .bind(&run.pipeline)
        .bind(&run.environment)
        .bind(state)
        .bind(text(run)?)
        .execute(&mut *db)
        .await?;
    Ok(())
}

async fn find_lease(db: &mut SqliteConnection, key: &str, location: &str) -> Result<Option<Lease>, Failure> {
    let body: Option<String> =
        sqlx::query_scalar("SELECT body FROM leases WHERE key = ?").bind(key).fetch_optional(&mut *db).await?;
    let Some(body) = body else { return Ok(None) };
    serde_json::from_str(&body).map(Some).map_err(|e| Failure::Refused(unreadable(location, "a lease", e)))
}

async fn own(db: &mut SqliteConnection, fence: &Fence, location: &str) -> Result<Lease, Failure> {
    find_lease(db, &fence.key, location)
        .await?
        .filter(|l| l.fence == fence.number && l.owner.id == fence.owner)
        .ok_or_else(|| Failure::Refused(lost_lease(fence)))
}

async fn put_lease(db: &mut SqliteConnection, lease: &Lease) -> Result<(), Failure> {
    sqlx::query("INSERT OR REPLACE INTO leases (key, fence, owner, body) VALUES (?, ?, ?, ?)")
        .bind(&lease.key)
        .bind(lease.fence.cast_signed())
        .bind(&lease.owner.id)
        .bind(text(lease)?)
        .execute(&mut *db)
        .await?;
    Ok(())
}

async fn acquire(db: &mut SqliteConnection, request: &LeaseRequest, location: &str) -> Result<LeaseAnswer, Failure> {
    let now = Timestamp::now();
    if let Some(lease) = find_lease(db, &request.key, location).await? {
        if lease.expires_at > now {
            return Ok(LeaseAnswer::Held(lease));
        }
        if lease.undo.is_some() {
            return Ok(LeaseAnswer::Expired(lease));
        }
    }
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO fences (key, number) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET number = number + 1 RETURNING number",
    )
    .bind(&request.key)
    .fetch_one(&mut *db)
    .await?;
    let lease = Lease {
        key: request.key.clone(),
        owner: request.owner.clone(),
        reason: request.reason.clone(),
        fence: number.cast_unsigned(),
        acquired_at: now,
        renewed_at: now,
        expires_at: now.plus(Duration::from_millis(request.ttl_ms)),
        undo: request.undo.clone(),
    };
    put_lease(db, &lease).await?;
    Ok(LeaseAnswer::Granted(lease))
}
