//! Clients of the services, made once from the usual places: environment, profiles, SSO, instance metadata.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{Builder, tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use towpath_core::{Context, Error, ErrorKind, Result, SecretRef};

use crate::PROVIDER;
use crate::errors::At;

/// How AWS is reached. What is not given comes from where the AWS tools look, too: `AWS_*` variables, `~/.aws`, SSO,
/// and the metadata of the instance that this runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// The region: `eu-central-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// The profile in `~/.aws/config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,

    /// Credentials from elsewhere: a vault, a file. Better none here, and those that AWS's own tools find.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsConfig>,

    /// Another endpoint for every service, as `https://...`: a private one, a proxy, a server for tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,

    /// Attempts of a request that is throttled or gets no answer, with growing pauses. 5 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: Option<u32>,

    /// Longest time of one attempt, in seconds. 60 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub request_timeout_s: Option<u64>,
}

/// Credentials that are not where AWS's own tools look. Read once, when they are needed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsConfig {
    /// The id of the access key.
    pub access_key_id: SecretRef,

    /// The secret key.
    pub secret_access_key: SecretRef,

    /// The token of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
}

impl CredentialsConfig {
    async fn resolve(&self, cx: &Context) -> Result<Credentials> {
        let id = cx.resolve(&self.access_key_id).await?;
        let secret = cx.resolve(&self.secret_access_key).await?;
        let token = match &self.session_token {
            Some(token) => Some(cx.resolve(token).await?.expose().to_owned()),
            None => None,
        };
        Ok(Credentials::new(id.expose(), secret.expose(), token, None, "towpath"))
    }
}

impl ClientConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        let is_name = |r: &str| !r.is_empty() && r.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(region) = self.region.as_ref().filter(|r| !is_name(r)) {
            return invalid(format!("`client.region` is no region: {region:?}"));
        }
        if let Some(url) = self.endpoint_url.as_ref() {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if rest.is_none_or(|r| r.is_empty() || r.contains(['@', ' '])) {
                return invalid("`client.endpoint_url` must be `https://HOST[:PORT]`, without credentials".into());
            }
        }
        for (name, bad) in [
            ("max_attempts", self.max_attempts.is_some_and(|n| !(1..=20).contains(&n))),
            ("request_timeout_s", self.request_timeout_s.is_some_and(|n| !(1..=600).contains(&n))),
        ] {
            if bad {
                return invalid(format!("`client.{name}` is out of its range"));
            }
        }
        Ok(())
    }
}

/// Clients that are made when they are needed.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    config: Arc<ClientConfig>,
    shared: Arc<OnceCell<SdkConfig>>,
}

/// A service in one region.
#[derive(Debug, Clone)]
pub(crate) struct Service<C> {
    pub(crate) api: C,
    pub(crate) region: String,
}

/// EC2 in one region.
pub(crate) type Ec2 = Service<aws_sdk_ec2::Client>;
/// Auto Scaling in one region.
pub(crate) type Scaling = Service<aws_sdk_autoscaling::Client>;
/// Elastic Load Balancing, version 2, in one region.
pub(crate) type Balancing = Service<aws_sdk_elasticloadbalancingv2::Client>;

impl<C> Service<C> {
    /// Says where a request belongs, for its error.
    pub(crate) fn at<'a>(&'a self, operation: &'static str, api: &'static str, resource: &'a str) -> At<'a> {
        At { operation, api, region: &self.region, resource }
    }
}

impl Clients {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self { config: Arc::new(config.clone()), shared: Arc::default() }
    }

    async fn sdk(&self, cx: &Context, operation: &'static str) -> Result<&SdkConfig> {
        let load = self.shared.get_or_try_init(|| async {
            let c = &self.config;
            // The same crypto backend as everything else in towpath.
            let http = Builder::new()
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
                .build_https();
            let mut loader = aws_config::defaults(BehaviorVersion::latest())
                .http_client(http)
                .retry_config(RetryConfig::standard().with_max_attempts(c.max_attempts.unwrap_or(5)))
                .timeout_config(
                    TimeoutConfig::builder()
                        .connect_timeout(Duration::from_secs(10))
                        .operation_attempt_timeout(Duration::from_secs(c.request_timeout_s.unwrap_or(60)))
                        .build(),
                );
            if let Some(region) = &c.region {
                loader = loader.region(Region::new(region.clone()));
            }
            if let Some(profile) = &c.profile {
                loader = loader.profile_name(profile);
            }
            if let Some(url) = &c.endpoint_url {
                loader = loader.endpoint_url(url);
            }
            if let Some(credentials) = &c.credentials {
                loader = loader.credentials_provider(credentials.resolve(cx).await?);
            }
            Ok(loader.load().await)
        });
        cx.guard(PROVIDER, operation, load).await
    }

    async fn service<C>(
        &self,
        cx: &Context,
        operation: &'static str,
        client: impl FnOnce(&SdkConfig) -> C,
    ) -> Result<Service<C>> {
        let sdk = self.sdk(cx, operation).await?;
        let region = sdk.region().map(ToString::to_string).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                PROVIDER,
                operation,
                "no region is known: set `client.region`, the variable AWS_REGION, or `region` in the profile",
            )
        })?;
        Ok(Service { api: client(sdk), region })
    }

    /// EC2 in the config's region.
    pub(crate) async fn ec2(&self, cx: &Context, operation: &'static str) -> Result<Ec2> {
        self.service(cx, operation, aws_sdk_ec2::Client::new).await
    }

    /// Auto Scaling in the config's region.
    pub(crate) async fn scaling(&self, cx: &Context, operation: &'static str) -> Result<Scaling> {
        self.service(cx, operation, aws_sdk_autoscaling::Client::new).await
    }

    /// Elastic Load Balancing in the config's region.
    pub(crate) async fn balancing(&self, cx: &Context, operation: &'static str) -> Result<Balancing> {
        self.service(cx, operation, aws_sdk_elasticloadbalancingv2::Client::new).await
    }

    /// EC2 in another region.
    pub(crate) async fn ec2_in(&self, cx: &Context, operation: &'static str, region: &str) -> Result<Ec2> {
        let sdk = self.sdk(cx, operation).await?;
        let config = aws_sdk_ec2::config::Builder::from(sdk).region(Region::new(region.to_owned())).build();
        Ok(Ec2 { api: aws_sdk_ec2::Client::from_conf(config), region: region.to_owned() })
    }

    /// Who the credentials belong to, as an ARN.
    pub(crate) async fn identity(&self, cx: &Context, operation: &'static str) -> Result<String> {
        let ec2 = self.ec2(cx, operation).await?;
        let sts = aws_sdk_sts::Client::new(self.sdk(cx, operation).await?);
        let answer =
            cx.guard(PROVIDER, operation, Box::pin(async { Ok(sts.get_caller_identity().send().await) })).await?;
        let who = answer.map_err(|e| ec2.at(operation, "GetCallerIdentity", "the credentials").failed(e))?;
        Ok(who.arn().or(who.account()).unwrap_or("an unknown caller").to_owned())
    }

    /// The value of an SSM parameter.
    #[cfg(feature = "ssm")]
    pub(crate) async fn parameter(&self, cx: &Context, operation: &'static str, name: &str) -> Result<String> {
        let ec2 = self.ec2(cx, operation).await?;
        let ssm = aws_sdk_ssm::Client::new(self.sdk(cx, operation).await?);
        let answer =
            cx.guard(PROVIDER, operation, Box::pin(async { Ok(ssm.get_parameter().name(name).send().await) })).await?;
        let found = answer.map_err(|e| ec2.at(operation, "GetParameter", name).failed(e))?;
        found.parameter.and_then(|p| p.value).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, PROVIDER, operation, "an SSM parameter has no value")
                .with("parameter", name)
        })
    }

    /// Without the feature `ssm` nobody can look.
    #[cfg(not(feature = "ssm"))]
    pub(crate) async fn parameter(&self, _: &Context, operation: &'static str, name: &str) -> Result<String> {
        let message = "AMIs by SSM parameter are not compiled in: switch the feature `ssm` on";
        Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("parameter", name))
    }
}
