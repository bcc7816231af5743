//! Failures of AWS as towpath's errors: the only place that reads error codes.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use towpath_core::{Context, Error, ErrorKind, Retry};

use crate::PROVIDER;

/// Where a request belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// towpath's verb.
    pub(crate) operation: &'static str,
    /// AWS's operation.
    pub(crate) api: &'static str,
    pub(crate) region: &'a str,
    /// What it was about: an id, a name.
    pub(crate) resource: &'a str,
}

/// What a code means for the caller.
struct Meaning {
    kind: ErrorKind,
    retry: Retry,
    /// What happened and what to do next.
    says: &'static str,
}

const fn meaning(kind: ErrorKind, retry: Retry, says: &'static str) -> Meaning {
    Meaning { kind, retry, says }
}

/// Reads an error code. Sources: "Error codes for the Amazon EC2 API" in the EC2 API reference, and the errors that the API references of
/// Auto Scaling and Elastic Load Balancing list with each operation.
fn of_code(code: &str) -> Option<Meaning> {
    use ErrorKind as K;
    use Retry::{Later, Never};
    Some(match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => {
            meaning(K::Denied, Never, "the credentials have expired: log in again (`aws sso login`), or renew them")
        }
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "IncompleteSignature" => meaning(
            K::Denied,
            Never,
            "AWS does not accept the credentials: check the profile, the keys and this machine's clock",
        ),
        "OptInRequired" | "Blocked" | "PendingVerification" => meaning(
            K::Denied,
            Never,
            "the account may not use this yet: open the AWS console and finish what it asks for",
        ),
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            meaning(K::Denied, Never, "the credentials lack a permission: allow this operation in IAM")
        }
        "OperationNotPermitted" => meaning(
            K::Denied,
            Never,
            "a protection forbids it (termination, stop or deregistration protection): switch it off first",
        ),
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "EC2ThrottledException"
        | "SlowDown" => {
            // The SDK has tried again with pauses already.
            meaning(
                K::Timeout,
                Later,
                "AWS throttles the account's requests: try again later, or raise `client.max_attempts`",
            )
        }
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientCapacity"
        | "InsufficientCapacityOnHost"
        | "InsufficientReservedInstanceCapacity"
        | "SpotMaxPriceTooLow"
        | "Server.InsufficientInstanceCapacity"
        | "Server.SpotInstanceTermination"
        | "Unsupported.Capacity" => meaning(
            K::Conflict,
            Later,
            "AWS has no capacity for this now: try later, another instance type, or more `subnets` in other zones",
        ),
        "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "VolumeLimitExceeded"
        | "Client.VolumeLimitExceeded"
        | "Client.InstanceLimitExceeded"
        | "SnapshotLimitExceeded"
        | "SecurityGroupLimitExceeded"
        | "AddressLimitExceeded"
        | "ResourceLimitExceeded"
        | "TagLimitExceeded"
        | "ConcurrentSnapshotLimitExceeded"
        | "NetworkInterfaceLimitExceeded"
        | "LimitExceeded"
        | "TooManyTargets"
        | "TooManyRegistrationsForTargetId"
        | "TooManyTags"
        | "AMIQuotaExceeded" => meaning(
            K::Unsupported,
            Never,
            "the account's quota is used up: ask for a higher one in Service Quotas, or remove what is not needed",
        ),
        "IncorrectInstanceState"
        | "IncorrectState"
        | "DependencyViolation"
        | "InstanceRefreshInProgress"
        | "ScalingActivityInProgress"
        | "ResourceContention"
        | "ResourceInUse"
        | "InvalidAMIID.Unavailable" => {
            meaning(K::Conflict, Later, "it is in a state in which this can't be done now: try again later")
        }
        "IdempotentParameterMismatch" | "IdempotentInstanceTerminated" => meaning(
            K::Conflict,
            Never,
            "the same request was made before with other settings: wait until the old instance is gone",
        ),
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" | "ServerInternal" => {
            meaning(K::Unreachable, Later, "AWS can't answer now: try again later, and look at its health page")
        }
        "UnknownParameter" | "ParameterNotFound" => {
            meaning(K::NotFound, Never, "there is no such parameter in this region")
        }
        "Unsupported" | "UnsupportedOperation" | "UnsupportedImageType" | "UnsupportedHibernationConfiguration" => {
            meaning(
                K::InvalidInput,
                Never,
                "AWS does not support this combination: check instance type, AMI and subnet",
            )
        }
        _ if code.ends_with(".Duplicate") || code.ends_with("AlreadyExistsException") => {
            meaning(K::AlreadyExists, Never, "something of this name exists already: choose another name, or remove it")
        }
        _ if code.ends_with(".NotFound")
            || code.ends_with("NotFoundException")
            || matches!(code, "TargetGroupNotFound" | "ActiveInstanceRefreshNotFound") =>
        {
            meaning(
                K::NotFound,
                Never,
                "it does not exist in this region and account: check the id and `client.region`",
            )
        }
        _ if code.starts_with("Invalid")
            || code.starts_with("Missing")
            || code.starts_with("VPC")
            || code == "ValidationError" =>
        {
            meaning(K::InvalidInput, Never, "AWS does not accept a setting: mend the config")
        }
        _ => return None,
    })
}

/// The same reading for the reason that an instance gives for its end.
pub(crate) fn of_reason(code: &str) -> Option<(ErrorKind, Retry, &'static str)> {
    of_code(code).map(|m| (m.kind, m.retry, m.says))
}

/// Whether a cause is of this type.
fn find<'a, T: StdError + 'static>(e: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(e);
    while let Some(c) = cause {
        if let Some(found) = c.downcast_ref::<T>() {
            return Some(found);
        }
        cause = c.source();
    }
    None
}

/// A failure without an answer that can be read.
fn without_answer<E>(e: &SdkError<E, HttpResponse>) -> Meaning
where
    E: StdError + 'static,
{
    use ErrorKind as K;
    use Retry::{Later, Never};
    if let Some(credentials) = find::<CredentialsError>(e) {
        return match credentials {
            CredentialsError::CredentialsNotLoaded(_) => meaning(
                K::Denied,
                Never,
                "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a `client.profile`, or log in (`aws sso login`)",
            ),
            CredentialsError::ProviderTimedOut(_) => meaning(
                K::Denied,
                Never,
                "where the credentials should come from does not answer: set them in the environment, or name a `client.profile`",
            ),
            CredentialsError::InvalidConfiguration(_) => meaning(
                K::InvalidInput,
                Never,
                "the AWS configuration is wrong: mend ~/.aws/config or ~/.aws/credentials",
            ),
            _ => meaning(
                K::Denied,
                Never,
                "the credentials can't be had: log in again (`aws sso login`), or check the profile",
            ),
        };
    }
    let status = e.raw_response().map(|r| r.status().as_u16());
    match (e, status) {
        (SdkError::ConstructionFailure(_), _) => {
            meaning(K::InvalidInput, Never, "the request can't be made: mend the config")
        }
        (SdkError::TimeoutError(_), _) => {
            meaning(K::Timeout, Later, "AWS did not answer in time: try again, or raise `client.request_timeout_s`")
        }
        (_, Some(429)) => meaning(K::Timeout, Later, "AWS throttles the account's requests: try again later"),
        (_, Some(502..=504)) => {
            meaning(K::Unreachable, Later, "something before AWS can't answer now: try again later")
        }
        (_, Some(401 | 403)) => meaning(K::Denied, Never, "the request was refused: check credentials and permissions"),
        (_, Some(_)) => meaning(
            K::Protocol,
            Never,
            "the answer makes no sense: is `client.endpoint_url` an AWS endpoint, and does it know this operation?",
        ),
        (SdkError::DispatchFailure(d), None) if d.is_timeout() => {
            meaning(K::Unreachable, Later, "AWS can't be reached in time: check network and proxy")
        }
        _ => meaning(
            K::Unreachable,
            Later,
            "AWS can't be reached: check network, proxy, region and `client.endpoint_url`",
        ),
    }
}

impl At<'_> {
    /// Asks, and reads a failure. For questions only: a cancel drops the request.
    pub(crate) async fn ask<T, E>(
        &self,
        cx: &Context,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Error>
    where
        T: Send,
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let answer = cx.guard(PROVIDER, self.operation, Box::pin(async { Ok(request.await) })).await?;
        answer.map_err(|e| self.failed(e))
    }

    /// An error of this request.
    pub(crate) fn error(&self, kind: ErrorKind, says: impl std::fmt::Display) -> Error {
        Error::new(kind, PROVIDER, self.operation, format!("{} failed: {says}", self.api))
            .with("resource", self.resource)
            .with("region", self.region)
    }

    /// Reads a failure.
    pub(crate) fn failed<E>(&self, e: SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let code = e.code().map(str::to_owned);
        let meaning = match &code {
            Some(code) => of_code(code).unwrap_or_else(|| {
                meaning(ErrorKind::ToolFailed, Retry::Never, "AWS refuses it; its own words follow")
            }),
            None => without_answer(&e),
        };
        let mut error = self.error(meaning.kind, meaning.says);
        if let Some(code) = &code {
            error = error.with("code", code);
        }
        if let Some(status) = e.raw_response().map(|r| r.status().as_u16()).filter(|_| code.is_none()) {
            error = error.with("status", status);
        }
        if let Some(id) = e.meta().extra("aws_request_id") {
            error = error.with("request", id);
        }
        if meaning.retry == Retry::Later {
            error = error.retry_later();
        }
        match e.message().map(str::to_owned) {
            Some(words) => error.caused_by(words),
            // An answer that can't be read is shown by its beginning only: it may be a whole page.
            None => error.caused_by(innermost(&e)),
        }
    }
}

/// The innermost cause, shortened.
fn innermost(e: &(dyn StdError + 'static)) -> String {
    let mut last = e;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string().chars().take(300).collect()
}

/// Whether a failure is of one of these codes.
pub(crate) fn is(error: &Error, codes: &[&str]) -> bool {
    error.get("code").is_some_and(|c| codes.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_a_caller_acts_on_differently_are_different() {
        let of = |code: &str| of_code(code).map(|m| (m.kind, m.retry));
        let four =
            ["ExpiredToken", "RequestLimitExceeded", "InsufficientInstanceCapacity", "VcpuLimitExceeded"].map(of);
        for (n, one) in four.iter().enumerate() {
            assert!(one.is_some() && four.iter().skip(n + 1).all(|other| other != one), "{four:?}");
        }
        assert_eq!(of("InvalidAMIID.NotFound"), Some((ErrorKind::NotFound, Retry::Never)));
        assert_eq!(of("InvalidAMIName.Duplicate"), Some((ErrorKind::AlreadyExists, Retry::Never)));
        assert_eq!(of("InvalidParameterValue"), Some((ErrorKind::InvalidInput, Retry::Never)));
        assert_eq!(of("SomethingNew"), None);
    }
}
