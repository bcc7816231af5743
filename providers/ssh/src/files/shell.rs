//! Files through a command's streams: that needs no SFTP server, and works the same as another user.

use bytes::Bytes;
use towpath_core::posix::{get_command, put_command, transferred};
use towpath_core::{Context, PutOptions, Result, Source};

use crate::exec::{Place, run};
use crate::{PROVIDER, random_name};

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    let (exec, input) = put_command(PROVIDER, &place.host, source, path, options, &random_name()).await?;
    let out = run(cx, place, &exec, Some(input)).await;
    transferred(PROVIDER, "put", &place.host, path, out).map(drop)
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    let out = run(cx, place, &get_command(path, limit_bytes), None).await;
    transferred(PROVIDER, "get", &place.host, path, out)
}
