//! What a build needs for a while: a key pair, a security group, instances. All of it is called after its maker, and tagged with it.

use std::path::{Path, PathBuf};

use aws_sdk_ec2::types::{
    Image, InstanceStateName as State, IpPermission, IpRange, Ipv6Range, KeyFormat, KeyType, ResourceType,
};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Result, Secret, private_files};

use super::AwsImageConfig;
use super::base::Source;
use crate::PROVIDER;
use crate::client::Ec2;
use crate::environment::{describe, state};
use crate::instance::{Launch, token};
use crate::tags::{IMAGE, KEY, Maker, TEMPORARY, Tags, specification};
use crate::wait::{Look, Wait};

/// Starts all names; the maker follows.
pub(super) const PREFIX: &str = "towpath-bake-";

/// Temporary resources of one build.
pub(super) struct Bench<'a> {
    pub(super) ec2: &'a Ec2,
    pub(super) config: &'a AwsImageConfig,
    pub(super) image: &'a str,
    pub(super) source: &'a Source,
    pub(super) maker: &'a Maker,
}

/// How an instance of the bench is entered.
#[derive(Default)]
pub(super) struct Access {
    /// The temporary key pair, whose private half is in this file.
    pub(super) key: Option<PathBuf>,
    security_groups: Vec<String>,
}

/// The folder of private keys of builds that go on.
pub(super) fn key_folder() -> PathBuf {
    let home = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|d| d.is_dir());
    match home {
        Some(dir) => dir.join("towpath-aws"),
        // Another user's folder of this name is refused when it is used.
        None => std::env::temp_dir().join(format!("towpath-aws-{}", own_uid())),
    }
}

/// This user's number, as the kernel shows it.
fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or_default()
}

impl Bench<'_> {
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}", self.maker.0)
    }

    fn tags(&self, cx: &Context) -> Tags {
        let mut tags = self.maker.tags(cx, TEMPORARY);
        tags.insert("Name".into(), self.name());
        tags.insert(IMAGE.into(), self.image.to_owned());
        tags.insert(KEY.into(), self.source.key.clone());
        tags
    }

    /// Makes what is needed to enter instances of this bench.
    pub(super) async fn access(&self, cx: &Context) -> Result<Access> {
        let mut access = Access::default();
        let c = &self.config.connection;
        let has_own =
            c.password.is_some() || ["identity_file", "identity_agent"].iter().any(|o| c.options.contains_key(*o));
        if self.config.instance.key_name.is_none() && !has_own {
            access.key = Some(self.key_pair(cx).await?);
        }
        if self.config.instance.security_groups.is_empty() {
            access.security_groups.push(self.security_group(cx).await?);
        }
        Ok(access)
    }

    /// Makes a key pair. Its private half goes into a file of mode 0600, and nowhere else.
    async fn key_pair(&self, cx: &Context) -> Result<PathBuf> {
        let name = self.name();
        let (folder, file) = (key_folder(), key_folder().join(&name));
        let at = self.ec2.at("build", "CreateKeyPair", &name);
        let cant = |e: std::io::Error, path: &Path| {
            Error::new(ErrorKind::Storage, PROVIDER, "build", "the temporary private key can't be kept")
                .with("file", path.display())
                .caused_by(e)
        };
        let act = |cx: Context| {
            let (name, folder, file) = (&name, &folder, &file);
            async move {
                private_files::private_dir(folder).map_err(|e| cant(e, folder))?;
                let request = self
                    .ec2
                    .api
                    .create_key_pair()
                    .key_name(name)
                    .key_type(KeyType::Ed25519)
                    .key_format(KeyFormat::Pem)
                    .tag_specifications(specification(ResourceType::KeyPair, &self.tags(&cx)));
                let made = request.send().await.map_err(|e| at.failed(e))?;
                let key = made.key_material.map(Secret::new);
                let key = key.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS gives no private key"))?;
                cx.learn_secret(&key);
                private_files::write_private(file, key.expose().as_bytes()).map_err(|e| cant(e, file))
            }
        };
        let intent = json!({"create_key_pair": name, "region": self.ec2.region});
        cx.effect_idempotent(&format!("{name}/key-pair"), intent, act).await?;
        Ok(file)
    }

    /// Makes a security group that lets only the given addresses reach port 22.
    async fn security_group(&self, cx: &Context) -> Result<String> {
        let name = self.name();
        let vpc = self.vpc(cx).await?;
        let at = self.ec2.at("build", "CreateSecurityGroup", &name);
        let act = |cx: Context| {
            let name = &name;
            async move {
                let request = self
                    .ec2
                    .api
                    .create_security_group()
                    .group_name(name)
                    .description("towpath: a build of an AMI; removed afterwards")
                    .set_vpc_id(vpc)
                    .tag_specifications(specification(ResourceType::SecurityGroup, &self.tags(&cx)));
                let made = request.send().await.map_err(|e| at.failed(e))?;
                made.group_id.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells no id of the group"))
            }
        };
        let intent = json!({"create_security_group": name, "region": self.ec2.region});
        let id: String = cx.effect_idempotent(&format!("{name}/security-group"), intent, act).await?;
        let at = self.ec2.at("build", "AuthorizeSecurityGroupIngress", &id);
        let (v6, v4): (Vec<&String>, Vec<&String>) = self.config.ssh_from.iter().partition(|c| c.contains(':'));
        let rule = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(22)
            .to_port(22)
            .set_ip_ranges(Some(v4.into_iter().map(|c| IpRange::builder().cidr_ip(c).build()).collect()))
            .set_ipv6_ranges(Some(v6.into_iter().map(|c| Ipv6Range::builder().cidr_ipv6(c).build()).collect()))
            .build();
        let group = &id;
        let act = |_| {
            Box::pin(async move {
                let request = self.ec2.api.authorize_security_group_ingress().group_id(group).ip_permissions(rule);
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let intent = json!({"open_port": 22, "to": self.config.ssh_from, "security_group": id});
        cx.effect_idempotent(&format!("{name}/ingress"), intent, act).await?;
        Ok(id)
    }

    /// The VPC of the first subnet. `None`: the default one.
    async fn vpc(&self, cx: &Context) -> Result<Option<String>> {
        let Some(subnet) = self.config.instance.subnets.first() else { return Ok(None) };
        let request = self.ec2.api.describe_subnets().subnet_ids(subnet).send();
        let answer = cx.guard(PROVIDER, "build", Box::pin(async { Ok(request.await) })).await?;
        let found = answer.map_err(|e| self.ec2.at("build", "DescribeSubnets", subnet).failed(e))?;
        Ok(found.subnets().first().and_then(|s| s.vpc_id()).map(str::to_owned))
    }

    /// Starts an instance, and waits until it runs; `what` tells two of one bench apart.
    pub(super) async fn launch(&self, cx: &Context, what: &str, ami: &Image, access: &Access) -> Result<String> {
        let name = self.name();
        let tags = self.tags(cx);
        let token = token(&[&name, what]);
        let key = access.key.as_ref().map(|_| name.as_str());
        let launch = Launch {
            ec2: self.ec2,
            operation: "build",
            name: &name,
            ami,
            config: &self.config.instance,
            user_data: &self.source.user_data,
            tags: &tags,
            token: &token,
            key_name: key,
            security_groups: &access.security_groups,
        };
        let intent = json!({
            "run": name, "for": what, "ami": crate::ami::id(ami), "type": self.config.instance.instance_type,
            "client_token": token, "region": self.ec2.region,
        });
        let launch = &launch;
        let id: String = cx
            .effect_idempotent(&format!("{name}/{what}"), intent, |cx| Box::pin(async move { launch.run(&cx).await }))
            .await?;
        self.wait(cx, &id, State::Running).await?;
        Ok(id)
    }

    /// Stops an instance, so that its disks are whole.
    pub(super) async fn stop(&self, cx: &Context, id: &str) -> Result<()> {
        let at = self.ec2.at("build", "StopInstances", id);
        let act = |_| {
            Box::pin(async move {
                self.ec2.api.stop_instances().instance_ids(id).send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        cx.effect_idempotent(&format!("{}/stop/{id}", self.name()), json!({"stop": id}), act).await?;
        self.wait(cx, id, State::Stopped).await
    }

    async fn wait(&self, cx: &Context, id: &str, goal: State) -> Result<()> {
        let wait = Wait {
            cx,
            region: &self.ec2.region,
            operation: "build",
            goal: format!("the instance {id} to be {}", goal.as_str()),
            patience: self.config.wait,
        };
        let mut seen = false;
        wait.until(|| {
            let before = seen;
            seen = true;
            let goal = &goal;
            async move {
                let found = describe(cx, self.ec2, "build", |r| r.instance_ids(id)).await?;
                let Some(instance) = found.first() else { return Ok(Look::NotYet("not seen".into())) };
                let now = state(instance);
                if now == *goal {
                    return Ok(Look::Done(()));
                }
                if matches!(now, State::Terminated | State::ShuttingDown) && before {
                    return Err(crate::environment::ended_early(self.ec2, "build", id, instance));
                }
                Ok(Look::NotYet(now.as_str().to_owned()))
            }
        })
        .await
    }
}
