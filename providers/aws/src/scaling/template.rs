//! Releases as versions of the group's launch template. A version's description says which release it is.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{LaunchTemplateVersion, RequestLaunchTemplateData};
use serde_json::json;
use towpath_core::{Context, ErrorKind, EventKind, Result};

use crate::client::Ec2;
use crate::instance::token;

/// Starts the description of a version that is a release.
const MARK: &str = "towpath release ";

/// All versions of a launch template.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    ec2: &'a Ec2,
    operation: &'static str,
    template: &'a str,
    all: Vec<LaunchTemplateVersion>,
}

fn release(version: &LaunchTemplateVersion) -> Option<&str> {
    version.version_description()?.strip_prefix(MARK)
}

impl<'a> Versions<'a> {
    pub(super) async fn of(cx: &Context, ec2: &'a Ec2, operation: &'static str, template: &'a str) -> Result<Self> {
        let request = ec2.api.describe_launch_template_versions().launch_template_id(template);
        let at = ec2.at(operation, "DescribeLaunchTemplateVersions", template);
        let pages = at.ask(cx, request.into_paginator().send().collect::<Result<Vec<_>, _>>()).await?;
        let all = pages.into_iter().flat_map(|p| p.launch_template_versions.unwrap_or_default()).collect();
        Ok(Self { ec2, operation, template, all })
    }

    /// What each version is: a release's version, or the template's and its number for one that is none.
    pub(super) fn names(&self) -> BTreeMap<i64, String> {
        let name = |v: &LaunchTemplateVersion| {
            let number = v.version_number()?;
            let name = release(v).map_or_else(|| format!("{}:{number}", self.template), str::to_owned);
            Some((number, name))
        };
        self.all.iter().filter_map(name).collect()
    }

    /// The number that `$Default`, `$Latest` or a number stands for.
    pub(super) fn number(&self, version: &str) -> Option<i64> {
        match version {
            "$Latest" => self.all.iter().filter_map(|v| v.version_number()).max(),
            "$Default" => self.all.iter().find(|v| v.default_version() == Some(true))?.version_number(),
            number => number.parse().ok(),
        }
    }

    /// The newest version that is this release with this AMI.
    fn find(&self, version: &str, ami: &str) -> Option<i64> {
        let fits = |v: &&LaunchTemplateVersion| {
            release(v) == Some(version) && v.launch_template_data().and_then(|d| d.image_id()) == Some(ami)
        };
        self.all.iter().filter(fits).filter_map(|v| v.version_number()).max()
    }

    /// What a release builds upon: the newest version that is no release, so that changes of others arrive with the next release.
    fn base(&self) -> Option<i64> {
        let plain = self.all.iter().filter(|v| release(v).is_none()).filter_map(|v| v.version_number()).max();
        plain.or_else(|| self.number("$Default"))
    }

    /// Makes sure that a version is this release. Gives its number.
    pub(super) async fn publish(&self, cx: &Context, version: &str, ami: &str) -> Result<i64> {
        let at = self.ec2.at(self.operation, "CreateLaunchTemplateVersion", self.template);
        if let Some(number) = self.find(version, ami) {
            return Ok(number);
        }
        let base = self.base().ok_or_else(|| at.error(ErrorKind::Protocol, "the launch template has no version"))?;
        let words = token(&["release", self.template, &base.to_string(), version, ami]);
        let act = |_| {
            let words = words.clone();
            Box::pin(async move {
                let request = self
                    .ec2
                    .api
                    .create_launch_template_version()
                    .launch_template_id(self.template)
                    .source_version(base.to_string())
                    .launch_template_data(RequestLaunchTemplateData::builder().image_id(ami).build())
                    .version_description(format!("{MARK}{version}"))
                    .client_token(words);
                let made = request.send().await.map_err(|e| at.failed(e))?;
                let number = made.launch_template_version().and_then(|v| v.version_number());
                number.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells of no version"))
            })
        };
        let probe = |cx: Context| {
            Box::pin(
                async move { Ok(Self::of(&cx, self.ec2, self.operation, self.template).await?.find(version, ami)) },
            )
        };
        let key = format!("scaling/{}/{}", self.template, words.get(..12).unwrap_or_default());
        let intent = json!({"launch_template": self.template, "release": version, "ami": ami});
        let number: i64 = cx.effect(&key, intent, act, probe).await?;
        let message = format!("launch template {} has {version} ({ami}) as version {number}", self.template);
        cx.emit(EventKind::Progress { message, done: None, total: None });
        Ok(number)
    }
}
