//! The part of the ledger that is on the host: the labels of a volume without data, since the engine is the only memory there.
//!
//! Labels can't be changed, so each entry makes a volume of the next number, and the former one goes then: a process that dies between
//! the two has lost nothing.

use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use towpath_core::{Deployment, Error, ErrorKind, Json, Result};

use super::names::Owner;
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::{failed, status};

/// The label that has the entries, oldest first.
const LEDGER: &str = "towpath.deploy.ledger";
/// The label that has the volume's number.
const NUMBER: &str = "towpath.deploy.ledger.number";
/// How many entries are kept.
const ENTRIES: usize = 20;

fn number(volume: &Volume) -> u64 {
    volume.labels.get(NUMBER).and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// What a volume keeps.
fn entries(volume: &Volume) -> Vec<Json> {
    volume.labels.get(LEDGER).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// An entry, if it is one: else it is of another version of towpath, which goes on with it.
fn entry(kept: &Json) -> Option<Deployment> {
    serde_json::from_value(kept.clone()).ok()
}

/// The volumes of a service on its target, the newest last.
async fn volumes(operation: &'static str, engine: &Engine, owner: &Owner) -> Result<Vec<Volume>> {
    let options = ListVolumesOptions { filters: Some(owner.filter()) };
    let found = engine.docker.list_volumes(Some(options)).await;
    let found = found.map_err(|e| failed(operation, "the engine's volumes can't be listed", e))?;
    let named = |v: &Volume| v.name == owner.ledger(number(v));
    let mut all: Vec<Volume> = found.volumes.unwrap_or_default().into_iter().filter(named).collect();
    all.sort_by_key(number);
    Ok(all)
}

/// Keeps an entry. One of the same run and start goes.
pub(super) async fn record(engine: &Engine, owner: &Owner, new: &Deployment) -> Result<()> {
    let before = volumes("record", engine, owner).await?;
    let mut all = before.last().map(entries).unwrap_or_default();
    all.retain(|kept| entry(kept).is_none_or(|d| (&d.run, d.started_at) != (&new.run, new.started_at)));
    let internal = |e| Error::new(ErrorKind::Internal, PROVIDER, "record", "the entry can't be written").caused_by(e);
    all.push(serde_json::to_value(new).map_err(internal)?);
    all.drain(..all.len().saturating_sub(ENTRIES));
    let text = Json::from(all).to_string();
    let number = before.last().map_or(0, number) + 1;
    let name = owner.ledger(number);
    let labels = owner.labels_with([(LEDGER, text.as_str()), (NUMBER, &number.to_string())]);
    let request =
        VolumeCreateRequest { name: Some(name.clone()), labels: Some(labels), ..VolumeCreateRequest::default() };
    let made = engine.docker.create_volume(request).await;
    let made =
        made.map_err(|e| failed("record", "the volume that keeps the ledger can't be made", e).with("volume", &name))?;
    // One that is there already is given as it is.
    if made.labels.get(LEDGER) != Some(&text) {
        let message = "another process keeps the ledger of this service at the same time";
        return Err(Error::new(ErrorKind::Conflict, PROVIDER, "record", message).with("volume", name).retry_later());
    }
    remove("record", engine, before).await
}

async fn remove(operation: &'static str, engine: &Engine, volumes: Vec<Volume>) -> Result<()> {
    for old in volumes {
        match engine.docker.remove_volume(&old.name, None::<RemoveVolumeOptions>).await {
            Ok(()) => {}
            Err(e) if status(&e) == Some(404) => {}
            Err(e) => {
                let error = failed(operation, "a volume that keeps the ledger can't be removed", e);
                return Err(error.with("volume", old.name));
            }
        }
    }
    Ok(())
}

/// What is kept, oldest first.
pub(super) async fn recorded(engine: &Engine, owner: &Owner) -> Result<Vec<Deployment>> {
    let kept = volumes("recorded", engine, owner).await?.last().map(entries).unwrap_or_default();
    Ok(kept.iter().filter_map(entry).collect())
}

/// Removes it.
pub(super) async fn forget(engine: &Engine, owner: &Owner) -> Result<()> {
    remove("forget", engine, volumes("forget", engine, owner).await?).await
}
