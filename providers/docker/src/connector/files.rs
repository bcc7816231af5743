//! Files to and from a container, through a command's streams: the engine's own archives can neither rename nor look up owners.

use bytes::Bytes;
use towpath_core::posix::{check_path, get_command, put_command, transferred};
use towpath_core::{Context, PutOptions, Result, Source};

use super::exec::{Place, run};
use crate::{PROVIDER, random_name};

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    check_path(PROVIDER, "put", &place.host, path)?;
    let (exec, input) = put_command(PROVIDER, &place.host, source, path, options, &random_name()).await?;
    let out = run(cx, place, &exec, Some(input)).await;
    transferred(PROVIDER, "put", &place.host, path, out).map(drop)
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    check_path(PROVIDER, "get", &place.host, path)?;
    let out = run(cx, place, &get_command(path, limit_bytes), None).await;
    transferred(PROVIDER, "get", &place.host, path, out)
}
