//! An EC2 that is as slow and as strict as the real one, where moto is not: states take time, client tokens and AMI names count, and
//! faults can be ordered. Answers are what the EC2 API reference says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use towpath_core::testkit::{HttpReply, HttpRequest, HttpServer};

pub(crate) type Fields = BTreeMap<String, String>;

/// Something that exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thing {
    pub(crate) state: String,
    pub(crate) tags: Fields,
    pub(crate) fields: Fields,
    /// Looks until its state moves on.
    looks: usize,
}

#[derive(Debug)]
enum Fault {
    Code(u16, String),
    /// An HTML page.
    Page,
    /// It is done, and the answer is lost.
    Lost,
    /// A new instance ends at once, for this reason.
    Dies(String),
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) things: BTreeMap<String, Thing>,
    pub(crate) calls: Vec<String>,
    /// For which action, after how many calls, how often, what.
    faults: Vec<(String, usize, usize, Fault)>,
    /// Tokens of requests, and what they made.
    tokens: BTreeMap<String, String>,
    next: usize,
    /// The state that new AMIs reach; `available` if empty.
    pub(crate) images_become: String,
}

/// The simulator.
pub(crate) struct Simulator {
    server: HttpServer,
    world: Arc<Mutex<World>>,
}

pub(crate) const BASE: &str = "ami-0000ba5e";

impl Simulator {
    pub(crate) fn start() -> Self {
        let mut world = World::default();
        let fields = Fields::from([("name".into(), "base".into()), ("owner".into(), "amazon".into())]);
        world.things.insert(BASE.into(), Thing { state: "available".into(), fields, ..Thing::default() });
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

    fn fault(&self, action: &str, times: usize, fault: Fault) {
        self.world().faults.push((action.into(), 0, times, fault));
    }

    /// The next `times` calls of `action` fail with this code.
    pub(crate) fn fails(&self, action: &str, times: usize, status: u16, code: &str) {
        self.fault(action, times, Fault::Code(status, code.into()));
    }

    /// As [`fails`](Self::fails), after so many calls that go well.
    pub(crate) fn fails_after(&self, action: &str, skip: usize, times: usize, status: u16, code: &str) {
        self.world().faults.push((action.into(), skip, times, Fault::Code(status, code.into())));
    }

    pub(crate) fn answers_a_page(&self, action: &str, times: usize) {
        self.fault(action, times, Fault::Page);
    }

    pub(crate) fn loses_the_answer(&self, action: &str, times: usize) {
        self.fault(action, times, Fault::Lost);
    }

    pub(crate) fn new_instance_dies(&self, reason: &str) {
        self.fault("RunInstances", 1, Fault::Dies(reason.into()));
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.world().calls.iter().filter(|c| *c == action).count()
    }

    /// Ids of what lives, without the base.
    pub(crate) fn living(&self) -> Vec<String> {
        let dead = ["terminated", "deregistered"];
        let world = self.world();
        let lives = world.things.iter().filter(|(id, t)| *id != BASE && !dead.contains(&t.state.as_str()));
        lives.map(|(id, _)| id.clone()).collect()
    }
}

impl World {
    fn answer(&mut self, request: &HttpRequest) -> HttpReply {
        let form = form(&request.body);
        let action = form.get("Action").cloned().unwrap_or_default();
        self.calls.push(action.clone());
        let fault = self.faults.iter_mut().find(|(a, _, times, _)| *a == action && *times > 0);
        let mut dies = None;
        let mut lost = false;
        match fault {
            Some((_, skip, ..)) if *skip > 0 => *skip -= 1,
            Some((_, _, times, fault)) => {
                *times -= 1;
                match fault {
                    Fault::Code(status, code) => return error(*status, code),
                    Fault::Page => {
                        return HttpReply::Answer(500, "text/html".into(), b"<!doctype html><h1>Oops</h1>".into());
                    }
                    Fault::Lost => lost = true,
                    Fault::Dies(reason) => dies = Some(reason.clone()),
                }
            }
            None => {}
        }
        let reply = match self.act(&action, &form, dies) {
            Ok(inner) => {
                let body = format!(
                    "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{inner}</{action}Response>"
                );
                HttpReply::Answer(200, "text/xml".into(), body.into_bytes())
            }
            Err(code) => error(400, code),
        };
        if lost { HttpReply::Close } else { reply }
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}-{:08x}", self.next)
    }

    fn act(&mut self, action: &str, form: &Fields, dies: Option<String>) -> Result<String, &'static str> {
        let text = |name: &str| form.get(name).cloned().unwrap_or_default();
        match action {
            "RunInstances" => self.run(form, dies),
            "DescribeInstances" => Ok(self.describe_instances(form)),
            "TerminateInstances" => self.change(form, "InstanceId.1", "shutting-down"),
            "StopInstances" => self.change(form, "InstanceId.1", "stopping"),
            "StartInstances" => self.change(form, "InstanceId.1", "pending"),
            "CreateImage" => {
                let name = text("Name");
                let taken = |t: &Thing| t.state != "deregistered" && t.fields.get("name") == Some(&name);
                if self.things.values().any(taken) {
                    return Err("InvalidAMIName.Duplicate");
                }
                let (id, snapshot) = (self.id("ami"), self.id("snap"));
                let tags = tags(form);
                self.things.insert(
                    snapshot.clone(),
                    Thing { state: "pending".into(), tags: tags.clone(), ..Thing::default() },
                );
                let fields = Fields::from([
                    ("name".into(), name),
                    ("owner".into(), "self".into()),
                    ("snapshot".into(), snapshot),
                ]);
                self.things.insert(id.clone(), Thing { state: "pending".into(), tags, fields, looks: 0 });
                Ok(format!("<imageId>{id}</imageId>"))
            }
            "DescribeImages" => self.describe_images(form),
            "DeregisterImage" => {
                let id = text("ImageId");
                self.things.get_mut(&id).ok_or("InvalidAMIID.NotFound")?.state = "deregistered".into();
                Ok("<return>true</return>".into())
            }
            "DeleteSnapshot" => {
                let id = text("SnapshotId");
                let uses = |t: &Thing| t.state != "deregistered" && t.fields.get("snapshot") == Some(&id);
                if self.things.values().any(uses) {
                    return Err("InvalidSnapshot.InUse");
                }
                self.things.remove(&id).ok_or("InvalidSnapshot.NotFound")?;
                Ok("<return>true</return>".into())
            }
            "CreateTags" => {
                let tags = tags_at(form, "Tag.");
                for id in list(form, "ResourceId.") {
                    self.things.get_mut(&id).ok_or("InvalidID.NotFound")?.tags.extend(tags.clone());
                }
                Ok("<return>true</return>".into())
            }
            "DescribeSnapshots" => {
                let mut out = String::new();
                for (id, t) in self.things.iter().filter(|(id, t)| id.starts_with("snap-") && matches(form, id, t)) {
                    let _ = write!(out, "<item><snapshotId>{id}</snapshotId>{}</item>", tag_set(&t.tags));
                }
                Ok(format!("<snapshotSet>{out}</snapshotSet>"))
            }
            "DescribeVolumes" => Ok("<volumeSet/>".into()),
            "DescribeKeyPairs" => Ok("<keySet/>".into()),
            "DescribeSecurityGroups" => Ok("<securityGroupInfo/>".into()),
            _ => Err("InvalidAction"),
        }
    }

    fn run(&mut self, form: &Fields, dies: Option<String>) -> Result<String, &'static str> {
        let token = form.get("ClientToken").cloned().unwrap_or_default();
        if let Some(id) = self.tokens.get(&token) {
            let state = self.things[id].state.clone();
            if state == "terminated" {
                return Err("IdempotentInstanceTerminated");
            }
            return Ok(format!("<instancesSet><item><instanceId>{id}</instanceId></item></instancesSet>"));
        }
        let id = self.id("i");
        let mut fields = Fields::from([("token".into(), token.clone())]);
        for name in ["ImageId", "InstanceType", "SubnetId"] {
            fields.insert(name.into(), form.get(name).cloned().unwrap_or_default());
        }
        fields.extend(dies.map(|reason| ("dies".to_owned(), reason)));
        self.tokens.insert(token, id.clone());
        self.things.insert(id.clone(), Thing { state: "pending".into(), tags: tags(form), fields, looks: 0 });
        Ok(format!("<instancesSet><item><instanceId>{id}</instanceId></item></instancesSet>"))
    }

    fn change(&mut self, form: &Fields, name: &str, to: &str) -> Result<String, &'static str> {
        let thing = form.get(name).and_then(|id| self.things.get_mut(id)).ok_or("InvalidInstanceID.NotFound")?;
        if thing.state != "terminated" {
            (thing.state, thing.looks) = (to.into(), 0);
        }
        Ok("<instancesSet/>".into())
    }

    fn describe_instances(&mut self, form: &Fields) -> String {
        let mut out = String::new();
        for (id, t) in self.things.iter_mut().filter(|(id, _)| id.starts_with("i-")) {
            if !matches(form, id, t) {
                continue;
            }
            // Each state is seen twice.
            t.looks += 1;
            if t.looks > 2 {
                t.state = match t.state.as_str() {
                    "pending" if t.fields.contains_key("dies") => "terminated",
                    "pending" => "running",
                    "stopping" => "stopped",
                    "shutting-down" => "terminated",
                    other => other,
                }
                .to_owned();
            }
            let f = |name: &str| t.fields.get(name).cloned().unwrap_or_default();
            let _ = write!(
                out,
                "<item><instancesSet><item><instanceId>{id}</instanceId><imageId>{}</imageId><instanceState><code>0</code><name>{}</name></instanceState>\
                 <instanceType>{}</instanceType><subnetId>{}</subnetId><clientToken>{}</clientToken><privateIpAddress>10.0.0.7</privateIpAddress>\
                 <stateReason><code>{}</code><message>its words</message></stateReason>{}</item></instancesSet></item>",
                f("ImageId"),
                t.state,
                f("InstanceType"),
                f("SubnetId"),
                f("token"),
                f("dies"),
                tag_set(&t.tags)
            );
        }
        format!("<reservationSet>{out}</reservationSet>")
    }

    fn describe_images(&mut self, form: &Fields) -> Result<String, &'static str> {
        let owner = form.get("Owner.1").cloned();
        let become_ = if self.images_become.is_empty() { "available".to_owned() } else { self.images_become.clone() };
        let mut out = String::new();
        let mut found = 0;
        for (id, t) in self.things.iter_mut().filter(|(id, t)| id.starts_with("ami-") && t.state != "deregistered") {
            let f = |name: &str| t.fields.get(name).cloned().unwrap_or_default();
            if !matches(form, id, t) || owner.as_ref().is_some_and(|o| *o != f("owner")) {
                continue;
            }
            found += 1;
            t.looks += 1;
            if t.looks > 2 && t.state == "pending" {
                t.state = become_.clone();
            }
            let snapshot = match f("snapshot").as_str() {
                "" => String::new(),
                s => format!(
                    "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>{s}</snapshotId></ebs></item></blockDeviceMapping>"
                ),
            };
            let _ = write!(
                out,
                "<item><imageId>{id}</imageId><imageState>{}</imageState><name>{}</name><creationDate>2026-01-01T00:00:00.000Z</creationDate>\
                 <rootDeviceName>/dev/xvda</rootDeviceName>{snapshot}{}</item>",
                t.state,
                f("name"),
                tag_set(&t.tags)
            );
        }
        if found == 0 && form.contains_key("ImageId.1") {
            return Err("InvalidAMIID.NotFound");
        }
        Ok(format!("<imagesSet>{out}</imagesSet>"))
    }
}

pub(crate) fn error(status: u16, code: &str) -> HttpReply {
    let body = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>AWS's words</Message></Error></Errors><RequestID>r-1</RequestID></Response>"
    );
    HttpReply::Answer(status, "text/xml".into(), body.into_bytes())
}

pub(crate) fn form(body: &[u8]) -> Fields {
    let text = String::from_utf8_lossy(body).into_owned();
    let decode = |s: &str| {
        let bytes = s.replace('+', " ").into_bytes();
        let mut out = Vec::new();
        let mut n = 0;
        while n < bytes.len() {
            if bytes[n] == b'%' {
                out.push(u8::from_str_radix(std::str::from_utf8(&bytes[n + 1..n + 3]).unwrap(), 16).unwrap());
                n += 3;
            } else {
                out.push(bytes[n]);
                n += 1;
            }
        }
        String::from_utf8(out).unwrap()
    };
    text.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect()
}

pub(crate) fn list(form: &Fields, prefix: &str) -> Vec<String> {
    (1..).map_while(|n| form.get(&format!("{prefix}{n}")).cloned()).collect()
}

fn tags_at(form: &Fields, prefix: &str) -> Fields {
    (1..)
        .map_while(|n| {
            let key = form.get(&format!("{prefix}{n}.Key"))?.clone();
            Some((key, form.get(&format!("{prefix}{n}.Value")).cloned().unwrap_or_default()))
        })
        .collect()
}

fn tags(form: &Fields) -> Fields {
    tags_at(form, "TagSpecification.1.Tag.")
}

fn tag_set(tags: &Fields) -> String {
    let items: String = tags.iter().map(|(k, v)| format!("<item><key>{k}</key><value>{v}</value></item>")).collect();
    format!("<tagSet>{items}</tagSet>")
}

/// Whether the filters and ids of a request take this.
fn matches(form: &Fields, id: &str, t: &Thing) -> bool {
    let ids: Vec<String> = ["InstanceId.", "ImageId."].iter().flat_map(|p| list(form, p)).collect();
    let filters = (1..).map_while(|n| form.get(&format!("Filter.{n}.Name")).map(|name| (n, name.clone())));
    let fits = |(n, name): (usize, String)| {
        let values = list(form, &format!("Filter.{n}.Value."));
        let actual = match name.strip_prefix("tag:") {
            Some(tag) => t.tags.get(tag).cloned(),
            None => match name.as_str() {
                "instance-id" => Some(id.to_owned()),
                "instance-state-name" | "state" => Some(t.state.clone()),
                "client-token" => t.fields.get("token").cloned(),
                "name" => t.fields.get("name").cloned(),
                other => panic!("the simulator does not know the filter {other}"),
            },
        };
        actual.is_some_and(|a| values.contains(&a))
    };
    (ids.is_empty() || ids.iter().any(|i| i == id)) && filters.into_iter().all(fits)
}
