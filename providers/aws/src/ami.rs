//! How an AMI is named, and which one that is.

use aws_sdk_ec2::types::Image;
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::client::{Clients, Ec2};
use crate::tags::filter;

/// A name of an AMI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AmiName {
    /// `ami-0abc`.
    Id(String),
    /// `ssm:/aws/service/...`: the id stands in an SSM parameter.
    Parameter(String),
    /// `OWNER/PATTERN`: the newest one that is available.
    Newest { owner: String, pattern: String },
}

impl AmiName {
    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(id) = text.strip_prefix("ami-") {
            return match is_id(id) {
                true => Ok(Self::Id(text.to_owned())),
                false => Err(format!("{text:?} is no id of an AMI: `ami-` and hexadecimal digits")),
            };
        }
        if let Some(name) = text.strip_prefix("ssm:") {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
            return match !name.is_empty() && name.bytes().all(good) {
                true => Ok(Self::Parameter(name.to_owned())),
                false => Err(format!("{text:?} names no SSM parameter: `ssm:/aws/service/...`")),
            };
        }
        let known = ["self", "amazon", "aws-marketplace", "aws-backup-vault"];
        match text.split_once('/') {
            Some((owner, pattern))
                if (known.contains(&owner) || (owner.len() == 12 && owner.bytes().all(|b| b.is_ascii_digit())))
                    && !pattern.is_empty() =>
            {
                Ok(Self::Newest { owner: owner.to_owned(), pattern: pattern.to_owned() })
            }
            _ => Err(format!(
                "{text:?} names no AMI: write `ami-0abc`, `ssm:/PARAMETER`, or `OWNER/NAME-*` where OWNER is an account of 12 digits, \
                 `self`, `amazon` or `aws-marketplace`"
            )),
        }
    }
}

/// The AMI of this id. `None`: it does not exist.
pub(crate) async fn by_id(cx: &Context, ec2: &Ec2, operation: &'static str, id: &str) -> Result<Option<Image>> {
    let request = ec2.api.describe_images().image_ids(id).send();
    let answer = cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.await) })).await?;
    match answer {
        Ok(found) => Ok(found.images.unwrap_or_default().into_iter().next()),
        Err(e) => {
            let error = ec2.at(operation, "DescribeImages", id).failed(e);
            if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
    }
}

/// Finds the AMI that a name means now.
pub(crate) async fn resolve(
    cx: &Context,
    clients: &Clients,
    ec2: &Ec2,
    operation: &'static str,
    name: &str,
) -> Result<Image> {
    let parsed =
        AmiName::parse(name).map_err(|message| Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message))?;
    let missing = |message: &str| {
        Error::new(ErrorKind::NotFound, PROVIDER, operation, message).with("ami", name).with("region", &ec2.region)
    };
    match parsed {
        AmiName::Id(id) => by_id(cx, ec2, operation, &id).await?.ok_or_else(|| {
            missing("there is no such AMI in this region that the account may use: AMIs differ by region")
        }),
        AmiName::Parameter(parameter) => {
            let id = clients.parameter(cx, operation, &parameter).await?;
            by_id(cx, ec2, operation, &id).await?.ok_or_else(|| {
                missing("the SSM parameter names an AMI that is not in this region").with("id", id.escape_debug())
            })
        }
        AmiName::Newest { owner, pattern } => {
            let request = ec2
                .api
                .describe_images()
                .owners(owner)
                .filters(filter("name", &[&pattern]))
                .filters(filter("state", &["available"]))
                .send();
            let answer = cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.await) })).await?;
            let found = answer.map_err(|e| ec2.at(operation, "DescribeImages", name).failed(e))?;
            let mut images = found.images.unwrap_or_default();
            // The id decides between two of the same moment, so that the answer is the same twice.
            images.sort_by(|a, b| (a.creation_date(), a.image_id()).cmp(&(b.creation_date(), b.image_id())));
            images.pop().ok_or_else(|| missing("no AMI of this owner has such a name in this region"))
        }
    }
}

/// The id, which every AMI that AWS tells of has.
pub(crate) fn id(image: &Image) -> &str {
    image.image_id().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(AmiName::parse("ami-0abc1234").unwrap(), AmiName::Id("ami-0abc1234".into()));
        assert_eq!(AmiName::parse("ssm:/a/b").unwrap(), AmiName::Parameter("/a/b".into()));
        let newest = AmiName::Newest { owner: "136693071363".into(), pattern: "debian-12-*".into() };
        assert_eq!(AmiName::parse("136693071363/debian-12-*").unwrap(), newest);
        assert!(AmiName::parse("amazon/al2023-ami-2023.*/x").is_ok());
        for bad in ["", "debian", "ami-", "ami-xyz", "ssm:", "ssm:a b", "amazn/x", "self/", "12/x"] {
            assert!(AmiName::parse(bad).is_err(), "{bad}");
        }
    }
}
