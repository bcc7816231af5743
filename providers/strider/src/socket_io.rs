//! socket.io 2 over [`EngineIo`]: events with arguments, and answers to them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use towpath_core::Secret;

use crate::engine_io::{EngineIo, Lost};
use crate::net::Net;

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// An event.
    Event { name: String, args: Vec<Json> },
    /// The answer to an event of ours.
    Ack { id: u64, args: Vec<Json> },
    /// The namespace is open.
    Connected,
    /// It is not, or no more.
    Disconnected,
    /// The server does not want us.
    Refused,
    /// Of another namespace, or binary.
    Other,
}

fn frame(message: &str) -> Result<Frame, Lost> {
    let strange = |what: &str| Lost::Strange(format!("a frame with {what}"));
    let mut rest = message.chars();
    let kind = rest.next();
    let rest = rest.as_str();
    // Strider uses no namespace but the default one.
    if rest.starts_with('/') {
        return Ok(Frame::Other);
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (id, data) = rest.split_at_checked(digits).ok_or_else(|| strange("a number that can't be split off"))?;
    let list = || -> Result<Vec<Json>, Lost> {
        serde_json::from_str(data)
            .map_err(|e| strange(&format!("arguments that are no list, at column {}", e.column())))
    };
    Ok(match kind {
        Some('0') => Frame::Connected,
        Some('1') => Frame::Disconnected,
        Some('2') => {
            let mut args = list()?.into_iter();
            let Some(Json::String(name)) = args.next() else { return Err(strange("an event without a name")) };
            Frame::Event { name, args: args.collect() }
        }
        Some('3') => Frame::Ack { id: id.parse().map_err(|_| strange("an answer to nothing"))?, args: list()? },
        Some('4') => Frame::Refused,
        Some('5' | '6') => Frame::Other,
        other => return Err(strange(&format!("the type {other:?}"))),
    })
}

/// The text of an event.
fn event(name: &str, argument: &str, answer_to: Option<u64>) -> String {
    let id = answer_to.map(|id| id.to_string()).unwrap_or_default();
    format!("2{id}{}", json!([name, argument]))
}

/// A connected socket.
pub(crate) struct Socket {
    engine: EngineIo,
    asked: u64,
}

impl Socket {
    /// Connects with the session's cookie.
    pub(crate) async fn connect(net: &Net, cookie: &Secret, within: Duration) -> Result<Self, Lost> {
        let connect = async {
            let mut this = Self { engine: EngineIo::open(net, cookie).await?, asked: 0 };
            loop {
                match this.next().await? {
                    Frame::Connected => return Ok(this),
                    Frame::Refused => return Err(Lost::Refused),
                    Frame::Disconnected => return Err(Lost::Closed),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(within, connect).await.unwrap_or(Err(Lost::Broken("no answer in time".into())))
    }

    /// Sends an event.
    pub(crate) async fn emit(&mut self, name: &str, argument: &str) -> Result<(), Lost> {
        self.engine.send(&event(name, argument, None)).await
    }

    /// Sends an event that is answered, and gives the number by which [`Frame::Ack`] names it.
    pub(crate) async fn ask(&mut self, name: &str, argument: &str) -> Result<u64, Lost> {
        let id = self.asked;
        self.asked += 1;
        self.engine.send(&event(name, argument, Some(id))).await?;
        Ok(id)
    }

    /// The next frame. Losing interest in it loses none.
    pub(crate) async fn next(&mut self) -> Result<Frame, Lost> {
        frame(&self.engine.next().await?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read() {
        for (text, want) in [
            ("0", Frame::Connected),
            ("1", Frame::Disconnected),
            ("4\"not authorized\"", Frame::Refused),
            ("0/admin,", Frame::Other),
            (
                "2[\"job.status.stdout\",[\"5\",\"a]\\n\"],\"yours\"]",
                Frame::Event { name: "job.status.stdout".into(), args: vec![json!(["5", "a]\n"]), json!("yours")] },
            ),
            ("217[\"asked\"]", Frame::Event { name: "asked".into(), args: vec![] }),
            ("312[null]", Frame::Ack { id: 12, args: vec![Json::Null] }),
            ("51-[\"file\",{\"_placeholder\":true,\"num\":0}]", Frame::Other),
        ] {
            assert_eq!(frame(text).unwrap(), want, "{text}");
        }
        for text in ["", "2", "2{}", "2[]", "2[1]", "3[1]", "9", "2[\"a\""] {
            assert!(matches!(frame(text), Err(Lost::Strange(_))), "{text}");
        }
    }

    #[test]
    fn events_are_written() {
        assert_eq!(event("cancel", "5f", None), r#"2["cancel","5f"]"#);
        assert_eq!(event("build:job", "\"", Some(3)), r#"23["build:job","\""]"#);
    }
}
