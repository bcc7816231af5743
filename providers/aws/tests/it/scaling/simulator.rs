//! Auto Scaling as strict and as slow as the real one, where moto is not or has nothing: instances take time and know their launch template's
//! version, instance refreshes, suspended processes. Answers are what the API references of Auto Scaling and EC2 say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use towpath_core::testkit::{HttpReply, HttpRequest, HttpServer};

use crate::simulator::{Fields, error, form, list};

/// The group that there is, and its template.
pub(crate) const GROUP: &str = "web";
pub(crate) const TEMPLATE: &str = "lt-0abc";
/// Instances of this AMI never come into service.
pub(crate) const BAD_AMI: &str = "ami-0bad";

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) health: String,
    pub(crate) protected: bool,
    age: usize,
}

impl Instance {
    fn stays(&self) -> bool {
        !self.state.starts_with("Terminat")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) ami: String,
    pub(crate) description: String,
    pub(crate) kind: String,
    token: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) id: String,
    pub(crate) status: String,
    reason: String,
    version: i64,
    pub(crate) form: Fields,
    age: usize,
    /// How many it has to replace.
    whole: usize,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) desired: usize,
    pub(crate) group_version: String,
    pub(crate) versions: Vec<Version>,
    pub(crate) default: i64,
    pub(crate) instances: Vec<Instance>,
    pub(crate) suspended: BTreeSet<String>,
    pub(crate) tags: Fields,
    pub(crate) refreshes: Vec<Refresh>,
    pub(crate) calls: Vec<String>,
    /// A target group, and which instances are healthy in it; `None`: the group has none.
    pub(crate) target_group: Option<BTreeSet<String>>,
    /// Whether the group mixes instance types, or has a launch configuration.
    pub(crate) mixed: bool,
    pub(crate) configuration: bool,
    /// The fewest instances that ever served.
    pub(crate) fewest: usize,
    /// Whether refreshes wait.
    pub(crate) frozen: bool,
    /// Answers of these calls are lost, after they were carried out.
    pub(crate) loses: Vec<String>,
    /// These calls fail, as often, with this code.
    pub(crate) fails: Vec<(String, usize, String)>,
    pub(crate) images: BTreeMap<String, String>,
    next: usize,
}

pub(crate) struct Simulator {
    server: HttpServer,
    world: Arc<Mutex<World>>,
}

impl Simulator {
    /// A group of `desired` instances of an AMI that is no release.
    pub(crate) fn start(desired: usize, max: usize) -> Self {
        let image = |ami: &str, state: &str| (ami.to_owned(), state.to_owned());
        let mut world = World {
            min: 0,
            max,
            desired,
            group_version: "$Default".into(),
            versions: Vec::new(),
            default: 1,
            instances: Vec::new(),
            suspended: BTreeSet::new(),
            tags: Fields::new(),
            refreshes: Vec::new(),
            calls: Vec::new(),
            target_group: None,
            mixed: false,
            configuration: false,
            fewest: usize::MAX,
            frozen: false,
            loses: Vec::new(),
            fails: Vec::new(),
            images: BTreeMap::from([
                image("ami-00aa", "available"),
                image("ami-00bb", "available"),
                image(BAD_AMI, "available"),
                image("ami-00cc", "pending"),
            ]),
            next: 0,
        };
        world.add_version("ami-0000", "made by Terraform", "t3.small");
        for _ in 0..40 {
            world.tick();
        }
        world.fewest = usize::MAX;
        let world = Arc::new(Mutex::new(world));
        let inner = Arc::clone(&world);
        Self { server: HttpServer::start(move |request| inner.lock().unwrap().answer(&request)), world }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.world().calls.iter().filter(|c| *c == action).count()
    }
}

impl World {
    pub(crate) fn add_version(&mut self, ami: &str, description: &str, kind: &str) {
        let version =
            Version { ami: ami.into(), description: description.into(), kind: kind.into(), token: String::new() };
        self.versions.push(version);
    }

    pub(crate) fn version(&self, number: i64) -> &Version {
        &self.versions[usize::try_from(number).unwrap() - 1]
    }

    /// The AMIs that are running, one for each instance.
    pub(crate) fn amis(&self) -> Vec<String> {
        self.instances.iter().filter(|i| i.stays()).map(|i| self.version(i.version).ami.clone()).collect()
    }

    fn number(&self) -> i64 {
        match self.group_version.as_str() {
            "$Default" => self.default,
            "$Latest" => i64::try_from(self.versions.len()).unwrap(),
            number => number.parse().unwrap(),
        }
    }

    fn serving(&self) -> usize {
        let serves = |i: &&Instance| i.state == "InService" && i.health == "Healthy";
        self.instances.iter().filter(serves).count()
    }

    fn launch(&mut self, version: i64) {
        self.next += 1;
        self.instances.push(Instance {
            id: format!("i-{:04}", self.next),
            version,
            state: "Pending".into(),
            health: "Healthy".into(),
            protected: false,
            age: 0,
        });
    }

    fn end(&mut self, id: &str) {
        for i in self.instances.iter_mut().filter(|i| i.id == id) {
            (i.state, i.age) = ("Terminating".into(), 0);
        }
        if let Some(healthy) = &mut self.target_group {
            healthy.remove(id);
        }
    }

    /// Time goes by with every look.
    fn tick(&mut self) {
        let bad: Vec<i64> = (1..).zip(&self.versions).filter(|(_, v)| v.ami == BAD_AMI).map(|(n, _)| n).collect();
        for i in &mut self.instances {
            i.age += 1;
            if i.state == "Pending" && i.age > 2 && !bad.contains(&i.version) {
                (i.state, i.age) = ("InService".into(), 0);
            }
            // The load balancer's checks take longer than Auto Scaling's.
            if i.state == "InService"
                && i.age > 2
                && let Some(healthy) = &mut self.target_group
            {
                healthy.insert(i.id.clone());
            }
        }
        self.instances.retain(|i| i.state != "Terminating" || i.age <= 2);
        let extra = usize::from(self.refreshes.iter().any(|r| r.status == "InProgress"));
        let staying = self.instances.iter().filter(|i| i.stays()).count();
        if staying < self.desired && !self.suspended.contains("Launch") {
            let number = self.number();
            self.launch(number);
        }
        if staying > self.desired + extra
            && let Some(oldest) = self.instances.iter().find(|i| i.stays()).map(|i| i.id.clone())
        {
            self.end(&oldest);
        }
        if !self.frozen {
            self.refresh();
        }
        self.fewest = self.fewest.min(self.serving());
    }

    fn refresh(&mut self) {
        let Some(mut r) = self.refreshes.pop() else { return };
        r.age += 1;
        let old: Vec<String> =
            self.instances.iter().filter(|i| i.stays() && i.version != r.version).map(|i| i.id.clone()).collect();
        match r.status.as_str() {
            "Pending" => (r.status, r.whole) = ("InProgress".into(), old.len()),
            "Cancelling" => r.status = "Cancelled".into(),
            "InProgress" => {
                let new = |i: &&Instance| i.stays() && i.version == r.version;
                let starting = self.instances.iter().filter(new).any(|i| i.state == "Pending");
                if r.form.contains_key("Preferences.AlarmSpecification.Alarms.member.1") && r.age > 3 {
                    (r.status, r.reason) = ("Failed".into(), "The alarm too-many-errors is in ALARM".into());
                } else if starting && r.age > 25 {
                    (r.status, r.reason) = ("Failed".into(), "Instances failed their health check".into());
                    for i in self.instances.iter_mut().filter(|i| i.version == r.version && i.state == "Pending") {
                        (i.state, i.age) = ("Terminating".into(), 0);
                    }
                } else if !starting && old.is_empty() {
                    r.status = "Successful".into();
                    self.group_version = r.version.to_string();
                } else if !starting && self.serving() > self.desired {
                    self.end(&old[0]);
                } else if !starting {
                    self.launch(r.version);
                }
            }
            _ => {}
        }
        self.refreshes.push(r);
    }

    fn answer(&mut self, request: &HttpRequest) -> HttpReply {
        let form = form(&request.body);
        let action = form.get("Action").cloned().unwrap_or_default();
        self.calls.push(action.clone());
        if let Some(fault) = self.fails.iter_mut().find(|(a, times, _)| *a == action && *times > 0) {
            fault.1 -= 1;
            return query_error(&fault.2, "AWS's words");
        }
        let ec2 = form.get("Version").is_some_and(|v| v == "2016-11-15");
        let reply = match self.act(&action, &form) {
            Err(code) => return any_error(ec2, code),
            Ok(xml) if ec2 => format!("<{action}Response>{xml}</{action}Response>"),
            Ok(xml) => format!("<{action}Response><{action}Result>{xml}</{action}Result></{action}Response>"),
        };
        if let Some(n) = self.loses.iter().position(|a| *a == action) {
            self.loses.remove(n);
            return HttpReply::Close;
        }
        HttpReply::Answer(200, "text/xml".into(), reply.into_bytes())
    }

    fn act(&mut self, action: &str, form: &Fields) -> Result<String, (&'static str, String)> {
        let text = |name: &str| form.get(name).cloned().unwrap_or_default();
        let group = form.get("AutoScalingGroupName").cloned().unwrap_or_else(|| GROUP.into());
        if group != GROUP {
            return Err(("ValidationError", format!("AutoScalingGroup name not found - {group}")));
        }
        match action {
            "GetCallerIdentity" => Ok("<Arn>arn:aws:iam::123456789012:user/x</Arn><Account>123456789012</Account>".into()),
            "DescribeImages" => {
                let id = text("ImageId.1");
                let state = self.images.get(&id).ok_or(("InvalidAMIID.NotFound", id.clone()))?;
                Ok(format!("<imagesSet><item><imageId>{id}</imageId><imageState>{state}</imageState></item></imagesSet>"))
            }
            "DescribeLaunchTemplateVersions" => Ok(self.template_versions()),
            "CreateLaunchTemplateVersion" => {
                let token = text("ClientToken");
                if !self.versions.iter().any(|v| v.token == token) {
                    let base = self.version(text("SourceVersion").parse().unwrap()).clone();
                    self.versions.push(Version {
                        ami: text("LaunchTemplateData.ImageId"),
                        description: text("VersionDescription"),
                        kind: base.kind,
                        token: token.clone(),
                    });
                }
                let number = self.versions.iter().position(|v| v.token == token).unwrap() + 1;
                Ok(format!("<launchTemplateVersion><versionNumber>{number}</versionNumber></launchTemplateVersion>"))
            }
            "DescribeAutoScalingGroups" => {
                self.tick();
                let wanted = list(form, "AutoScalingGroupNames.member.");
                let shown = wanted.is_empty() || wanted.iter().any(|n| n == GROUP);
                Ok(format!("<AutoScalingGroups>{}</AutoScalingGroups>", if shown { self.group() } else { String::new() }))
            }
            "UpdateAutoScalingGroup" => {
                let plain = form.get("LaunchTemplate.Version");
                let mixed = form.get("MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.Version");
                self.group_version = plain.or(mixed).unwrap().clone();
                Ok(String::new())
            }
            "SetDesiredCapacity" => {
                let n: usize = text("DesiredCapacity").parse().unwrap();
                if n > self.max || n < self.min {
                    return Err(("ValidationError", "New SetDesiredCapacity value is out of the group's range".into()));
                }
                self.desired = n;
                Ok(String::new())
            }
            "TerminateInstanceInAutoScalingGroup" => {
                let id = text("InstanceId");
                if !self.instances.iter().any(|i| i.id == id && i.stays()) {
                    return Err(("ValidationError", format!("Instance Id not found - {id}")));
                }
                if text("ShouldDecrementDesiredCapacity") == "true" {
                    self.desired -= 1;
                }
                self.end(&id);
                Ok(String::new())
            }
            "DescribeScalingActivities" => Ok(
                "<Activities><member><StatusCode>Failed</StatusCode><StatusMessage>Instance became unhealthy while waiting</StatusMessage></member></Activities>"
                    .into(),
            ),
            "SuspendProcesses" => {
                self.suspended.extend(list(form, "ScalingProcesses.member."));
                Ok(String::new())
            }
            "ResumeProcesses" => {
                let names = list(form, "ScalingProcesses.member.");
                self.suspended.retain(|s| !names.is_empty() && !names.contains(s));
                Ok(String::new())
            }
            "CreateOrUpdateTags" => {
                self.tags.insert(text("Tags.member.1.Key"), text("Tags.member.1.Value"));
                Ok(String::new())
            }
            "DeleteTags" => {
                self.tags.remove(&text("Tags.member.1.Key"));
                Ok(String::new())
            }
            "DescribeTargetHealth" => {
                let healthy = self.target_group.clone().unwrap_or_default();
                let targets: String = healthy
                    .iter()
                    .map(|id| format!("<member><Target><Id>{id}</Id><Port>80</Port></Target><TargetHealth><State>healthy</State></TargetHealth></member>"))
                    .collect();
                Ok(format!("<TargetHealthDescriptions>{targets}</TargetHealthDescriptions>"))
            }
            _ => self.act_on_refreshes(action, form),
        }
    }

    fn act_on_refreshes(&mut self, action: &str, form: &Fields) -> Result<String, (&'static str, String)> {
        let active = |r: &Refresh| ["Pending", "InProgress", "Cancelling"].contains(&r.status.as_str());
        match action {
            "StartInstanceRefresh" => {
                if let Some(r) = self.refreshes.iter().find(|r| active(r)) {
                    return Err(("InstanceRefreshInProgress", format!("An Instance Refresh {} is in progress", r.id)));
                }
                let plain = form.get("DesiredConfiguration.LaunchTemplate.Version");
                let mixed = form.get(
                    "DesiredConfiguration.MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.Version",
                );
                let version = plain.or(mixed).unwrap().parse().unwrap();
                let id = format!("refresh-{}", self.refreshes.len() + 1);
                self.refreshes.push(Refresh {
                    id: id.clone(),
                    status: "Pending".into(),
                    reason: String::new(),
                    version,
                    form: form.clone(),
                    age: 0,
                    whole: 0,
                });
                Ok(format!("<InstanceRefreshId>{id}</InstanceRefreshId>"))
            }
            "CancelInstanceRefresh" => {
                let none =
                    || ("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh".to_owned());
                self.refreshes.iter_mut().find(|r| active(r)).ok_or_else(none)?.status = "Cancelling".into();
                Ok(String::new())
            }
            "DescribeInstanceRefreshes" => {
                self.tick();
                let ids = list(form, "InstanceRefreshIds.member.");
                let wanted = |r: &&Refresh| ids.is_empty() || ids.contains(&r.id);
                let mut out = String::new();
                for r in self.refreshes.iter().rev().filter(wanted) {
                    let left = self.instances.iter().filter(|i| i.stays() && i.version != r.version).count();
                    let percent = (100 * (r.whole - left.min(r.whole))).checked_div(r.whole).unwrap_or(0);
                    let _ = write!(
                        out,
                        "<member><InstanceRefreshId>{}</InstanceRefreshId><Status>{}</Status><StatusReason>{}</StatusReason>\
                         <PercentageComplete>{percent}</PercentageComplete><InstancesToUpdate>{left}</InstancesToUpdate>\
                         <DesiredConfiguration><LaunchTemplate><LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>{}</Version></LaunchTemplate></DesiredConfiguration></member>",
                        r.id, r.status, r.reason, r.version
                    );
                }
                Ok(format!("<InstanceRefreshes>{out}</InstanceRefreshes>"))
            }
            _ => Err(("InvalidAction", action.to_owned())),
        }
    }

    fn template_versions(&self) -> String {
        let mut out = String::new();
        for (n, v) in (1i64..).zip(&self.versions) {
            let _ = write!(
                out,
                "<item><launchTemplateId>{TEMPLATE}</launchTemplateId><versionNumber>{n}</versionNumber><versionDescription>{}</versionDescription>\
                 <defaultVersion>{}</defaultVersion><launchTemplateData><imageId>{}</imageId><instanceType>{}</instanceType></launchTemplateData></item>",
                v.description,
                n == self.default,
                v.ami,
                v.kind
            );
        }
        format!("<launchTemplateVersionSet>{out}</launchTemplateVersionSet>")
    }

    fn group(&self) -> String {
        let mut instances = String::new();
        for i in &self.instances {
            let _ = write!(
                instances,
                "<member><InstanceId>{}</InstanceId><LifecycleState>{}</LifecycleState><HealthStatus>{}</HealthStatus><ProtectedFromScaleIn>{}</ProtectedFromScaleIn>\
                 <LaunchTemplate><LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>{}</Version></LaunchTemplate></member>",
                i.id, i.state, i.health, i.protected, i.version
            );
        }
        let suspended: String =
            self.suspended.iter().map(|s| format!("<member><ProcessName>{s}</ProcessName></member>")).collect();
        let tags: String =
            self.tags.iter().map(|(k, v)| format!("<member><Key>{k}</Key><Value>{v}</Value></member>")).collect();
        let spec = format!("<LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>{}</Version>", self.group_version);
        let from = match (self.configuration, self.mixed) {
            (true, _) => "<LaunchConfigurationName>old</LaunchConfigurationName>".to_owned(),
            (_, true) => format!(
                "<MixedInstancesPolicy><LaunchTemplate><LaunchTemplateSpecification>{spec}</LaunchTemplateSpecification>\
                 <Overrides><member><InstanceType>m5.large</InstanceType></member></Overrides></LaunchTemplate></MixedInstancesPolicy>"
            ),
            _ => format!("<LaunchTemplate>{spec}</LaunchTemplate>"),
        };
        let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/1";
        let target_groups = self.target_group.as_ref().map(|_| format!("<member>{arn}</member>")).unwrap_or_default();
        format!(
            "<member><AutoScalingGroupName>{GROUP}</AutoScalingGroupName><MinSize>{}</MinSize><MaxSize>{}</MaxSize><DesiredCapacity>{}</DesiredCapacity>\
             {from}<Instances>{instances}</Instances><SuspendedProcesses>{suspended}</SuspendedProcesses><Tags>{tags}</Tags>\
             <TargetGroupARNs>{target_groups}</TargetGroupARNs></member>",
            self.min, self.max, self.desired
        )
    }
}

/// An error in the form that its service has.
fn any_error(ec2: bool, (code, message): (&str, String)) -> HttpReply {
    if ec2 { error(400, code) } else { query_error(code, &message) }
}

/// The form that errors have of all services but EC2.
pub(crate) fn query_error(code: &str, message: &str) -> HttpReply {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
    );
    HttpReply::Answer(400, "text/xml".into(), body.into_bytes())
}
