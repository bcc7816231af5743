use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Row as _, SqlitePool};
use towpath_core::{Deployment, Entry, Environment, Json, Lease, Result, RunFilter, RunId, RunInfo, Timestamp};

use crate::fault::{storage, unreadable};

/// Everything that only reads. Readers don't wait for the writer.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) location: String,
    pub(crate) pool: SqlitePool,
}

impl Reader {
    fn fail(&self) -> impl Fn(sqlx::Error) -> towpath_core::Error {
        |e| storage(&self.location, "read", e)
    }

    fn parse<T: DeserializeOwned>(&self, what: &'static str, body: &str) -> Result<T> {
        serde_json::from_str(body).map_err(|e| unreadable(&self.location, what, e))
    }

    pub(crate) async fn run(&self, id: &RunId) -> Result<Option<RunInfo>> {
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM runs WHERE id = ?")
            .bind(&id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(self.fail())?;
        body.map(|b| self.parse("a run", &b)).transpose()
    }

    pub(crate) async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>> {
        let state = filter.state.and_then(|s| serde_json::to_value(s).ok()).and_then(|s| s.as_str().map(str::to_owned));
        let mut query = QueryBuilder::<sqlx::Sqlite>::new("SELECT body FROM runs WHERE 1 = 1");
        for (column, value) in [
            (" AND pipeline = ", &filter.pipeline),
            (" AND environment = ", &filter.environment),
            (" AND state = ", &state),
        ] {
            if let Some(value) = value {
                query.push(column).push_bind(value.clone());
            }
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.pool).await.map_err(self.fail())?;
        rows.iter().map(|row| self.parse("a run", row.get::<&str, _>(0))).collect()
    }

    pub(crate) async fn journal(&self, run: &RunId) -> Result<Vec<Entry>> {
        let rows = sqlx::query("SELECT seq, at, record FROM journal WHERE run = ? ORDER BY seq")
            .bind(&run.0)
            .fetch_all(&self.pool)
            .await
            .map_err(self.fail())?;
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Entry {
                seq: row.get::<i64, _>(0).cast_unsigned(),
                at: Timestamp(row.get::<i64, _>(1).cast_unsigned()),
                record: self.parse("a journal entry", row.get::<&str, _>(2))?,
            })
        };
        rows.iter().map(entry).collect()
    }

    pub(crate) async fn leases(&self) -> Result<Vec<Lease>> {
        self.bodies("a lease", sqlx::query_scalar("SELECT body FROM leases ORDER BY key").fetch_all(&self.pool).await)
    }

    fn bodies<T: DeserializeOwned>(&self, what: &'static str, found: sqlx::Result<Vec<String>>) -> Result<Vec<T>> {
        found.map_err(self.fail())?.iter().map(|b| self.parse(what, b)).collect()
    }

    pub(crate) async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>> {
        let query =
            sqlx::query_scalar("SELECT body FROM deployments WHERE environment = ? AND service = ? ORDER BY id");
        self.bodies("a deployment", query.bind(environment).bind(service).fetch_all(&self.pool).await)
    }

    pub(crate) async fn environment(&self, name: &str) -> Result<Option<Environment>> {
        let query = sqlx::query_scalar("SELECT body FROM environments WHERE name = ?").bind(name);
        Ok(self.bodies("an environment", query.fetch_all(&self.pool).await)?.pop())
    }

    pub(crate) async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>> {
        let rows = sqlx::query("SELECT key, body FROM documents WHERE namespace = ? ORDER BY key")
            .bind(namespace)
            .fetch_all(&self.pool)
            .await
            .map_err(self.fail())?;
        rows.iter().map(|r| Ok((r.get(0), self.parse("a document", r.get::<&str, _>(1))?))).collect()
    }
}
