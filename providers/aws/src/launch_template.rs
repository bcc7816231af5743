//! Launch templates: what Auto Scaling groups, and a disaster recovery, start instances from.

use aws_sdk_ec2::types::{
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataOptionsRequest, RequestLaunchTemplateData, ResourceType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use crate::client::{Clients, Ec2};
use crate::errors::is;
use crate::instance::token;
use crate::tags::{OWNER, Tags, specification};
use crate::{ClientConfig, PROVIDER};

/// A launch template that gets a baked AMI as its new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchTemplateConfig {
    /// Its name. It is made if there is none; else the new version takes over what its default version says, and only what stands
    /// here differs.
    pub name: String,

    /// Makes the new version the default one. Yes by default.
    #[serde(default = "yes")]
    pub make_default: bool,

    /// The instance type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,

    /// Name of a key pair that is in the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,

    /// Ids of security groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,

    /// Name of an IAM instance profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,
}

fn yes() -> bool {
    true
}

impl LaunchTemplateConfig {
    /// A template of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            make_default: true,
            instance_type: None,
            key_name: None,
            security_groups: Vec::new(),
            instance_profile: None,
        }
    }

    /// Source: "CreateLaunchTemplate" in the EC2 API reference.
    pub(crate) fn check(&self) -> Result<()> {
        let good = |c: char| c.is_ascii_alphanumeric() || "()./_-".contains(c);
        if !(3..=128).contains(&self.name.len()) || !self.name.chars().all(good) {
            let message =
                format!("`launch_template.name` must have 3 to 128 letters, digits and `( ) . / _ -`: {:?}", self.name);
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        }
        Ok(())
    }

    fn data(&self, ami: &str, is_new: bool) -> RequestLaunchTemplateData {
        let mut data = RequestLaunchTemplateData::builder()
            .image_id(ami)
            .set_instance_type(self.instance_type.as_deref().map(Into::into))
            .set_key_name(self.key_name.clone());
        if !self.security_groups.is_empty() {
            data = data.set_security_group_ids(Some(self.security_groups.clone()));
        }
        if let Some(profile) = &self.instance_profile {
            data = data.iam_instance_profile(
                LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(profile).build(),
            );
        }
        if is_new {
            let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
                .http_tokens(LaunchTemplateHttpTokensState::Required)
                .build();
            data = data.metadata_options(metadata);
        }
        data.build()
    }
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    /// The template's id: `lt-0abc`.
    pub id: String,
    /// The version.
    pub version: i64,
    /// Whether it is the default one.
    pub is_default: bool,
    /// Whether it was made, or made the default, just now.
    pub changed: bool,
}

/// Registers AMIs in launch templates.
#[derive(Debug, Clone)]
pub struct AwsLaunchTemplates {
    clients: Clients,
}

impl AwsLaunchTemplates {
    /// Works in the account and region of this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong.
    pub fn new(client: ClientConfig) -> Result<Self> {
        client.check()?;
        Ok(Self { clients: Clients::new(&client) })
    }

    /// Makes sure that a version of the template starts this AMI, the default one if that is wanted. Nothing to do is a success.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput), [`NotFound`](ErrorKind::NotFound): AWS does not take the AMI or a setting.
    pub async fn publish(
        &self,
        cx: &Context,
        template: &LaunchTemplateConfig,
        ami: &str,
    ) -> Result<LaunchTemplateVersion> {
        template.check()?;
        cx.check(PROVIDER, "publish")?;
        let ec2 = self.clients.ec2(cx, "publish").await?;
        publish(cx, &ec2, "publish", template, ami).await
    }
}

struct Known {
    id: String,
    default: i64,
}

async fn find(cx: &Context, ec2: &Ec2, operation: &'static str, name: &str) -> Result<Option<Known>> {
    let request = ec2.api.describe_launch_templates().launch_template_names(name).send();
    let answer = cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.await) })).await?;
    match answer {
        Ok(found) => Ok(found.launch_templates().first().and_then(|t| {
            Some(Known { id: t.launch_template_id()?.to_owned(), default: t.default_version_number().unwrap_or(1) })
        })),
        Err(e) => {
            let error = ec2.at(operation, "DescribeLaunchTemplates", name).failed(e);
            if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
    }
}

/// The newest version that is as wanted.
async fn version(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    known: &Known,
    wanted: &LaunchTemplateConfig,
    ami: &str,
) -> Result<Option<i64>> {
    let request = ec2.api.describe_launch_template_versions().launch_template_id(&known.id).into_paginator().send();
    let pages =
        cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.collect::<Result<Vec<_>, _>>().await) })).await?;
    let pages = pages.map_err(|e| ec2.at(operation, "DescribeLaunchTemplateVersions", &wanted.name).failed(e))?;
    let fits = |d: &aws_sdk_ec2::types::ResponseLaunchTemplateData| {
        d.image_id() == Some(ami)
            && wanted.instance_type.as_deref().is_none_or(|t| d.instance_type().map(|i| i.as_str()) == Some(t))
            && wanted.key_name.as_deref().is_none_or(|k| d.key_name() == Some(k))
            && (wanted.security_groups.is_empty() || d.security_group_ids() == wanted.security_groups)
            && wanted
                .instance_profile
                .as_deref()
                .is_none_or(|p| d.iam_instance_profile().and_then(|i| i.name()) == Some(p))
    };
    let all = pages.iter().flat_map(|p| p.launch_template_versions());
    Ok(all.filter(|v| v.launch_template_data().is_some_and(fits)).filter_map(|v| v.version_number()).max())
}

/// What [`publish`] would find: the version, and whether it is the default one as wanted.
pub(crate) async fn is_published(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    wanted: &LaunchTemplateConfig,
    ami: &str,
) -> Result<bool> {
    let Some(known) = find(cx, ec2, operation, &wanted.name).await? else { return Ok(false) };
    let version = version(cx, ec2, operation, &known, wanted, ami).await?;
    Ok(version.is_some_and(|v| !wanted.make_default || v == known.default))
}

pub(crate) async fn publish(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    wanted: &LaunchTemplateConfig,
    ami: &str,
) -> Result<LaunchTemplateVersion> {
    let name = &wanted.name;
    let mut changed = false;
    let (known, number) = match find(cx, ec2, operation, name).await? {
        None => {
            changed = true;
            create(cx, ec2, operation, wanted, ami).await?
        }
        Some(known) => match version(cx, ec2, operation, &known, wanted, ami).await? {
            Some(number) => (known, number),
            None => {
                changed = true;
                let number = add(cx, ec2, operation, &known, wanted, ami).await?;
                (known, number)
            }
        },
    };
    let mut is_default = known.default == number;
    if wanted.make_default && !is_default {
        let at = ec2.at(operation, "ModifyLaunchTemplate", name);
        let (id, text) = (known.id.clone(), number.to_string());
        let act = |_| {
            Box::pin(async move {
                let request = ec2.api.modify_launch_template().launch_template_id(id).default_version(text);
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let key = format!("template/{}/default/{number}", known.id);
        cx.effect_idempotent(&key, json!({"default_version": number, "template": name}), act).await?;
        (is_default, changed) = (true, true);
    }
    if changed {
        let message = format!("launch template {name} has {ami} as version {number}");
        cx.emit(EventKind::Progress { message, done: None, total: None });
    }
    Ok(LaunchTemplateVersion { id: known.id, version: number, is_default, changed })
}

async fn create(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    wanted: &LaunchTemplateConfig,
    ami: &str,
) -> Result<(Known, i64)> {
    let name = &wanted.name;
    if wanted.instance_type.is_none() {
        cx.warn(format!("the new launch template {name} names no `instance_type`: whoever starts from it must"));
    }
    let at = ec2.at(operation, "CreateLaunchTemplate", name);
    let act = |_| {
        Box::pin(async move {
            let tags = Tags::from([(OWNER.to_owned(), "towpath".to_owned())]);
            let request = ec2
                .api
                .create_launch_template()
                .launch_template_name(name)
                .launch_template_data(wanted.data(ami, true))
                .version_description("made by towpath")
                .tag_specifications(specification(ResourceType::LaunchTemplate, &tags))
                .client_token(token(&["template", name, ami]));
            match request.send().await {
                Ok(_) => Ok(()),
                Err(e) => {
                    let error = at.failed(e);
                    // Somebody was faster: the look that follows tells.
                    if is(&error, &["InvalidLaunchTemplateName.AlreadyExistsException"]) { Ok(()) } else { Err(error) }
                }
            }
        })
    };
    cx.effect_idempotent(&format!("template/{name}"), json!({"create_template": name, "ami": ami}), act).await?;
    let known = find(cx, ec2, operation, name).await?;
    let known = known.ok_or_else(|| at.error(ErrorKind::Protocol, "the template is not there after it was made"))?;
    match version(cx, ec2, operation, &known, wanted, ami).await? {
        Some(number) => Ok((known, number)),
        None => {
            let number = add(cx, ec2, operation, &known, wanted, ami).await?;
            Ok((known, number))
        }
    }
}

async fn add(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    known: &Known,
    wanted: &LaunchTemplateConfig,
    ami: &str,
) -> Result<i64> {
    let name = &wanted.name;
    let at = ec2.at(operation, "CreateLaunchTemplateVersion", name);
    let source = known.default.to_string();
    let words = token(&["version", &known.id, &source, ami, &json!(wanted).to_string()]);
    let (id, token) = (known.id.clone(), words.clone());
    let act = |_| {
        Box::pin(async move {
            let request = ec2
                .api
                .create_launch_template_version()
                .launch_template_id(id)
                .source_version(source)
                .launch_template_data(wanted.data(ami, false))
                .version_description("made by towpath")
                .client_token(token);
            let made = request.send().await.map_err(|e| at.failed(e))?;
            let number = made.launch_template_version().and_then(|v| v.version_number());
            number.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells of no version"))
        })
    };
    let probe = |cx: Context| Box::pin(async move { version(&cx, ec2, operation, known, wanted, ami).await });
    let key = format!("template/{}/{}", known.id, words.get(..12).unwrap_or_default());
    cx.effect(&key, json!({"create_template_version": name, "ami": ami}), act, probe).await
}
