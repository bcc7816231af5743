//! From a base to an AMI that may be used.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Image, ImageState, ResourceType};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, ImageDefinition, Result};

use super::AwsImageBuilder;
use super::base::Source;
use super::finish::Finish;
use super::guest::Guest;
use super::known::{self, Found, is_broken};
use super::temporary::{Access, Bench};
use super::{remove, sweep};
use crate::ami::{by_id, id as ami_id};
use crate::client::Ec2;
use crate::errors::is;
use crate::tags::{BASE, BUILDING, IMAGE, KEY, Maker, Tags, VERSION, list, specification};
use crate::wait::{Look, Wait};

/// One build.
pub(super) struct Bake<'a> {
    pub(super) cx: &'a Context,
    pub(super) builder: &'a AwsImageBuilder,
    pub(super) ec2: &'a Ec2,
    pub(super) image: &'a ImageDefinition,
    pub(super) source: &'a Source,
    pub(super) maker: &'a Maker,
}

impl Bake<'_> {
    fn say(&self, message: String) {
        self.cx.emit(EventKind::Progress { message, done: None, total: None });
    }

    pub(super) fn bench(&self) -> Bench<'_> {
        Bench {
            ec2: self.ec2,
            config: &self.builder.config,
            image: &self.image.name,
            source: self.source,
            maker: self.maker,
        }
    }

    fn finish(&self) -> Finish<'_> {
        Finish { cx: self.cx, builder: self.builder, ec2: self.ec2, key: &self.source.key, maker: self.maker }
    }

    /// Makes the AMI from whatever there is of it, and leaves nothing else.
    pub(super) async fn run(&self, found: Found) -> Result<Image> {
        let ami = match found {
            Found::Ready(ami) => *ami,
            Found::Unfinished(ami) => {
                self.say(format!("{} was begun by a build that is gone: going on with it", ami_id(&ami)));
                self.adopt(ami_id(&ami)).await?;
                Box::pin(self.with_bench(Some(ami_id(&ami).to_owned()))).await?
            }
            Found::Nothing => Box::pin(self.with_bench(None)).await?,
        };
        Box::pin(self.finish().publish(&ami)).await?;
        Ok(ami)
    }

    /// The ids of the copies, by region.
    pub(super) async fn copies(&self, ami: &Image) -> Result<BTreeMap<String, String>> {
        Box::pin(self.finish().copies(ami)).await
    }

    /// Marks an AMI of a build that is gone as this one's.
    async fn adopt(&self, ami: &str) -> Result<()> {
        let at = self.ec2.at("build", "CreateTags", ami);
        let tags = self.maker.tags(self.cx, BUILDING);
        let act = |_| {
            Box::pin(async move {
                let request = self.ec2.api.create_tags().resources(ami).set_tags(Some(list(&tags)));
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        self.cx.effect_idempotent(&format!("{}/adopt/{ami}", self.bench().name()), json!({"adopt": ami}), act).await
    }

    /// Works with temporary resources, and removes them whatever happens; an AMI that did not become one, too.
    async fn with_bench(&self, unfinished: Option<String>) -> Result<Image> {
        // Boxed, here and below: futures of the SDK are large, and stacks are not.
        let mut made = Box::pin(self.make(unfinished)).await;
        // A cancel must not leave anything.
        let cx = self.cx.shielded();
        // What a cut connection or a cancel left open is still good: the next build goes on with it.
        let is_bad = |e: &Error| {
            !matches!(
                e.kind(),
                ErrorKind::Cancelled | ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::Protocol
            )
        };
        if made.as_ref().is_err_and(is_bad) {
            let images = known::all(&cx, self.ec2, "build", &self.source.key).await.unwrap_or_default();
            let own = |i: &&Image| crate::tags::get(i.tags(), crate::tags::MAKER) == Some(self.maker.0.as_str());
            for image in images.iter().filter(own) {
                let removed = Box::pin(remove::ami(&cx, self.ec2, "build", ami_id(image))).await;
                if let Err(e) = removed {
                    made = made.map_err(|first| first.with("left", ami_id(image)).with("why_left", e.message()));
                }
            }
        }
        match (made, Box::pin(sweep::of_maker(&cx, self.ec2, &self.builder.config, self.maker)).await) {
            (made, Ok(())) => made,
            (Ok(_), Err(e)) => Err(e),
            // The next build, or a sweep, removes it.
            (Err(first), Err(e)) => Err(first.with("left", self.bench().name()).with("why_left", e.message())),
        }
    }

    async fn make(&self, unfinished: Option<String>) -> Result<Image> {
        let bench = self.bench();
        let cx = self.cx;
        let enters = (unfinished.is_none() && !self.image.configure.is_empty()) || self.builder.has_tests();
        let access = if enters { Box::pin(bench.access(cx)).await? } else { Access::default() };
        let id = match unfinished {
            Some(id) => id,
            None => Box::pin(self.bake(&bench, &access)).await?,
        };
        let ami = self.wait_available(&id).await?;
        if self.builder.has_tests() {
            Box::pin(self.test(&bench, &access, &ami)).await?;
        }
        let finish = self.finish();
        Box::pin(finish.copies(&ami)).await?;
        Box::pin(finish.share(&ami)).await?;
        Box::pin(finish.ready(&ami)).await?;
        // As others see it from now on.
        Ok(by_id(cx, self.ec2, "build", &id).await?.unwrap_or(ami))
    }

    /// Configures an instance, and makes an AMI of it.
    async fn bake(&self, bench: &Bench<'_>, access: &Access) -> Result<String> {
        let cx = self.cx;
        self.say(format!("starting a temporary instance from {}", ami_id(&self.source.base)));
        let instance = Box::pin(bench.launch(cx, "bake", &self.source.base, access)).await?;
        if !self.image.configure.is_empty() {
            let guest = Box::pin(Guest::enter(cx, self, bench, &instance, access)).await?;
            guest.configure(cx, "configuring", &self.image.configure).await?;
            guest.forget_key(cx).await?;
        }
        cx.check(crate::PROVIDER, "build")?;
        self.say(format!("stopping {instance}"));
        bench.stop(cx, &instance).await?;
        self.create(&instance).await
    }

    /// Tags of the AMI and its snapshots.
    fn tags(&self) -> Tags {
        let mut tags = self.maker.tags(self.cx, BUILDING);
        let name = self.builder.config.name_of(&self.image.name, &self.source.key);
        tags.insert("Name".into(), name);
        tags.insert(KEY.into(), self.source.key.clone());
        tags.insert(IMAGE.into(), self.image.name.clone());
        tags.insert(BASE.into(), ami_id(&self.source.base).to_owned());
        tags.insert(VERSION.into(), env!("CARGO_PKG_VERSION").to_owned());
        tags.extend(self.image.labels.clone());
        tags.extend(self.builder.config.tags.clone());
        tags
    }

    async fn create(&self, instance: &str) -> Result<String> {
        let config = &self.builder.config;
        let name = config.name_of(&self.image.name, &self.source.key);
        let at = self.ec2.at("build", "CreateImage", &name);
        let tags = self.tags();
        self.say(format!("making the AMI {name}"));
        let of_image = specification(ResourceType::Image, &tags);
        let of_snapshots = specification(ResourceType::Snapshot, &tags);
        let request = || {
            let request = self.ec2.api.create_image().instance_id(instance).name(&name);
            request.set_description(config.description.clone()).tag_specifications(of_image.clone())
        };
        let (plain, whole) = (request(), request().tag_specifications(of_snapshots));
        let read = move |made: aws_sdk_ec2::operation::create_image::CreateImageOutput| {
            made.image_id.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells no id of the AMI"))
        };
        let act = |cx: Context| {
            Box::pin(async move {
                let error = match whole.send().await {
                    Ok(made) => return read(made),
                    Err(e) => at.failed(e),
                };
                // A stand-in for AWS may know tags of the image only: moto answers a page then. Snapshots get theirs at the end, too.
                let stands_in = config.client.endpoint_url.is_some() && error.kind() == ErrorKind::Protocol;
                if !stands_in || !known::all(&cx, self.ec2, "build", &self.source.key).await?.is_empty() {
                    return Err(error);
                }
                read(plain.send().await.map_err(|e| at.failed(e))?)
            })
        };
        let intent =
            json!({"create_image": name, "of": instance, "content_key": self.source.key, "region": self.ec2.region});
        let made = self.cx.effect_idempotent(&format!("{}/create-image", self.bench().name()), intent, act).await;
        made.map_err(|e| match is(&e, &["InvalidAMIName.Duplicate"]) {
            true => Error::new(
                ErrorKind::AlreadyExists,
                crate::PROVIDER,
                "build",
                "there is an AMI of this name with another content: deregister it, or give `ami_name` a `{key}`",
            )
            .with("ami_name", &name)
            .with("region", &self.ec2.region)
            .caused_by(e),
            false => e,
        })
    }

    async fn wait_available(&self, id: &str) -> Result<Image> {
        self.say(format!("waiting until {id} is available"));
        wait_available(self.cx, self.ec2, self.builder, id).await
    }

    /// Starts an instance from the AMI, and runs the tests on it.
    async fn test(&self, bench: &Bench<'_>, access: &Access, ami: &Image) -> Result<()> {
        let cx = self.cx;
        self.say(format!("testing an instance of {}", ami_id(ami)));
        let instance = Box::pin(bench.launch(cx, "test", ami, access)).await?;
        let guest = Box::pin(Guest::enter(cx, self, bench, &instance, access)).await?;
        guest.configure(cx, "testing", &self.builder.tests).await?;
        for test in &self.builder.config.test {
            guest.test(cx, test).await?;
        }
        Ok(())
    }
}

/// Waits until an AMI is available. One that failed is an error.
pub(super) async fn wait_available(cx: &Context, ec2: &Ec2, builder: &AwsImageBuilder, id: &str) -> Result<Image> {
    let patience = builder.config.wait.for_images();
    let wait =
        Wait { cx, region: &ec2.region, operation: "build", goal: format!("the AMI {id} to be available"), patience };
    wait.until(|| async {
        let Some(image) = by_id(cx, ec2, "build", id).await? else { return Ok(Look::NotYet("not seen".into())) };
        if image.state() == Some(&ImageState::Available) {
            return Ok(Look::Done(image));
        }
        if is_broken(&image) {
            let reason = image.state_reason().and_then(|r| r.message()).unwrap_or("it gives no reason").to_owned();
            let at = ec2.at("build", "CreateImage", id);
            return Err(at
                .error(ErrorKind::ToolFailed, "AWS could not make the AMI; what there is of it is removed: build again")
                .caused_by(reason));
        }
        Ok(Look::NotYet(image.state().map_or("unknown", |s| s.as_str()).to_owned()))
    })
    .await
}
