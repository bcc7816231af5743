//! A load balancer whose target group is as slow as the real one, where moto is not: targets are checked before they are healthy, and drain
//! while connections are open. Connections through it are real ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use towpath_core::testkit::{HttpReply, HttpRequest, HttpServer};

use crate::scaling::query_error;
use crate::simulator::{Fields, form, list};

pub(crate) const ARN: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123";

#[derive(Debug, Default, Clone)]
pub(crate) struct Target {
    pub(crate) state: String,
    pub(crate) connections: usize,
    looks: usize,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) kind: String,
    pub(crate) targets: BTreeMap<(String, u16), Target>,
    pub(crate) tags: Fields,
    pub(crate) calls: Vec<String>,
    /// Instances by id: the tag `Name`, an address.
    pub(crate) instances: BTreeMap<String, (String, String)>,
    /// What new targets become; `healthy` if empty.
    pub(crate) become_: String,
    turn: usize,
}

pub(crate) struct Simulator {
    api: HttpServer,
    pub(crate) port: u16,
    world: Arc<Mutex<World>>,
}

impl Simulator {
    pub(crate) fn start(kind: &str) -> Self {
        let world = Arc::new(Mutex::new(World {
            kind: kind.into(),
            targets: BTreeMap::new(),
            tags: Fields::new(),
            calls: Vec::new(),
            instances: BTreeMap::new(),
            become_: String::new(),
            turn: 0,
        }));
        let (inner, front) = (Arc::clone(&world), Arc::clone(&world));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let world = Arc::clone(&front);
                std::thread::spawn(move || connect(&world, client));
            }
        });
        Self { api: HttpServer::start(move |request| inner.lock().unwrap().answer(&request)), port, world }
    }

    pub(crate) fn url(&self) -> String {
        self.api.url()
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.world().calls.iter().filter(|c| *c == action).count()
    }
}

/// Hands a connection to a healthy target, in turn, until one side ends it.
fn connect(world: &Mutex<World>, mut client: TcpStream) {
    let Some((key, address)) = world.lock().unwrap().choose() else { return };
    if let Ok(mut server) = TcpStream::connect((address.as_str(), key.1)) {
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = up.join();
    }
    world.lock().unwrap().left(&key);
}

impl World {
    fn choose(&mut self) -> Option<((String, u16), String)> {
        let healthy: Vec<_> =
            self.targets.iter().filter(|(_, t)| t.state == "healthy").map(|(k, _)| k.clone()).collect();
        self.turn += 1;
        let key = healthy.get(self.turn % healthy.len().max(1))?.clone();
        self.targets.get_mut(&key)?.connections += 1;
        let address = self.instances.get(&key.0).map_or_else(|| key.0.clone(), |i| i.1.clone());
        Some((key, address))
    }

    fn left(&mut self, key: &(String, u16)) {
        let Some(target) = self.targets.get_mut(key) else { return };
        target.connections -= 1;
        if target.state == "draining" && target.connections == 0 {
            self.targets.remove(key);
        }
    }

    fn answer(&mut self, request: &HttpRequest) -> HttpReply {
        let form = form(&request.body);
        let action = form.get("Action").cloned().unwrap_or_default();
        self.calls.push(action.clone());
        match self.act(&action, &form) {
            Err(code) => query_error(code, "AWS's words"),
            Ok(xml) if action == "DescribeInstances" => HttpReply::Answer(
                200,
                "text/xml".into(),
                format!("<DescribeInstancesResponse>{xml}</DescribeInstancesResponse>").into_bytes(),
            ),
            Ok(xml) => {
                let xml = format!("<{action}Response><{action}Result>{xml}</{action}Result></{action}Response>");
                HttpReply::Answer(200, "text/xml".into(), xml.into_bytes())
            }
        }
    }

    fn act(&mut self, action: &str, form: &Fields) -> Result<String, &'static str> {
        let text = |name: &str| form.get(name).cloned().unwrap_or_default();
        let key = || (text("Targets.member.1.Id"), text("Targets.member.1.Port").parse().unwrap_or_default());
        match action {
            "DescribeTargetGroups" => {
                if text("Names.member.1") != "web" && text("TargetGroupArns.member.1") != ARN {
                    return Err("TargetGroupNotFound");
                }
                Ok(format!(
                    "<TargetGroups><member><TargetGroupArn>{ARN}</TargetGroupArn><TargetGroupName>web</TargetGroupName><Port>80</Port>\
                     <TargetType>{}</TargetType><LoadBalancerArns><member>arn:aws:lb</member></LoadBalancerArns></member></TargetGroups>",
                    self.kind
                ))
            }
            "DescribeTargetGroupAttributes" => Ok(
                "<Attributes><member><Key>deregistration_delay.timeout_seconds</Key><Value>60</Value></member></Attributes>".into(),
            ),
            "RegisterTargets" => {
                let target = self.targets.entry(key()).or_default();
                if target.state != "healthy" {
                    (target.state, target.looks) = ("initial".into(), 0);
                }
                Ok(String::new())
            }
            "DeregisterTargets" => {
                let key = key();
                let target = self.targets.get_mut(&key).ok_or("InvalidTarget")?;
                target.state = "draining".into();
                if target.connections == 0 {
                    self.targets.remove(&key);
                }
                Ok(String::new())
            }
            "DescribeTargetHealth" => Ok(self.healths()),
            "AddTags" => {
                self.tags.insert(text("Tags.member.1.Key"), text("Tags.member.1.Value"));
                Ok(String::new())
            }
            "RemoveTags" => {
                self.tags.remove(&text("TagKeys.member.1"));
                Ok(String::new())
            }
            "DescribeTags" => {
                let tag = |(k, v): (&String, &String)| format!("<member><Key>{k}</Key><Value>{v}</Value></member>");
                let tags: String = self.tags.iter().map(tag).collect();
                Ok(format!("<TagDescriptions><member><ResourceArn>{ARN}</ResourceArn><Tags>{tags}</Tags></member></TagDescriptions>"))
            }
            "DescribeInstances" => Ok(self.instances(form)),
            _ => Err("InvalidAction"),
        }
    }

    fn healths(&mut self) -> String {
        let become_ = if self.become_.is_empty() { "healthy" } else { &self.become_ };
        let mut out = String::new();
        for ((id, port), t) in &mut self.targets {
            t.looks += 1;
            if t.state == "initial" && t.looks > 2 {
                t.state = become_.into();
            }
            let why = match t.state.as_str() {
                "unhealthy" => {
                    "<Reason>Target.ResponseCodeMismatch</Reason><Description>Health checks failed with these codes: [500]</Description>"
                }
                _ => "",
            };
            let _ = write!(
                out,
                "<member><Target><Id>{id}</Id><Port>{port}</Port></Target><TargetHealth><State>{}</State>{why}</TargetHealth></member>",
                t.state
            );
        }
        format!("<TargetHealthDescriptions>{out}</TargetHealthDescriptions>")
    }

    fn instances(&self, form: &Fields) -> String {
        let values = list(form, "Filter.1.Value.");
        let mut out = String::new();
        for (id, (name, address)) in &self.instances {
            let actual = match form.get("Filter.1.Name").map(String::as_str) {
                Some("instance-id") => id.as_str(),
                Some("private-ip-address") => address.as_str(),
                Some("tag:Name") => name.as_str(),
                _ => continue,
            };
            if values.iter().any(|v| v == actual) {
                let _ = write!(
                    out,
                    "<item><instancesSet><item><instanceId>{id}</instanceId><privateIpAddress>{address}</privateIpAddress>\
                     <tagSet><item><key>Name</key><value>{name}</value></item></tagSet></item></instancesSet></item>"
                );
            }
        }
        format!("<reservationSet>{out}</reservationSet>")
    }
}

/// A server that says its name to everybody, and then waits until the other side ends it.
pub(crate) fn server(address: &str, name: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = name.to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let name = name.clone();
            std::thread::spawn(move || {
                let _ = stream.write_all(format!("{name}\n").as_bytes());
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    port
}
