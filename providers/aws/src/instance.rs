//! Settings of instances, and the request that starts one.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification, Image,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType, MarketType, ResourceType,
    SpotInstanceType, SpotMarketOptions, VolumeType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Json, Result, digest_json};

use crate::PROVIDER;
use crate::client::Ec2;
use crate::errors::is;
use crate::tags::{Tags, specification};
use crate::user_data::{Resolved, UserData};

/// Settings of an EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceConfig {
    /// The instance type.
    pub instance_type: String,

    /// Subnets to try in this order: the next one when AWS has no capacity. The default VPC's if not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,

    /// Ids of security groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,

    /// Name of a key pair that is in the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,

    /// Name of an IAM instance profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,

    /// Whether it gets a public address. As the subnet says if not given; else exactly one subnet is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<bool>,

    /// What it gets at its first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,

    /// The root volume, where it is to differ from the AMI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_volume: Option<RootVolume>,

    /// A spot instance: cheaper, and AWS may end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,

    /// Also answers metadata requests without a session token (IMDSv1), which any program that can be made to fetch a URL reads.
    pub imds_v1: bool,

    /// How many network hops metadata answers travel; 2 lets containers read them. 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub imds_hop_limit: Option<i32>,
}

impl Default for InstanceConfig {
    fn default() -> Self {
        Self {
            instance_type: "t3.micro".into(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            key_name: None,
            instance_profile: None,
            public_ip: None,
            user_data: None,
            root_volume: None,
            spot: None,
            imds_v1: false,
            imds_hop_limit: None,
        }
    }
}

/// A root volume. It is deleted with its instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RootVolume {
    /// Its size in GiB; the AMI's if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub size_gib: Option<i32>,

    /// Its type: `gp3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,

    /// Whether it is encrypted; as the account says if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,

    /// The key that it is encrypted with; the account's default if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
}

/// A one-time spot request; the instance is terminated when AWS takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spot {
    /// Highest price per hour in dollars, as text: `0.05`. The on-demand price if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_price: Option<String>,
}

impl InstanceConfig {
    /// Settings for this instance type.
    pub fn new(instance_type: impl Into<String>) -> Self {
        Self { instance_type: instance_type.into(), ..Self::default() }
    }

    pub(crate) fn based(mut self, dir: &Path) -> Self {
        self.user_data = self.user_data.map(|d| d.based(dir));
        self
    }

    pub(crate) fn check(&self, field: &str) -> Result<()> {
        let invalid = |name: &str, message: &str| {
            let message = format!("`{field}.{name}` {message}");
            Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message))
        };
        let is_id = |id: &str, prefix: &str| {
            id.strip_prefix(prefix).is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let is_type = self.instance_type.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        if !is_type {
            return invalid("instance_type", &format!("is no instance type: {:?}", self.instance_type));
        }
        if let Some(bad) = self.subnets.iter().find(|s| !is_id(s, "subnet-")) {
            return invalid("subnets", &format!("has {bad:?}, which is no id of a subnet (`subnet-0abc`)"));
        }
        if let Some(bad) = self.security_groups.iter().find(|s| !is_id(s, "sg-")) {
            return invalid("security_groups", &format!("has {bad:?}, which is no id of a security group (`sg-0abc`)"));
        }
        if self.public_ip.is_some() && self.subnets.is_empty() {
            return invalid("public_ip", "needs `subnets`: AWS decides it by network interface");
        }
        if self.imds_hop_limit.is_some_and(|n| !(1..=64).contains(&n)) {
            return invalid("imds_hop_limit", "must be 1 to 64");
        }
        if self.root_volume.as_ref().and_then(|v| v.size_gib).is_some_and(|n| !(1..=65536).contains(&n)) {
            return invalid("root_volume.size_gib", "must be 1 to 65536");
        }
        let is_price = |p: &String| p.parse::<f64>().is_ok_and(|p| p > 0.0 && p.is_finite());
        if let Some(bad) = self.spot.as_ref().and_then(|s| s.max_price.as_ref()).filter(|p| !is_price(p)) {
            return invalid("spot.max_price", &format!("is no price: {bad:?}"));
        }
        Ok(())
    }

    /// What decides how an instance is made, by field: short digests, none of which tells its value.
    pub(crate) fn fields(&self, user_data: &Resolved) -> BTreeMap<&'static str, String> {
        let short = |value: Json| digest_json(&value).chars().take(8).collect::<String>();
        BTreeMap::from([
            ("type", short(json!(self.instance_type))),
            ("groups", short(json!(self.security_groups))),
            ("key", short(json!(self.key_name))),
            ("profile", short(json!(self.instance_profile))),
            ("public_ip", short(json!(self.public_ip))),
            ("user_data", short(json!(user_data.digest))),
            ("volume", short(json!(self.root_volume))),
            ("spot", short(json!(self.spot))),
            ("imds", short(json!([self.imds_v1, self.imds_hop_limit]))),
        ])
    }
}

/// An instance to start.
pub(crate) struct Launch<'a> {
    pub(crate) ec2: &'a Ec2,
    pub(crate) operation: &'static str,
    /// Names it in errors.
    pub(crate) name: &'a str,
    pub(crate) ami: &'a Image,
    pub(crate) config: &'a InstanceConfig,
    pub(crate) user_data: &'a Resolved,
    pub(crate) tags: &'a Tags,
    /// The same for the same instance; AWS then gives the one that it has made already.
    pub(crate) token: &'a str,
    /// Instead of the config's.
    pub(crate) key_name: Option<&'a str>,
    /// Instead of the config's.
    pub(crate) security_groups: &'a [String],
}

impl Launch<'_> {
    /// Starts it: in the next subnet when AWS has no capacity in one. Gives its id.
    pub(crate) async fn run(&self, cx: &Context) -> Result<String> {
        let mut subnets = self.config.subnets.iter().map(|s| Some(s.as_str())).collect::<Vec<_>>();
        if subnets.is_empty() {
            subnets.push(None);
        }
        let last = subnets.len() - 1;
        for (n, subnet) in subnets.into_iter().enumerate() {
            match Box::pin(self.run_in(subnet, n)).await {
                Err(e) if n < last && is(&e, &["InsufficientInstanceCapacity"]) => {
                    let subnet = subnet.unwrap_or_default();
                    cx.warn(format!("AWS has no capacity for {} in {subnet}: the next subnet is tried", self.name));
                }
                other => return other,
            }
        }
        Err(Error::new(ErrorKind::Internal, PROVIDER, self.operation, "no subnet was tried"))
    }

    async fn run_in(&self, subnet: Option<&str>, n: usize) -> Result<String> {
        let c = self.config;
        // Another subnet is another request.
        let token = if n == 0 { self.token.to_owned() } else { token(&[self.token, subnet.unwrap_or_default()]) };
        let groups = if self.security_groups.is_empty() { c.security_groups.as_slice() } else { self.security_groups };
        let groups = (!groups.is_empty()).then(|| groups.to_vec());
        let mut request = self
            .ec2
            .api
            .run_instances()
            .image_id(crate::ami::id(self.ami))
            .instance_type(InstanceType::from(c.instance_type.as_str()))
            .min_count(1)
            .max_count(1)
            .client_token(token)
            .set_key_name(self.key_name.map(str::to_owned).or_else(|| c.key_name.clone()))
            .set_user_data(self.user_data.encoded.clone())
            .metadata_options(metadata(c))
            .tag_specifications(specification(ResourceType::Instance, self.tags))
            .tag_specifications(specification(ResourceType::Volume, self.tags));
        request = match c.public_ip {
            None => request.set_subnet_id(subnet.map(str::to_owned)).set_security_group_ids(groups),
            Some(public) => request.network_interfaces(
                InstanceNetworkInterfaceSpecification::builder()
                    .device_index(0)
                    .associate_public_ip_address(public)
                    .set_subnet_id(subnet.map(str::to_owned))
                    .set_groups(groups)
                    .build(),
            ),
        };
        if let Some(profile) = &c.instance_profile {
            request = request.iam_instance_profile(IamInstanceProfileSpecification::builder().name(profile).build());
        }
        if let Some(volume) = &c.root_volume {
            request = request.block_device_mappings(root(volume, self.ami));
        }
        if let Some(spot) = &c.spot {
            request = request.instance_market_options(market(spot));
        }
        let at = self.ec2.at(self.operation, "RunInstances", self.name);
        let answer = request.send().await.map_err(|e| at.failed(e))?;
        let id = answer.instances().first().and_then(|i| i.instance_id()).map(str::to_owned);
        id.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells of no instance"))
    }
}

fn metadata(c: &InstanceConfig) -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(if c.imds_v1 { HttpTokensState::Optional } else { HttpTokensState::Required })
        .http_put_response_hop_limit(c.imds_hop_limit.unwrap_or(1))
        .build()
}

fn root(volume: &RootVolume, ami: &Image) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder()
        .delete_on_termination(true)
        .set_volume_size(volume.size_gib)
        .set_volume_type(volume.volume_type.as_deref().map(VolumeType::from))
        .set_encrypted(volume.encrypted)
        .set_kms_key_id(volume.kms_key_id.clone())
        .build();
    BlockDeviceMapping::builder().device_name(ami.root_device_name().unwrap_or("/dev/xvda")).ebs(ebs).build()
}

fn market(spot: &Spot) -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .set_max_price(spot.max_price.clone())
        .build();
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(options).build()
}

/// A client token over some words: 64 characters, which is what AWS takes at most.
pub(crate) fn token(words: &[&str]) -> String {
    digest_json(&json!(words))
}
